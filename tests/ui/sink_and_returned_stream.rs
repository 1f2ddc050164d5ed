//! A handler has one stream to the caller.
#![allow(unused)]

use futures_util::{Stream, stream};
use requite::{Sink, prelude::*};

struct Ledger;

#[service]
impl Ledger {
    #[handler]
    fn entries(&self, sink: Sink<u64>) -> impl Stream<Item = u64> {
        stream::empty()
    }
}

fn main() {}
