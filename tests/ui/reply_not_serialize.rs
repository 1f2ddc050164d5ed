//! Replies are sent and read back.
#![allow(unused)]

use requite::prelude::*;

struct Billing;

struct Receipt;

#[service]
impl Billing {
    #[handler]
    async fn charge(&self) -> Receipt {
        Receipt
    }
}

fn main() {}
