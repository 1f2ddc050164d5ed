//! Direct handlers are yet to come.
#![allow(unused)]

use requite::prelude::*;

struct Billing;

#[service]
impl Billing {
    #[handler(direct)]
    async fn balance(&self) -> u64 {
        0
    }
}

fn main() {}
