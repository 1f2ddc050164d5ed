//! A client has to name the type.
#![allow(unused)]

use requite::prelude::*;

struct Billing;

#[service]
impl Billing {
    #[handler]
    async fn charge(&self, order: impl Into<String>) {}
}

fn main() {}
