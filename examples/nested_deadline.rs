//! Run with `cargo run --bin nested_deadline`: three services, each calling the next; one deadline reaches all of them.

#![allow(clippy::print_stdout, reason = "what an example prints is what it shows")]

use std::time::Duration;

use examples::{Clock, Nats};
use requite::prelude::*;

const HOUR: Duration = Duration::from_secs(3600);
/// What a handler keeps for its way back.
const RESERVE: Duration = Duration::from_secs(2);

#[derive(Debug, Serialize, Deserialize, thiserror::Error, CallError)]
#[error("{0}")]
struct NoQuote(String);

struct Shop(WarehouseClient);

#[service(name = "shop")]
impl Shop {
    /// What it costs to have parcels shipped.
    #[handler(lease = "6s")]
    async fn quote(&self, cx: &Context, parcels: u32) -> Result<String, NoQuote> {
        work("shop", cx).await;
        // It may ask for an hour: it gets what its own caller has left.
        let quote = self.0.weigh(parcels).deadline(HOUR).await;
        quote.map_err(|error| NoQuote(error.to_string()))
    }
}

struct Warehouse(CarrierClient);

#[service(name = "warehouse")]
impl Warehouse {
    #[handler(lease = "6s")]
    async fn weigh(&self, cx: &Context, parcels: u32) -> Result<String, NoQuote> {
        work("warehouse", cx).await;
        let quote = self.0.price(parcels * 3).deadline(HOUR).await;
        quote.map_err(|error| NoQuote(error.to_string()))
    }
}

struct Carrier;

#[service(name = "carrier")]
impl Carrier {
    /// The longer it looks, the less it costs: it looks for as long as somebody waits.
    #[handler(lease = "6s")]
    async fn price(&self, cx: &Context, kilograms: u32) -> String {
        work("carrier", cx).await;
        let mut cents = kilograms * 40;
        while cx.remaining().is_some_and(|left| left > RESERVE) {
            tokio::time::sleep(Duration::from_millis(100)).await;
            cents = (cents - 10).max(kilograms);
        }
        format!("{kilograms} kg for {cents} cents")
    }
}

async fn work(who: &str, cx: &Context) {
    tokio::time::sleep(Duration::from_secs(1)).await;
    println!("  {who} has done its part; {:.1} s are left", cx.remaining().unwrap_or(HOUR).as_secs_f32());
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let nats = Nats::from_env().await?;
    let client = Client::connect(nats.url()).await?;
    let (warehouse, carrier) = (WarehouseClient::new(client.clone()), CarrierClient::new(client.clone()));
    let server = Server::new(&client).serve(Carrier).serve(Warehouse(carrier)).serve(Shop(warehouse));
    let _running = server.start().await?;
    let (shop, clock) = (ShopClient::new(client), Clock::start());
    for seconds in [7, 10] {
        let quote = shop.quote(7).deadline(Duration::from_secs(seconds)).await?;
        clock.print(format!("within {seconds} s: {quote}"));
    }
    Ok(())
}
