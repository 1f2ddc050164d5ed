//! All mistakes are reported in one go, and the client exists all the same.
#![allow(unused)]

use requite::prelude::*;

struct Billing;

#[derive(Serialize, Deserialize)]
struct Order;

#[service(nmae = "billing", version = "one")]
impl Billing {
    #[handler(lease = 30, attempts = 0, max_rum = "2h")]
    async fn charge(&self, order: Order, cx: Context) {}

    #[handler(lease = "1s", lease = "2s")]
    fn refund(&mut self, order: &Order) {}

    #[handler]
    async fn ping(&self) {}

    #[handler(name = "ping")]
    async fn connect(&self) -> std::io::Result<()> {
        Ok(())
    }
}

async fn ping(client: BillingClient) {
    let _ = client.ping().await;
}

fn main() {}
