//! One context is enough.
#![allow(unused)]

use requite::prelude::*;

struct Billing;

#[service]
impl Billing {
    #[handler]
    async fn charge(&self, cx: &Context, again: &Context) {}
}

fn main() {}
