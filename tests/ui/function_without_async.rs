//! A free function is a handler like any other: all its mistakes are reported, and the function and its client exist all
//! the same.
#![allow(unused)]

use requite::prelude::*;

#[service(lease = "30s", version = "one")]
#[handler(attempts = 0)]
fn charge(order: &u64, cx: Context) {}

#[service]
#[handler(lease = "1s")]
async fn refund(order: u64) -> u64 {
    order
}

async fn served(url: &str) {
    Server::connect(url).await.unwrap().serve(Charge).serve(Refund).run().await.unwrap();
    charge(&7, todo!());
    let _: u64 = refund(7).await;
    let _ = RefundClient::connect(url).await.unwrap().refund(7).await;
}

fn main() {}
