//! A client could not be typed.
#![allow(unused)]

use requite::prelude::*;

struct Billing<T>(T);

#[service]
impl<T: Send + Sync + 'static> Billing<T> {
    #[handler]
    async fn ping(&self) {}
}

#[service]
trait Ledger<T> {
    #[handler]
    async fn post(&self, entry: T);
}

fn main() {}
