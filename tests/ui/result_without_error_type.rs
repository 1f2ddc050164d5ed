//! Callers can tell what happened.
#![allow(unused)]

use requite::prelude::*;

struct Billing;

#[service]
impl Billing {
    #[handler]
    async fn charge(&self) -> std::io::Result<u64> {
        Ok(1)
    }
}

fn main() {}
