//! A run gets at least a second.
#![allow(unused)]

use requite::prelude::*;

struct Billing;

#[service]
impl Billing {
    #[handler(max_run = "10ms")]
    async fn ping(&self) {}
}

fn main() {}
