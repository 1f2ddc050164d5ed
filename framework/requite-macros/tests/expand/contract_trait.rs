//! What `contract_trait` in `src/golden.rs` expands to.

const _: fn() = || {
    fn request<T: ::requite::__private::RequestType>() {}
    request::<Person>();
    fn reply<T: ::requite::__private::ReplyType>() {}
    reply::<Account>();
    fn error<T: ::requite::HandlerError>() {}
    error::<OpenError>();
};
const _: fn() = || {
    fn request<T: ::requite::__private::RequestType>() {}
    request::<AccountId>();
};
/// User accounts.
pub trait UserAccounts: Send {
    /// Opens an account.
    fn open(
        &self,
        cx: &Context,
        who: Person,
    ) -> impl ::core::future::Future<
        Output = Result<Account, OpenError>,
    > + ::core::marker::Send;
    fn close(
        &self,
        account: AccountId,
    ) -> impl ::core::future::Future<Output = ()> + ::core::marker::Send;
    fn provided(&self) -> u32 {
        7
    }
    /// What a server runs: every handler of this contract, answered by `self`.
    #[allow(deprecated, unused_variables)]
    fn into_service(self) -> ::requite::ServiceDefinition
    where
        Self: ::core::marker::Sized + ::core::marker::Send + ::core::marker::Sync
            + 'static,
    {
        let service = ::std::sync::Arc::new(self);
        let definition = ::requite::__private::definition(
            "user-accounts",
            ::core::env!("CARGO_PKG_VERSION"),
            "User accounts.",
        );
        let definition = definition
            .method(
                UserAccountsClient::__OPEN,
                {
                    let service = ::std::sync::Arc::clone(&service);
                    ::requite::__private::handler(move |
                        cx: ::requite::Context,
                        input: Person|
                    {
                        let service = ::std::sync::Arc::clone(&service);
                        async move {
                            <Self as UserAccounts>::open(&service, &cx, input).await
                        }
                    })
                },
            );
        let definition = definition
            .method(
                UserAccountsClient::__CLOSE,
                {
                    let service = ::std::sync::Arc::clone(&service);
                    ::requite::__private::infallible_handler(move |
                        _: ::requite::Context,
                        input: AccountId|
                    {
                        let service = ::std::sync::Arc::clone(&service);
                        async move {
                            <Self as UserAccounts>::close(&service, input).await
                        }
                    })
                },
            );
        definition
    }
}
/// A client of the service `user-accounts`.
#[derive(Clone, Debug)]
#[allow(dead_code, unreachable_pub)]
pub struct UserAccountsClient {
    client: ::requite::Client,
}
#[allow(dead_code, unreachable_pub)]
impl UserAccountsClient {
    /// Connects to NATS, for calls of the service `user-accounts`.
    ///
    /// # Errors
    ///
    /// When no server answers at `url`, or it refuses the connection.
    pub async fn connect(
        url: &str,
    ) -> ::core::result::Result<Self, ::requite::ConnectError> {
        ::requite::Client::connect(url).await.map(Self::new)
    }
    /// Calls through a connection that exists.
    #[must_use]
    pub fn new(client: ::requite::Client) -> Self {
        Self { client }
    }
    /// Cancels a call by its id; see `Accepted::cancel`.
    ///
    /// # Errors
    ///
    /// When it could not be stored that the call is cancelled.
    pub async fn cancel(
        &self,
        id: &::requite::RequestId,
    ) -> ::core::result::Result<::requite::CancelAnswer, ::requite::CancelError> {
        ::requite::__private::cancel(&self.client, "user-accounts", id).await
    }
    /// The connection.
    #[must_use]
    pub fn client(&self) -> &::requite::Client {
        &self.client
    }
}
#[allow(dead_code, deprecated, private_interfaces)]
impl UserAccountsClient {
    const __OPEN: ::requite::__private::Method = ::requite::__private::Method {
        description: "Opens an account.",
        lease: ::core::time::Duration::from_millis(6000),
        ..::requite::__private::Method::new("user-accounts", "open")
    };
    const __CLOSE: ::requite::__private::Method = ::requite::__private::Method::new(
        "user-accounts",
        "close",
    );
    /// Opens an account.
    pub fn open(&self, who: Person) -> ::requite::Call<Account, OpenError> {
        ::requite::__private::call(&self.client, Self::__OPEN, &who)
    }
    /// Calls `close` of the service `user-accounts`.
    pub fn close(&self, account: AccountId) -> ::requite::Call<(), ::requite::NoError> {
        ::requite::__private::call(&self.client, Self::__CLOSE, &account)
    }
    /// Finds the call of `user-accounts.open` that was made under `key`: after a crash, or in another process.
    pub fn attach_open(
        &self,
        key: impl ::core::convert::AsRef<str>,
    ) -> ::requite::Attach<Account, OpenError> {
        ::requite::__private::attach(&self.client, Self::__OPEN, key.as_ref())
    }
    /// Finds the call of `user-accounts.close` that was made under `key`: after a crash, or in another process.
    pub fn attach_close(
        &self,
        key: impl ::core::convert::AsRef<str>,
    ) -> ::requite::Attach<(), ::requite::NoError> {
        ::requite::__private::attach(&self.client, Self::__CLOSE, key.as_ref())
    }
}
