//! What `conditional_handler` in `src/golden.rs` expands to.

#[cfg(feature = "refunds")]
const _: fn() = || {
    fn request<T: ::requite::__private::RequestType>() {}
    request::<u64>();
    fn reply<T: ::requite::__private::ReplyType>() {}
    reply::<()>();
    fn error<T: ::requite::HandlerError>() {}
    error::<RefundError>();
};
impl Billing {
    #[cfg(feature = "refunds")]
    #[deprecated = "ask the bank"]
    async fn refund(&self, id: u64) -> Result<(), RefundError> {
        Ok(())
    }
}
#[automatically_derived]
impl ::requite::Service for Billing {
    #[allow(deprecated, unused_variables)]
    fn definition(self) -> ::requite::ServiceDefinition {
        let service = ::std::sync::Arc::new(self);
        let definition = ::requite::__private::definition(
            "billing",
            ::core::env!("CARGO_PKG_VERSION"),
            "",
        );
        #[cfg(feature = "refunds")]
        let definition = definition
            .method(
                BillingClient::__REFUND,
                {
                    let service = ::std::sync::Arc::clone(&service);
                    ::requite::__private::handler(move |
                        _: ::requite::Context,
                        input: u64|
                    {
                        let service = ::std::sync::Arc::clone(&service);
                        async move { Self::refund(&service, input).await }
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
    #[cfg(feature = "refunds")]
    const __REFUND: ::requite::__private::Method = ::requite::__private::Method::new(
        "billing",
        "refund",
    );
    /// Calls `refund` of the service `billing`.
    #[cfg(feature = "refunds")]
    #[deprecated = "ask the bank"]
    pub fn refund(&self, id: u64) -> ::requite::Call<(), RefundError> {
        ::requite::__private::call(&self.client, Self::__REFUND, &id)
    }
    /// Finds the call of `billing.refund` that was made under `key`: after a crash, or in another process.
    #[cfg(feature = "refunds")]
    #[deprecated = "ask the bank"]
    pub fn attach_refund(
        &self,
        key: impl ::core::convert::AsRef<str>,
    ) -> ::requite::Attach<(), RefundError> {
        ::requite::__private::attach(&self.client, Self::__REFUND, key.as_ref())
    }
}
