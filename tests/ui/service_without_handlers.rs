//! Someone forgot `#[handler]`.
#![allow(unused)]

use requite::prelude::*;

struct Billing;

#[service]
impl Billing {
    async fn ping(&self) {}
}

fn main() {}
