//! Heartbeats need a lease of at least 6s.
#![allow(unused)]

use requite::prelude::*;

struct Billing;

#[service]
impl Billing {
    #[handler(lease = "5s")]
    async fn ping(&self) {}
}

fn main() {}
