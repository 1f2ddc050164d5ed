//! What crosses the network is owned.
#![allow(unused)]

use requite::prelude::*;

struct Billing;

#[service]
impl Billing {
    #[handler]
    async fn charge(&self, name: std::borrow::Cow<'_, str>) {}
}

fn main() {}
