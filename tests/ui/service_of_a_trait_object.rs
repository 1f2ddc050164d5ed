//! The client is named after the type.
#![allow(unused)]

use requite::prelude::*;

trait Bank {}

#[service]
impl dyn Bank {
    #[handler]
    async fn ping(&self) {}
}

fn main() {}
