//! What is served is the function's struct.
#![allow(unused)]

use requite::prelude::*;

#[service]
async fn charge(order: u64) {}

async fn served(url: &str) {
    Server::connect(url).await.unwrap().serve(charge).run().await.unwrap();
}

fn main() {}
