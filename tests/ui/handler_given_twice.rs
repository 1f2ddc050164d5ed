//! One attribute carries all options.
#![allow(unused)]

use requite::prelude::*;

struct Billing;

#[service]
impl Billing {
    #[handler(once)]
    #[handler(fenced)]
    async fn ping(&self) {}
}

fn main() {}
