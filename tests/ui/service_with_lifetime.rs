//! A service lives as long as its server.
#![allow(unused)]

use requite::prelude::*;

struct Billing<'a>(&'a str);

#[service]
impl Billing<'_> {
    #[handler]
    async fn ping(&self) {}
}

fn main() {}
