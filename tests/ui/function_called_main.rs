//! What starts the program is no handler.
#![allow(unused)]

use requite::prelude::*;

#[service]
#[tokio::main]
async fn main() {
    std::future::ready(()).await;
}
