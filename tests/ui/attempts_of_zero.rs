//! The first run is an attempt.
#![allow(unused)]

use requite::prelude::*;

struct Billing;

#[service]
impl Billing {
    #[handler(attempts = 0)]
    async fn ping(&self) {}
}

fn main() {}
