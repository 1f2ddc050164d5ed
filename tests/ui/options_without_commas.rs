//! Options stand between commas.
#![allow(unused)]

use requite::prelude::*;

struct Billing;

#[service]
impl Billing {
    #[handler(lease = "30s" attempts = 2)]
    async fn ping(&self) {}

    #[handler = "30s"]
    async fn pong(&self) {}
}

fn main() {}
