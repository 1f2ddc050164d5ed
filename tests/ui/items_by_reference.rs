//! A stream belongs to the handler that takes it.
#![allow(unused)]

use requite::{Items, Sink, prelude::*};

struct Ledger;

#[service]
impl Ledger {
    #[handler]
    async fn import(&self, items: &Items<u64>) {}

    #[handler]
    async fn export(&self, sink: &mut Sink<u64>) {}
}

fn main() {}
