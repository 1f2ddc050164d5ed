//! What `free_function_with_mistakes` in `src/golden.rs` expands to.

::core::compile_error! {
    "`lease` is an option of a handler: move it to #[handler(…)]"
}
::core::compile_error! {
    "a handler is async: write `async fn charge`"
}
fn charge(order: Order) -> Receipt {
    todo!()
}
/// The service `charge`, of one function.
#[derive(Clone, Copy, Debug)]
#[allow(unreachable_pub)]
struct Charge;
impl ::requite::Service for Charge {
    fn definition(self) -> ::requite::ServiceDefinition {
        ::core::unreachable!()
    }
}
/// A client of the service `charge`.
#[derive(Clone, Debug)]
#[allow(dead_code, unreachable_pub)]
struct ChargeClient {
    client: ::requite::Client,
}
#[allow(dead_code, unreachable_pub)]
impl ChargeClient {
    /// Connects to NATS, for calls of the service `charge`.
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
        ::requite::__private::cancel(&self.client, "charge", id).await
    }
    /// The connection.
    #[must_use]
    pub fn client(&self) -> &::requite::Client {
        &self.client
    }
}
#[allow(dead_code, private_interfaces, unused_variables)]
impl ChargeClient {}
