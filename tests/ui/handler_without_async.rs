//! A handler is async.
#![allow(unused)]

use requite::prelude::*;

struct Billing;

#[service]
impl Billing {
    #[handler]
    fn ping(&self) {}
}

fn main() {}
