//! The context comes before the request.
#![allow(unused)]

use requite::prelude::*;

struct Billing;

#[service]
impl Billing {
    #[handler]
    async fn charge(&self, order: u64, cx: &Context) {}
}

fn main() {}
