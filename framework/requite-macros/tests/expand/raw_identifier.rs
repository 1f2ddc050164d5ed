//! What `raw_identifier` in `src/golden.rs` expands to.

const _: fn() = || {
    fn request<T: ::requite::__private::RequestType>() {}
    request::<Reference>();
    fn reply<T: ::requite::__private::ReplyType>() {}
    reply::<Option<Shape>>();
};
impl Schema {
    async fn r#type(&self, r#ref: Reference) -> Option<Shape> {
        self.find(r#ref)
    }
}
#[automatically_derived]
impl ::requite::Service for Schema {
    #[allow(deprecated, unused_variables)]
    fn definition(self) -> ::requite::ServiceDefinition {
        let service = ::std::sync::Arc::new(self);
        let definition = ::requite::__private::definition(
            "schema",
            ::core::env!("CARGO_PKG_VERSION"),
            "",
        );
        let definition = definition
            .method(
                SchemaClient::__TYPE,
                {
                    let service = ::std::sync::Arc::clone(&service);
                    ::requite::__private::infallible_handler(move |
                        _: ::requite::Context,
                        input: Reference|
                    {
                        let service = ::std::sync::Arc::clone(&service);
                        async move { Self::r#type(&service, input).await }
                    })
                },
            );
        definition
    }
}
/// A client of the service `schema`.
#[derive(Clone, Debug)]
#[allow(dead_code, unreachable_pub)]
pub struct SchemaClient {
    client: ::requite::Client,
}
#[allow(dead_code, unreachable_pub)]
impl SchemaClient {
    /// Connects to NATS, for calls of the service `schema`.
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
        ::requite::__private::cancel(&self.client, "schema", id).await
    }
    /// The connection.
    #[must_use]
    pub fn client(&self) -> &::requite::Client {
        &self.client
    }
}
#[allow(dead_code, deprecated, private_interfaces)]
impl SchemaClient {
    const __TYPE: ::requite::__private::Method = ::requite::__private::Method::new(
        "schema",
        "type",
    );
    /// Calls `type` of the service `schema`.
    pub fn r#type(
        &self,
        r#ref: Reference,
    ) -> ::requite::Call<Option<Shape>, ::requite::NoError> {
        ::requite::__private::call(&self.client, Self::__TYPE, &r#ref)
    }
    /// Finds the call of `schema.type` that was made under `key`: after a crash, or in another process.
    pub fn attach_type(
        &self,
        key: impl ::core::convert::AsRef<str>,
    ) -> ::requite::Attach<Option<Shape>, ::requite::NoError> {
        ::requite::__private::attach(&self.client, Self::__TYPE, key.as_ref())
    }
}
