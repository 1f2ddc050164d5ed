//! The contract is the trait, not one of its impls.
#![allow(unused)]

use requite::prelude::*;

trait Billing {
    fn ping(&self) -> impl Future<Output = ()> + Send;
}

struct Bank;

#[service]
impl Billing for Bank {
    #[handler]
    async fn ping(&self) {}
}

fn main() {}
