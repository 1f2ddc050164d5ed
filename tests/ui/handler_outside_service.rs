//! `#[handler]` needs a service around it, or above it.
#![allow(unused)]

use requite::prelude::*;

struct Billing;

impl Billing {
    #[handler(lease = "30s")]
    async fn ping(&self) {}
}

#[handler]
pub async fn free() {}

#[handler]
#[service]
async fn upside_down() {}

fn main() {}
