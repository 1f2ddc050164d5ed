//! Callers can tell what happened.
#![allow(unused)]

use futures_util::{Stream, stream};
use requite::prelude::*;

struct Ledger;

#[service]
impl Ledger {
    #[handler]
    fn entries(&self) -> impl Stream<Item = std::io::Result<u64>> {
        stream::empty()
    }
}

fn main() {}
