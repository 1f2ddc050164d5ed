//! What `contract_with_streams` in `src/golden.rs` expands to.

const _: fn() = || {
    fn request<T: ::requite::__private::RequestType>() {}
    request::<Account>();
    {
        fn item<T: ::requite::__private::ItemType>() {}
        item::<Entry>();
    }
    fn error<T: ::requite::HandlerError>() {}
    error::<ReadError>();
};
const _: fn() = || {
    {
        fn item<T: ::requite::__private::ItemType>() {}
        item::<Entry>();
    }
    {
        fn item<T: ::requite::__private::ItemType>() {}
        item::<Line>();
    }
    fn reply<T: ::requite::__private::ReplyType>() {}
    reply::<u64>();
};
pub trait Ledger: Send {
    fn entries(
        &self,
        account: Account,
    ) -> impl Stream<Item = Result<Entry, ReadError>> + ::core::marker::Send;
    fn convert(
        &self,
        items: Items<Entry>,
        sink: Sink<Line>,
    ) -> impl ::core::future::Future<Output = u64> + ::core::marker::Send;
    /// What a server runs: every handler of this contract, answered by `self`.
    #[allow(deprecated, unused_variables)]
    fn into_service(self) -> ::requite::ServiceDefinition
    where
        Self: ::core::marker::Sized + ::core::marker::Send + ::core::marker::Sync
            + 'static,
    {
        let service = ::std::sync::Arc::new(self);
        let definition = ::requite::__private::definition(
            "ledger",
            ::core::env!("CARGO_PKG_VERSION"),
            "",
        );
        let definition = definition
            .method(
                LedgerClient::__ENTRIES,
                {
                    let service = ::std::sync::Arc::clone(&service);
                    ::requite::__private::handler(move |
                        cx: ::requite::Context,
                        input: Account|
                    {
                        let service = ::std::sync::Arc::clone(&service);
                        async move {
                            ::requite::__private::stream(
                                    &cx,
                                    <Self as Ledger>::entries(&service, input),
                                )
                                .await
                        }
                    })
                },
            );
        let definition = definition
            .method(
                LedgerClient::__CONVERT,
                {
                    let service = ::std::sync::Arc::clone(&service);
                    ::requite::__private::infallible_handler(move |
                        cx: ::requite::Context,
                        (): ()|
                    {
                        let service = ::std::sync::Arc::clone(&service);
                        async move {
                            let items = ::requite::__private::items::<Entry>(&cx);
                            let sink = ::requite::__private::sink::<Line>(&cx);
                            <Self as Ledger>::convert(&service, items, sink).await
                        }
                    })
                },
            );
        definition
    }
}
/// A client of the service `ledger`.
#[derive(Clone, Debug)]
#[allow(dead_code, unreachable_pub)]
pub struct LedgerClient {
    client: ::requite::Client,
}
#[allow(dead_code, unreachable_pub)]
impl LedgerClient {
    /// Connects to NATS, for calls of the service `ledger`.
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
        ::requite::__private::cancel(&self.client, "ledger", id).await
    }
    /// The connection.
    #[must_use]
    pub fn client(&self) -> &::requite::Client {
        &self.client
    }
}
#[allow(dead_code, deprecated, private_interfaces)]
impl LedgerClient {
    const __ENTRIES: ::requite::__private::Method = ::requite::__private::Method {
        down: true,
        ..::requite::__private::Method::new("ledger", "entries")
    };
    const __CONVERT: ::requite::__private::Method = ::requite::__private::Method {
        up: true,
        down: true,
        ..::requite::__private::Method::new("ledger", "convert")
    };
    /// Calls `entries` of the service `ledger`.
    pub fn entries(
        &self,
        account: Account,
    ) -> ::requite::Call<(), ReadError, ::requite::ServerStream<Entry>> {
        ::requite::__private::call(&self.client, Self::__ENTRIES, &account)
    }
    /// Calls `convert` of the service `ledger`.
    pub fn convert(
        &self,
    ) -> ::requite::Call<
        u64,
        ::requite::NoError,
        ::requite::Bidirectional<Entry, Line>,
    > {
        ::requite::__private::call(&self.client, Self::__CONVERT, &())
    }
    /// Finds the call of `ledger.entries` that was made under `key`: after a crash, or in another process.
    pub fn attach_entries(
        &self,
        key: impl ::core::convert::AsRef<str>,
    ) -> ::requite::Attach<(), ReadError, ::requite::ServerStream<Entry>> {
        ::requite::__private::attach(&self.client, Self::__ENTRIES, key.as_ref())
    }
    /// Finds the call of `ledger.convert` that was made under `key`: after a crash, or in another process.
    pub fn attach_convert(
        &self,
        key: impl ::core::convert::AsRef<str>,
    ) -> ::requite::Attach<
        u64,
        ::requite::NoError,
        ::requite::Bidirectional<Entry, Line>,
    > {
        ::requite::__private::attach(&self.client, Self::__CONVERT, key.as_ref())
    }
}
