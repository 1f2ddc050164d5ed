//! A call carries one value.
#![allow(unused)]

use requite::prelude::*;

struct Billing;

#[service]
impl Billing {
    #[handler]
    async fn charge(&self, cx: &Context, account: u64, cents: u64) {}
}

fn main() {}
