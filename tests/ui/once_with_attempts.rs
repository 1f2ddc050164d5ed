//! `once` means one attempt.
#![allow(unused)]

use requite::prelude::*;

struct Billing;

#[service]
impl Billing {
    #[handler(once, attempts = 3)]
    async fn ping(&self) {}
}

fn main() {}
