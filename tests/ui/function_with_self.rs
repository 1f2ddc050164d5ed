//! A method is no free function: the service is the `impl` around it.
#![allow(unused)]

use requite::prelude::*;

struct Billing;

impl Billing {
    #[service]
    #[handler(lease = "30s")]
    async fn charge(&self, order: u64) -> u64 {
        order
    }

    async fn charge_twice(&self, order: u64) -> u64 {
        self.charge(order).await + self.charge(order).await
    }
}

fn main() {}
