//! The name decides which handler runs.
#![allow(unused)]

use requite::prelude::*;

struct Billing;

#[service]
impl Billing {
    #[handler]
    async fn charge(&self) {}

    #[handler(name = "charge")]
    async fn charge_card(&self) {}
}

fn main() {}
