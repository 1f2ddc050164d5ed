//! A handler is a plain async function.
#![allow(unused)]

use requite::prelude::*;

struct Billing;

#[service]
impl Billing {
    #[handler]
    async unsafe fn ping(&self) {}

    #[handler]
    async extern "C" fn pong(&self) {}

    #[handler]
    const fn count(&self) {}
}

fn main() {}
