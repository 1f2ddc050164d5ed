//! What `service_with_mistakes` in `src/golden.rs` expands to.

::core::compile_error! {
    "#[service] has no option `nmae`: did you mean `name`? its options are `name`, `version`"
}
::core::compile_error! {
    "the shortest lease is 6s; heartbeats renew it, so a long run needs no long lease"
}
::core::compile_error! {
    "a handler is async: write `async fn refund`"
}
impl Billing {
    async fn charge(&self, order: Order) -> Result<Receipt, ChargeError> {
        todo!()
    }
    fn refund(&self) {}
}
impl ::requite::Service for Billing {
    fn definition(self) -> ::requite::ServiceDefinition {
        ::core::unreachable!()
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
#[allow(dead_code, private_interfaces, unused_variables)]
impl BillingClient {
    pub fn charge(&self, request: Order) -> ::requite::Call<Receipt, ChargeError> {
        ::core::unreachable!()
    }
    pub fn attach_charge(
        &self,
        key: impl ::core::convert::AsRef<str>,
    ) -> ::requite::Attach<Receipt, ChargeError> {
        ::core::unreachable!()
    }
}
