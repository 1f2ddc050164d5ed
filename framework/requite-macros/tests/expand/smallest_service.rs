//! What `smallest_service` in `src/golden.rs` expands to.

impl Clock {
    async fn tick(&self) {}
}
#[automatically_derived]
impl ::requite::Service for Clock {
    #[allow(deprecated, unused_variables)]
    fn definition(self) -> ::requite::ServiceDefinition {
        let service = ::std::sync::Arc::new(self);
        let definition = ::requite::__private::definition(
            "clock",
            ::core::env!("CARGO_PKG_VERSION"),
            "",
        );
        let definition = definition
            .method(
                ClockClient::__TICK,
                {
                    let service = ::std::sync::Arc::clone(&service);
                    ::requite::__private::infallible_handler(move |
                        _: ::requite::Context,
                        (): ()|
                    {
                        let service = ::std::sync::Arc::clone(&service);
                        async move { Self::tick(&service).await }
                    })
                },
            );
        definition
    }
}
/// A client of the service `clock`.
#[derive(Clone, Debug)]
#[allow(dead_code, unreachable_pub)]
pub struct ClockClient {
    client: ::requite::Client,
}
#[allow(dead_code, unreachable_pub)]
impl ClockClient {
    /// Connects to NATS, for calls of the service `clock`.
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
        ::requite::__private::cancel(&self.client, "clock", id).await
    }
    /// The connection.
    #[must_use]
    pub fn client(&self) -> &::requite::Client {
        &self.client
    }
}
#[allow(dead_code, deprecated, private_interfaces)]
impl ClockClient {
    const __TICK: ::requite::__private::Method = ::requite::__private::Method::new(
        "clock",
        "tick",
    );
    /// Calls `tick` of the service `clock`.
    pub fn tick(&self) -> ::requite::Call<(), ::requite::NoError> {
        ::requite::__private::call(&self.client, Self::__TICK, &())
    }
    /// Finds the call of `clock.tick` that was made under `key`: after a crash, or in another process.
    pub fn attach_tick(
        &self,
        key: impl ::core::convert::AsRef<str>,
    ) -> ::requite::Attach<(), ::requite::NoError> {
        ::requite::__private::attach(&self.client, Self::__TICK, key.as_ref())
    }
}
