//! A handler with a sink is async, as one without streams is.
#![allow(unused)]

use requite::{Sink, prelude::*};

struct Ledger;

#[service]
impl Ledger {
    #[handler]
    fn export(&self, sink: Sink<u64>) {}
}

fn main() {}
