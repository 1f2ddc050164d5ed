//! Options of streams need one.
#![allow(unused)]

use requite::{Sink, prelude::*};

struct Ledger;

#[service]
impl Ledger {
    #[handler(volatile, idle = "60s")]
    async fn total(&self) -> u64 {
        7
    }

    #[handler(volatil)]
    async fn export(&self, sink: Sink<u64>) {}
}

fn main() {}
