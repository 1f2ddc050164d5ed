//! `#[service]` knows `name` and `version`.
#![allow(unused)]

use requite::prelude::*;

struct Billing;

#[service(nmae = "billing", port = 80)]
impl Billing {
    #[handler]
    async fn ping(&self) {}
}

fn main() {}
