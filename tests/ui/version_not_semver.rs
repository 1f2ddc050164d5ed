//! A version is three numbers.
#![allow(unused)]

use requite::prelude::*;

struct Billing;

#[service(version = "1.2")]
impl Billing {
    #[handler]
    async fn ping(&self) {}
}

fn main() {}
