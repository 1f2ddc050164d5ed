//! What `plain_reply` in `src/golden.rs` expands to.

const _: fn() = || {
    fn request<T: ::requite::__private::RequestType>() {}
    request::<Filter>();
    fn reply<T: ::requite::__private::ReplyType>() {}
    reply::<Vec<u64>>();
};
impl Billing<Postgres> {
    async fn count(&self, cx: &Context, _: Filter) -> Vec<u64> {
        self.count(cx).await
    }
}
#[automatically_derived]
impl ::requite::Service for Billing<Postgres> {
    #[allow(deprecated, unused_variables)]
    fn definition(self) -> ::requite::ServiceDefinition {
        let service = ::std::sync::Arc::new(self);
        let definition = ::requite::__private::definition(
            "billing",
            ::core::env!("CARGO_PKG_VERSION"),
            "",
        );
        let definition = definition
            .method(
                BillingClient::__COUNT,
                {
                    let service = ::std::sync::Arc::clone(&service);
                    ::requite::__private::infallible_handler(move |
                        cx: ::requite::Context,
                        input: Filter|
                    {
                        let service = ::std::sync::Arc::clone(&service);
                        async move { Self::count(&service, &cx, input).await }
                    })
                },
            );
        definition
    }
}
/// A client of the service `billing`.
#[derive(Clone, Debug)]
#[allow(dead_code, unreachable_pub)]
pub struct BillingClient {
    client: ::requite::Client,
}
#[allow(dead_code, unreachable_pub)]
impl BillingClient {
    /// Connects to NATS, for calls of the service `billing`.
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
        ::requite::__private::cancel(&self.client, "billing", id).await
    }
    /// The connection.
    #[must_use]
    pub fn client(&self) -> &::requite::Client {
        &self.client
    }
}
#[allow(dead_code, deprecated, private_interfaces)]
impl BillingClient {
    const __COUNT: ::requite::__private::Method = ::requite::__private::Method::new(
        "billing",
        "count",
    );
    /// Calls `count` of the service `billing`.
    pub fn count(
        &self,
        request: Filter,
    ) -> ::requite::Call<Vec<u64>, ::requite::NoError> {
        ::requite::__private::call(&self.client, Self::__COUNT, &request)
    }
    /// Finds the call of `billing.count` that was made under `key`: after a crash, or in another process.
    pub fn attach_count(
        &self,
        key: impl ::core::convert::AsRef<str>,
    ) -> ::requite::Attach<Vec<u64>, ::requite::NoError> {
        ::requite::__private::attach(&self.client, Self::__COUNT, key.as_ref())
    }
}
