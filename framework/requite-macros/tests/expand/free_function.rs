//! What `free_function` in `src/golden.rs` expands to.

const _: fn() = || {
    fn request<T: ::requite::__private::RequestType>() {}
    request::<Order>();
    fn reply<T: ::requite::__private::ReplyType>() {}
    reply::<Receipt>();
    fn error<T: ::requite::HandlerError>() {}
    error::<ChargeError>();
};
/// Charges a card.
pub(crate) async fn charge_card(
    cx: &Context,
    order: Order,
) -> Result<Receipt, ChargeError> {
    bank(cx).charge(order).await
}
/// The service `billing`, of one function.
#[derive(Clone, Copy, Debug)]
#[allow(unreachable_pub)]
pub(crate) struct ChargeCard;
#[automatically_derived]
impl ::requite::Service for ChargeCard {
    #[allow(deprecated, unused_variables)]
    fn definition(self) -> ::requite::ServiceDefinition {
        let service = ::std::sync::Arc::new(charge_card);
        let definition = ::requite::__private::definition(
            "billing",
            ::core::env!("CARGO_PKG_VERSION"),
            "Charges a card.",
        );
        let definition = definition
            .method(
                ChargeCardClient::__CHARGE_CARD,
                {
                    let service = ::std::sync::Arc::clone(&service);
                    ::requite::__private::handler(move |
                        cx: ::requite::Context,
                        input: Order|
                    {
                        let service = ::std::sync::Arc::clone(&service);
                        async move { service(&cx, input).await }
                    })
                },
            );
        definition
    }
}
/// A client of the service `billing`.
#[derive(Clone, Debug)]
#[allow(dead_code, unreachable_pub)]
pub(crate) struct ChargeCardClient {
    client: ::requite::Client,
}
#[allow(dead_code, unreachable_pub)]
impl ChargeCardClient {
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
impl ChargeCardClient {
    const __CHARGE_CARD: ::requite::__private::Method = ::requite::__private::Method {
        description: "Charges a card.",
        lease: ::core::time::Duration::from_millis(30000),
        attempts: 3,
        ..::requite::__private::Method::new("billing", "charge_card")
    };
    /// Charges a card.
    pub fn charge_card(&self, order: Order) -> ::requite::Call<Receipt, ChargeError> {
        ::requite::__private::call(&self.client, Self::__CHARGE_CARD, &order)
    }
    /// Finds the call of `billing.charge_card` that was made under `key`: after a crash, or in another process.
    pub fn attach_charge_card(
        &self,
        key: impl ::core::convert::AsRef<str>,
    ) -> ::requite::Attach<Receipt, ChargeError> {
        ::requite::__private::attach(&self.client, Self::__CHARGE_CARD, key.as_ref())
    }
}
