//! Requests run side by side on one service.
#![allow(unused)]

use requite::prelude::*;

struct Billing;

#[service]
impl Billing {
    #[handler]
    async fn ping(&mut self) {}
}

fn main() {}
