//! The types of a handler are known.
#![allow(unused)]

use requite::prelude::*;

struct Billing;

#[service]
impl Billing {
    #[handler]
    async fn charge<T: Send>(&self, order: T)
    where
        T: Sync,
    {
    }
}

fn main() {}
