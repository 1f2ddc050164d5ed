//! A duration has a unit.
#![allow(unused)]

use requite::prelude::*;

struct Billing;

#[service]
impl Billing {
    #[handler(lease = "30")]
    async fn ping(&self) {}
}

fn main() {}
