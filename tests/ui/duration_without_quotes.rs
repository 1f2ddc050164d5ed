//! A duration is a string.
#![allow(unused)]

use requite::prelude::*;

struct Billing;

#[service]
impl Billing {
    #[handler(lease = 30, max_run = 2h, retention)]
    async fn ping(&self) {}
}

fn main() {}
