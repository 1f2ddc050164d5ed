//! Names are tokens of a NATS subject.
#![allow(unused)]

use requite::prelude::*;

struct Billing;

#[service(name = "billing service")]
impl Billing {
    #[handler(name = "charge.card")]
    async fn ping(&self) {}

    #[handler(name = "-v")]
    async fn pong(&self) {}
}

fn main() {}
