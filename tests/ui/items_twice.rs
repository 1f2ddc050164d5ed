//! A caller has one stream, and a handler one to the caller.
#![allow(unused)]

use requite::{Items, Sink, prelude::*};

struct Ledger;

#[service]
impl Ledger {
    #[handler]
    async fn import(&self, ours: Items<u64>, theirs: Items<String>) {}

    #[handler]
    async fn export(&self, ours: Sink<u64>, theirs: Sink<String>) {}
}

fn main() {}
