//! A client has to know what the items are.
#![allow(unused)]

use futures_util::{Stream, stream};
use requite::prelude::*;

struct Ledger;

#[service]
impl Ledger {
    #[handler]
    fn entries(&self) -> impl Stream {
        stream::empty::<u64>()
    }
}

fn main() {}
