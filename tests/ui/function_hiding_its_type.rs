//! The struct that is named after the function is another one than the type that the function takes or returns.
#![allow(unused)]

use ledger::*;
use requite::prelude::*;

mod ledger {
    #[derive(serde::Serialize, serde::Deserialize)]
    pub struct Order;
}

#[service]
async fn order(order: Vec<Order>) -> u64 {
    7
}

#[service]
async fn context(cx: &Context) {}

#[service]
async fn result() -> Result<u64, requite::NoError> {
    Ok(7)
}

/// The path begins with another name.
#[service]
async fn receipt(order: ledger::Order) {}

fn main() {}
