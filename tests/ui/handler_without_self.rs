//! A handler is a method.
#![allow(unused)]

use requite::prelude::*;

struct Billing;

#[service]
impl Billing {
    #[handler]
    async fn ping() {}

    #[handler]
    async fn count(order: u64) -> u64 {
        order
    }
}

fn main() {}
