//! An option has one value.
#![allow(unused)]

use requite::prelude::*;

struct Billing;

#[service(name = "a", name = "b")]
impl Billing {
    #[handler(lease = "30s", attempts = 2, lease = "40s")]
    async fn ping(&self) {}
}

fn main() {}
