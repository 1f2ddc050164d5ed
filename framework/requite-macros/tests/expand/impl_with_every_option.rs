//! What `impl_with_every_option` in `src/golden.rs` expands to.

const _: fn() = || {
    fn request<T: ::requite::__private::RequestType>() {}
    request::<Order>();
    fn reply<T: ::requite::__private::ReplyType>() {}
    reply::<Receipt>();
    fn error<T: ::requite::HandlerError>() {}
    error::<ChargeError>();
};
const _: fn() = || {
    fn request<T: ::requite::__private::RequestType>() {}
    request::<Refund>();
    fn reply<T: ::requite::__private::ReplyType>() {}
    reply::<()>();
    fn error<T: ::requite::HandlerError>() {}
    error::<ChargeError>();
};
/// Money in, receipts out.
impl Billing {
    /// Charges a card.
    ///
    /// Not twice.
    async fn charge(&self, cx: &Context, order: Order) -> Result<Receipt, ChargeError> {
        self.bank.charge(cx, order).await
    }
    #[allow(clippy::unused_async)]
    async fn refund(&self, Refund { id, .. }: Refund) -> Result<(), ChargeError> {
        self.bank.refund(id).await
    }
    fn left_alone(&self) {}
}
#[automatically_derived]
impl ::requite::Service for Billing {
    #[allow(deprecated, unused_variables)]
    fn definition(self) -> ::requite::ServiceDefinition {
        let service = ::std::sync::Arc::new(self);
        let definition = ::requite::__private::definition(
            "billing",
            "1.2.0",
            "Money in, receipts out.",
        );
        let definition = definition
            .method(
                BillingClient::__CHARGE,
                {
                    let service = ::std::sync::Arc::clone(&service);
                    ::requite::__private::handler(move |
                        cx: ::requite::Context,
                        input: Order|
                    {
                        let service = ::std::sync::Arc::clone(&service);
                        async move { Self::charge(&service, &cx, input).await }
                    })
                },
            );
        let definition = definition
            .method(
                BillingClient::__REFUND,
                {
                    let service = ::std::sync::Arc::clone(&service);
                    ::requite::__private::handler(move |
                        _: ::requite::Context,
                        input: Refund|
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
    const __CHARGE: ::requite::__private::Method = ::requite::__private::Method {
        description: "Charges a card.\n\nNot twice.",
        lease: ::core::time::Duration::from_millis(30000),
        max_run: ::core::time::Duration::from_millis(7200000),
        kill_after: ::core::time::Duration::from_millis(5000),
        concurrency: 8,
        once: true,
        fenced: true,
        retention: ::core::option::Option::Some(
            ::core::time::Duration::from_millis(86400000),
        ),
        ..::requite::__private::Method::new("billing", "charge")
    };
    const __REFUND: ::requite::__private::Method = ::requite::__private::Method {
        attempts: 3,
        once: false,
        ..::requite::__private::Method::new("billing", "give-back")
    };
    /// Charges a card.
    ///
    /// Not twice.
    pub fn charge(&self, order: Order) -> ::requite::Call<Receipt, ChargeError> {
        ::requite::__private::call(&self.client, Self::__CHARGE, &order)
    }
    /// Calls `give-back` of the service `billing`.
    pub fn refund(&self, request: Refund) -> ::requite::Call<(), ChargeError> {
        ::requite::__private::call(&self.client, Self::__REFUND, &request)
    }
    /// Finds the call of `billing.charge` that was made under `key`: after a crash, or in another process.
    pub fn attach_charge(
        &self,
        key: impl ::core::convert::AsRef<str>,
    ) -> ::requite::Attach<Receipt, ChargeError> {
        ::requite::__private::attach(&self.client, Self::__CHARGE, key.as_ref())
    }
    /// Finds the call of `billing.give-back` that was made under `key`: after a crash, or in another process.
    pub fn attach_refund(
        &self,
        key: impl ::core::convert::AsRef<str>,
    ) -> ::requite::Attach<(), ChargeError> {
        ::requite::__private::attach(&self.client, Self::__REFUND, key.as_ref())
    }
}
