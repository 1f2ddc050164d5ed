//! The client has methods of its own.
#![allow(unused)]

use requite::prelude::*;

struct Billing;

#[service]
impl Billing {
    #[handler]
    async fn new(&self) {}

    #[handler]
    async fn connect(&self) {}

    #[handler]
    async fn cancel(&self) {}

    #[handler]
    async fn charge(&self) {}

    #[handler]
    async fn attach_charge(&self) {}
}

fn main() {}
