//! What `server_stream` in `src/golden.rs` expands to.

const _: fn() = || {
    fn request<T: ::requite::__private::RequestType>() {}
    request::<Account>();
    {
        fn item<T: ::requite::__private::ItemType>() {}
        item::<Entry>();
    }
    fn error<T: ::requite::HandlerError>() {}
    error::<ReadError>();
};
const _: fn() = || {
    {
        fn item<T: ::requite::__private::ItemType>() {}
        item::<u64>();
    }
};
const _: fn() = || {
    fn request<T: ::requite::__private::RequestType>() {}
    request::<Format>();
    {
        fn item<T: ::requite::__private::ItemType>() {}
        item::<Vec<u8>>();
    }
    fn reply<T: ::requite::__private::ReplyType>() {}
    reply::<Summary>();
    fn error<T: ::requite::HandlerError>() {}
    error::<ReadError>();
};
impl Ledger {
    /// The entries of an account.
    fn entries(
        &self,
        cx: &Context,
        account: Account,
    ) -> impl Stream<Item = Result<Entry, ReadError>> {
        self.read(cx, account)
    }
    fn ticks(&self) -> impl Stream<Item = u64> + '_ {
        self.clock.ticks()
    }
    async fn export(
        &self,
        format: Format,
        mut sink: Sink<Vec<u8>>,
    ) -> Result<Summary, ReadError> {
        self.write(format, &mut sink).await
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
                LedgerClient::__ENTRIES,
                {
                    let service = ::std::sync::Arc::clone(&service);
                    ::requite::__private::handler(move |
                        cx: ::requite::Context,
                        input: Account|
                    {
                        let service = ::std::sync::Arc::clone(&service);
                        async move {
                            ::requite::__private::stream(
                                    &cx,
                                    Self::entries(&service, &cx, input),
                                )
                                .await
                        }
                    })
                },
            );
        let definition = definition
            .method(
                LedgerClient::__TICKS,
                {
                    let service = ::std::sync::Arc::clone(&service);
                    ::requite::__private::infallible_handler(move |
                        cx: ::requite::Context,
                        (): ()|
                    {
                        let service = ::std::sync::Arc::clone(&service);
                        async move {
                            ::requite::__private::infallible_stream(
                                    &cx,
                                    Self::ticks(&service),
                                )
                                .await
                        }
                    })
                },
            );
        let definition = definition
            .method(
                LedgerClient::__EXPORT,
                {
                    let service = ::std::sync::Arc::clone(&service);
                    ::requite::__private::handler(move |
                        cx: ::requite::Context,
                        input: Format|
                    {
                        let service = ::std::sync::Arc::clone(&service);
                        async move {
                            let sink = ::requite::__private::sink::<Vec<u8>>(&cx);
                            Self::export(&service, input, sink).await
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
    const __ENTRIES: ::requite::__private::Method = ::requite::__private::Method {
        description: "The entries of an account.",
        down: true,
        idle: ::core::time::Duration::from_millis(300000),
        ..::requite::__private::Method::new("ledger", "entries")
    };
    const __TICKS: ::requite::__private::Method = ::requite::__private::Method {
        down: true,
        volatile: true,
        ..::requite::__private::Method::new("ledger", "ticks")
    };
    const __EXPORT: ::requite::__private::Method = ::requite::__private::Method {
        down: true,
        ..::requite::__private::Method::new("ledger", "export")
    };
    /// The entries of an account.
    pub fn entries(
        &self,
        account: Account,
    ) -> ::requite::Call<(), ReadError, ::requite::ServerStream<Entry>> {
        ::requite::__private::call(&self.client, Self::__ENTRIES, &account)
    }
    /// Calls `ticks` of the service `ledger`.
    pub fn ticks(
        &self,
    ) -> ::requite::Call<(), ::requite::NoError, ::requite::ServerStream<u64>> {
        ::requite::__private::call(&self.client, Self::__TICKS, &())
    }
    /// Calls `export` of the service `ledger`.
    pub fn export(
        &self,
        format: Format,
    ) -> ::requite::Call<Summary, ReadError, ::requite::ServerStream<Vec<u8>>> {
        ::requite::__private::call(&self.client, Self::__EXPORT, &format)
    }
    /// Finds the call of `ledger.entries` that was made under `key`: after a crash, or in another process.
    pub fn attach_entries(
        &self,
        key: impl ::core::convert::AsRef<str>,
    ) -> ::requite::Attach<(), ReadError, ::requite::ServerStream<Entry>> {
        ::requite::__private::attach(&self.client, Self::__ENTRIES, key.as_ref())
    }
    /// Finds the call of `ledger.ticks` that was made under `key`: after a crash, or in another process.
    pub fn attach_ticks(
        &self,
        key: impl ::core::convert::AsRef<str>,
    ) -> ::requite::Attach<(), ::requite::NoError, ::requite::ServerStream<u64>> {
        ::requite::__private::attach(&self.client, Self::__TICKS, key.as_ref())
    }
    /// Finds the call of `ledger.export` that was made under `key`: after a crash, or in another process.
    pub fn attach_export(
        &self,
        key: impl ::core::convert::AsRef<str>,
    ) -> ::requite::Attach<Summary, ReadError, ::requite::ServerStream<Vec<u8>>> {
        ::requite::__private::attach(&self.client, Self::__EXPORT, key.as_ref())
    }
}
