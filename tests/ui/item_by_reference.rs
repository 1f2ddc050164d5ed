//! Items cross the network and are owned.
#![allow(unused)]

use futures_util::{Stream, stream};
use requite::{Items, Sink, prelude::*};

struct Ledger;

#[service]
impl Ledger {
    #[handler]
    async fn import(&self, items: Items<&'static str>, sink: Sink<Vec<&'static str>>) {}

    #[handler]
    fn names(&self) -> impl Stream<Item = &'static str> {
        stream::empty()
    }

    #[handler]
    fn prices(&self) -> impl Stream<Item = impl Into<u64>> {
        stream::empty::<u64>()
    }
}

fn main() {}
