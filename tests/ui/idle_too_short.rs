//! A pause is no silence yet. The handlers and the client's methods exist all the same.
#![allow(unused)]

use futures_util::{Stream, stream};
use requite::{Items, Sink, prelude::*};

struct Ledger;

#[service]
impl Ledger {
    #[handler(idle = "10ms")]
    fn entries(&self, account: u64) -> impl Stream<Item = u64> {
        stream::empty()
    }

    #[handler(lease = "6s", idle = "2999ms")]
    async fn convert(&self, items: Items<u64>, sink: Sink<String>) -> u64 {
        7
    }
}

#[service]
#[handler(idle = "0s")]
fn ticks() -> impl Stream<Item = u64> {
    stream::empty()
}

#[service]
trait Journal {
    #[handler(idle = "0s")]
    fn entries(&self) -> impl Stream<Item = u64>;
}

impl Journal for Ledger {
    fn entries(&self) -> impl Stream<Item = u64> {
        stream::empty()
    }
}

fn calls(ledger: LedgerClient, ticks: TicksClient, journal: JournalClient) {
    let _ = (ledger.entries(7), ledger.convert(), ledger.attach_convert("key"));
    let _ = (ticks.ticks(), journal.entries());
}

fn main() {}
