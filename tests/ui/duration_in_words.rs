//! A duration is made of numbers and units.
#![allow(unused)]

use requite::prelude::*;

struct Billing;

#[service]
impl Billing {
    #[handler(lease = "half an hour")]
    async fn ping(&self) {}
}

fn main() {}
