//! What `streams_with_mistakes` in `src/golden.rs` expands to.

::core::compile_error! {
    "the shortest `idle` is 15s with a lease of 30s: in that time a side that lives says so three times"
}
::core::compile_error! {
    "a handler that returns a stream is a plain `fn`: remove `async`, or keep it and send the items by an argument `sink: Sink<T>`"
}
::core::compile_error! {
    "a stream is taken by value: write `Items<T>`"
}
#[allow(async_fn_in_trait)]
trait Ledger {
    fn entries(
        &self,
        account: Account,
    ) -> impl Stream<Item = Result<Entry, ReadError>> + ::core::marker::Send;
    fn convert(
        &self,
        items: Items<Entry>,
        sink: Sink<Line>,
    ) -> impl ::core::future::Future<Output = u64> + ::core::marker::Send;
    async fn ticks(&self) -> impl Stream<Item = u64>;
    async fn import(&self, items: &Items<Entry>);
    fn into_service(self) -> ::requite::ServiceDefinition
    where
        Self: ::core::marker::Sized,
    {
        ::core::unreachable!()
    }
}
/// A client of the service `ledger`.
#[derive(Clone, Debug)]
#[allow(dead_code, unreachable_pub)]
struct LedgerClient {
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
#[allow(dead_code, private_interfaces, unused_variables)]
impl LedgerClient {
    pub fn entries(
        &self,
        request: Account,
    ) -> ::requite::Call<(), ReadError, ::requite::ServerStream<Entry>> {
        ::core::unreachable!()
    }
    pub fn attach_entries(
        &self,
        key: impl ::core::convert::AsRef<str>,
    ) -> ::requite::Attach<(), ReadError, ::requite::ServerStream<Entry>> {
        ::core::unreachable!()
    }
    pub fn convert(
        &self,
    ) -> ::requite::Call<
        u64,
        ::requite::NoError,
        ::requite::Bidirectional<Entry, Line>,
    > {
        ::core::unreachable!()
    }
    pub fn attach_convert(
        &self,
        key: impl ::core::convert::AsRef<str>,
    ) -> ::requite::Attach<
        u64,
        ::requite::NoError,
        ::requite::Bidirectional<Entry, Line>,
    > {
        ::core::unreachable!()
    }
}
