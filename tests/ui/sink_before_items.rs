//! Streams come last, the caller's before the one to the caller.
#![allow(unused)]

use requite::{Items, Sink, prelude::*};

struct Ledger;

#[service]
impl Ledger {
    #[handler]
    async fn convert(&self, sink: Sink<u64>, items: Items<u64>) {}

    #[handler]
    async fn import(&self, items: Items<u64>, account: u64) {}

    #[handler]
    async fn export(&self, sink: Sink<u64>, cx: &Context, account: u64) {}
}

fn main() {}
