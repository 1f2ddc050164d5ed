//! Streams are yet to come.
#![allow(unused)]

use requite::prelude::*;

struct Billing;
struct Items<T>(T);
struct Sink<T>(T);
trait Stream {
    type Item;
}
impl Stream for u64 {
    type Item = u64;
}

#[service]
impl Billing {
    #[handler]
    fn statement(&self) -> impl Stream<Item = u64> {
        0
    }

    #[handler]
    async fn reconcile(&self, input: Items<u64>, output: Sink<u64>) {}
}

fn main() {}
