//! From 1 to 1000000 requests at once.
#![allow(unused)]

use requite::prelude::*;

struct Billing;

#[service]
impl Billing {
    #[handler(concurrency = 0)]
    async fn ping(&self) {}

    #[handler(concurrency = 1_000_001)]
    async fn pong(&self) {}
}

fn main() {}
