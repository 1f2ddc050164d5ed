//! A run may move between threads, and its stream with it.
#![allow(unused)]

use futures_util::{Stream, stream};
use requite::prelude::*;

struct Ledger;

#[service]
impl Ledger {
    #[handler]
    fn entries(&self) -> impl Stream<Item = u64> {
        let local = std::rc::Rc::new(1);
        stream::repeat_with(move || *local)
    }
}

fn main() {}
