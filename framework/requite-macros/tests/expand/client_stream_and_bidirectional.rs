//! What `client_stream_and_bidirectional` in `src/golden.rs` expands to.

const _: fn() = || {
    fn request<T: ::requite::__private::RequestType>() {}
    request::<Account>();
    {
        fn item<T: ::requite::__private::ItemType>() {}
        item::<Entry>();
    }
    fn reply<T: ::requite::__private::ReplyType>() {}
    reply::<u64>();
    fn error<T: ::requite::HandlerError>() {}
    error::<WriteError>();
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
};
const _: fn() = || {
    {
        fn item<T: ::requite::__private::ItemType>() {}
        item::<u64>();
    }
    {
        fn item<T: ::requite::__private::ItemType>() {}
        item::<u64>();
    }
};
impl Ledger {
    async fn import(
        &self,
        account: Account,
        items: Items<Entry>,
    ) -> Result<u64, WriteError> {
        self.write(account, items).await
    }
    async fn convert(&self, cx: &Context, items: Items<Entry>, sink: Sink<Line>) {
        self.convert(cx, items, sink).await
    }
    fn echo(&self, items: Items<u64>) -> impl Stream<Item = u64> {
        items
    }
}
#[automatically_derived]
impl ::requite::Service for Ledger {
    #[allow(deprecated, unused_variables)]
    fn definition(self) -> ::requite::ServiceDefinition {
        let service = ::std::sync::Arc::new(self);
        let definition = ::requite::__private::definition(
            "ledger",
            ::core::env!("CARGO_PKG_VERSION"),
            "",
        );
        let definition = definition
            .method(
                LedgerClient::__IMPORT,
                {
                    let service = ::std::sync::Arc::clone(&service);
                    ::requite::__private::handler(move |
                        cx: ::requite::Context,
                        input: Account|
                    {
                        let service = ::std::sync::Arc::clone(&service);
                        async move {
                            let items = ::requite::__private::items::<Entry>(&cx);
                            Self::import(&service, input, items).await
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
                            Self::convert(&service, &cx, items, sink).await
                        }
                    })
                },
            );
        let definition = definition
            .method(
                LedgerClient::__ECHO,
                {
                    let service = ::std::sync::Arc::clone(&service);
                    ::requite::__private::infallible_handler(move |
                        cx: ::requite::Context,
                        (): ()|
                    {
                        let service = ::std::sync::Arc::clone(&service);
                        async move {
                            let items = ::requite::__private::items::<u64>(&cx);
                            ::requite::__private::infallible_stream(
                                    &cx,
                                    Self::echo(&service, items),
                                )
                                .await
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
    const __IMPORT: ::requite::__private::Method = ::requite::__private::Method {
        up: true,
        ..::requite::__private::Method::new("ledger", "import")
    };
    const __CONVERT: ::requite::__private::Method = ::requite::__private::Method {
        up: true,
        down: true,
        ..::requite::__private::Method::new("ledger", "convert")
    };
    const __ECHO: ::requite::__private::Method = ::requite::__private::Method {
        up: true,
        down: true,
        ..::requite::__private::Method::new("ledger", "echo")
    };
    /// Calls `import` of the service `ledger`.
    pub fn import(
        &self,
        account: Account,
    ) -> ::requite::Call<u64, WriteError, ::requite::ClientStream<Entry>> {
        ::requite::__private::call(&self.client, Self::__IMPORT, &account)
    }
    /// Calls `convert` of the service `ledger`.
    pub fn convert(
        &self,
    ) -> ::requite::Call<(), ::requite::NoError, ::requite::Bidirectional<Entry, Line>> {
        ::requite::__private::call(&self.client, Self::__CONVERT, &())
    }
    /// Calls `echo` of the service `ledger`.
    pub fn echo(
        &self,
    ) -> ::requite::Call<(), ::requite::NoError, ::requite::Bidirectional<u64, u64>> {
        ::requite::__private::call(&self.client, Self::__ECHO, &())
    }
    /// Finds the call of `ledger.import` that was made under `key`: after a crash, or in another process.
    pub fn attach_import(
        &self,
        key: impl ::core::convert::AsRef<str>,
    ) -> ::requite::Attach<u64, WriteError, ::requite::ClientStream<Entry>> {
        ::requite::__private::attach(&self.client, Self::__IMPORT, key.as_ref())
    }
    /// Finds the call of `ledger.convert` that was made under `key`: after a crash, or in another process.
    pub fn attach_convert(
        &self,
        key: impl ::core::convert::AsRef<str>,
    ) -> ::requite::Attach<
        (),
        ::requite::NoError,
        ::requite::Bidirectional<Entry, Line>,
    > {
        ::requite::__private::attach(&self.client, Self::__CONVERT, key.as_ref())
    }
    /// Finds the call of `ledger.echo` that was made under `key`: after a crash, or in another process.
    pub fn attach_echo(
        &self,
        key: impl ::core::convert::AsRef<str>,
    ) -> ::requite::Attach<(), ::requite::NoError, ::requite::Bidirectional<u64, u64>> {
        ::requite::__private::attach(&self.client, Self::__ECHO, key.as_ref())
    }
}
