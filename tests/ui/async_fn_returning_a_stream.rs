//! A stream is returned at once, or sent while the handler runs.
#![allow(unused)]

use futures_util::{Stream, stream};
use requite::prelude::*;

struct Ledger;

#[service]
impl Ledger {
    #[handler]
    async fn entries(&self) -> impl Stream<Item = u64> {
        stream::empty()
    }
}

#[service]
async fn ticks() -> impl Stream<Item = u64> {
    stream::empty()
}

/// The same in a contract.
#[service]
trait Journal {
    #[handler]
    async fn entries(&self) -> impl Stream<Item = u64>;
}

fn main() {}
