//! A contract has no bodies.
#![allow(unused)]

use requite::prelude::*;

#[service]
trait Billing {
    #[handler]
    async fn ping(&self) -> u64 {
        1
    }
}

async fn calls(client: BillingClient, bank: impl Billing) {
    let _ = (client.client(), bank.into_service());
}

fn main() {}
