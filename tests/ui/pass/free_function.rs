//! Services written as free functions, wherever one may stand and whatever it may be called.

#![deny(warnings, clippy::all, missing_docs, missing_debug_implementations, unreachable_pub)]

use cards::{ChargeCard, ChargeCardClient, Receipt, charge_card};
use requite::{NoError, prelude::*};

mod cards {
    use requite::{NoError, prelude::*};

    #[allow(unreachable_pub)]
    #[derive(Debug, Serialize, Deserialize)]
    pub struct Receipt {
        pub cents: u64,
    }

    /// Charges a card.
    #[allow(unreachable_pub)]
    #[service(name = "billing", version = "1.2.0")]
    #[handler(name = "charge", lease = "30s", max_run = "2h", attempts = 3)]
    pub async fn charge_card(cx: &Context, mut cents: u64) -> Result<Receipt, NoError> {
        cents += u64::from(cx.attempt());
        Ok(Receipt { cents })
    }
}

/// Without a request, an answer and options.
#[service]
async fn ping() {}

#[service]
async fn r#type(r#ref: Option<u64>) -> Vec<String> {
    vec![format!("{:?}", r#ref)]
}

#[service]
#[handler]
#[cfg(any())]
async fn left_out() -> NoSuchType {}

#[service]
#[cfg(unix)]
#[deprecated = "ask the bank"]
async fn system(Receipt { cents, .. }: Receipt) -> u64 {
    cents
}

/// Names that the expansion has as well.
mod names {
    use requite::prelude::*;

    #[service]
    async fn service(service: u64) -> u64 {
        service
    }

    #[service]
    async fn definition(cx: &Context) -> u32 {
        cx.attempt()
    }

    #[service]
    async fn input(input: u64) -> u64 {
        input
    }

    #[service]
    async fn cx(_: u64) {}

    pub(super) fn definitions() -> [requite::ServiceDefinition; 4] {
        use requite::Service as S;
        [S::definition(Service), S::definition(Definition), S::definition(Input), S::definition(Cx)]
    }
}

async fn plain(cx: &Context) -> Result<(), NoError> {
    charge_card(cx, 7).await?;
    ping().await;
    let _: Vec<String> = r#type(None).await;
    Ok(())
}

async fn calls(client: &Client) {
    let _ = ChargeCardClient::new(client.clone()).charge_card(7).key("order-1").await;
    let _ = ChargeCardClient::new(client.clone()).attach_charge_card("order-1").await;
    let _ = PingClient::new(client.clone()).ping().await;
    let _ = TypeClient::new(client.clone()).r#type(None).await;
    let _ = TypeClient::new(client.clone()).attach_type("key").await;
}

fn main() {
    #[service]
    async fn inner() {}

    let _services = (ChargeCard, Ping, Type, System, Inner);
    let _definition = requite::Service::definition(ChargeCard);
    let _ = (names::definitions(), plain, calls);
}
