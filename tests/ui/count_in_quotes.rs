//! A count is a number.
#![allow(unused)]

use requite::prelude::*;

struct Billing;

#[service]
impl Billing {
    #[handler(attempts = "3", concurrency = -1)]
    async fn ping(&self) {}
}

fn main() {}
