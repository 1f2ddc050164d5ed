//! From 1 to 65535 requests at once.
#![allow(unused)]

use requite::prelude::*;

struct Billing;

#[service]
impl Billing {
    #[handler(concurrency = 0)]
    async fn ping(&self) {}

    #[handler(concurrency = 65_536)]
    async fn pong(&self) {}
}

fn main() {}
