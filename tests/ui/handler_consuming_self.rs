//! A service answers more than one request.
#![allow(unused)]

use requite::prelude::*;

struct Billing;

#[service]
impl Billing {
    #[handler]
    async fn ping(self) {}

    #[handler]
    async fn pong(self: std::sync::Arc<Self>) {}
}

fn main() {}
