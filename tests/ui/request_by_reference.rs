//! Requests come from the network and are owned.
#![allow(unused)]

use requite::prelude::*;

struct Billing;

#[derive(Serialize, Deserialize)]
struct Order;

#[service]
impl Billing {
    #[handler]
    async fn charge(&self, order: &Order) -> &str {
        "charged"
    }
}

fn main() {}
