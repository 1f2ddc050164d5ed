//! What `function_returning_a_stream` in `src/golden.rs` expands to.

const _: fn() = || {
    {
        fn item<T: ::requite::__private::ItemType>() {}
        item::<u64>();
    }
};
fn ticks(cx: &Context) -> impl Stream<Item = u64> {
    clock(cx)
}
/// The service `ticks`, of one function.
#[derive(Clone, Copy, Debug)]
#[allow(unreachable_pub)]
struct Ticks;
#[automatically_derived]
impl ::requite::Service for Ticks {
    #[allow(deprecated, unused_variables)]
    fn definition(self) -> ::requite::ServiceDefinition {
        let service = ::std::sync::Arc::new(ticks);
        let definition = ::requite::__private::definition(
            "ticks",
            ::core::env!("CARGO_PKG_VERSION"),
            "",
        );
        let definition = definition
            .method(
                TicksClient::__TICKS,
                {
                    let service = ::std::sync::Arc::clone(&service);
                    ::requite::__private::infallible_handler(move |
                        cx: ::requite::Context,
                        (): ()|
                    {
                        let service = ::std::sync::Arc::clone(&service);
                        async move {
                            ::requite::__private::infallible_stream(&cx, service(&cx))
                                .await
                        }
                    })
                },
            );
        definition
    }
}
/// A client of the service `ticks`.
#[derive(Clone, Debug)]
#[allow(dead_code, unreachable_pub)]
struct TicksClient {
    client: ::requite::Client,
}
#[allow(dead_code, unreachable_pub)]
impl TicksClient {
    /// Connects to NATS, for calls of the service `ticks`.
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
        ::requite::__private::cancel(&self.client, "ticks", id).await
    }
    /// The connection.
    #[must_use]
    pub fn client(&self) -> &::requite::Client {
        &self.client
    }
}
#[allow(dead_code, deprecated, private_interfaces)]
impl TicksClient {
    const __TICKS: ::requite::__private::Method = ::requite::__private::Method {
        down: true,
        ..::requite::__private::Method::new("ticks", "ticks")
    };
    /// Calls `ticks` of the service `ticks`.
    pub fn ticks(
        &self,
    ) -> ::requite::Call<(), ::requite::NoError, ::requite::ServerStream<u64>> {
        ::requite::__private::call(&self.client, Self::__TICKS, &())
    }
    /// Finds the call of `ticks.ticks` that was made under `key`: after a crash, or in another process.
    pub fn attach_ticks(
        &self,
        key: impl ::core::convert::AsRef<str>,
    ) -> ::requite::Attach<(), ::requite::NoError, ::requite::ServerStream<u64>> {
        ::requite::__private::attach(&self.client, Self::__TICKS, key.as_ref())
    }
}
