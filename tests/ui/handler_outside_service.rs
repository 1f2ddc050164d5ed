//! `#[handler]` needs a service around it.
#![allow(unused)]

use requite::prelude::*;

struct Billing;

impl Billing {
    #[handler(lease = "30s")]
    async fn ping(&self) {}
}

#[handler]
pub async fn free() {}

fn main() {}
