//! Requests are sent and read back.
#![allow(unused)]

use requite::prelude::*;

struct Billing;

struct Order;

#[service]
impl Billing {
    #[handler]
    async fn charge(&self, order: Order) {}
}

fn main() {}
