//! A flag is on or off.
#![allow(unused)]

use requite::prelude::*;

struct Billing;

#[service]
impl Billing {
    #[handler(once = "yes", fenced = 1)]
    async fn ping(&self) {}
}

fn main() {}
