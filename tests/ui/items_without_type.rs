//! A client has to know what the items are.
#![allow(unused)]

use futures_util::Stream;
use requite::prelude::*;

struct Ledger;

/// A request of the user's that has the name of a stream.
mod warehouse {
    #[derive(serde::Serialize, serde::Deserialize)]
    pub struct Items;
}

#[service]
impl Ledger {
    #[handler]
    async fn store(&self, items: warehouse::Items) {}
}

fn main() {}
