//! In the client `Self` would be the client.
#![allow(unused)]

use requite::prelude::*;

struct Billing;

#[service]
impl Billing {
    #[handler]
    async fn copy(&self) -> Self {
        Billing
    }
}

fn main() {}
