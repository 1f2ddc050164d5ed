//! An item crosses the network.
#![allow(unused)]

use futures_util::{Stream, stream};
use requite::{Items, Sink, prelude::*};

struct Ledger;

struct Entry;

#[service]
impl Ledger {
    #[handler]
    async fn import(&self, items: Items<Entry>) {}

    #[handler]
    async fn export(&self, sink: Sink<Entry>) {}

    #[handler]
    fn entries(&self) -> impl Stream<Item = Entry> {
        stream::empty()
    }
}

fn main() {}
