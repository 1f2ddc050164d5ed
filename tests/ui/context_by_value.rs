//! The context is borrowed.
#![allow(unused)]

use requite::prelude::*;

struct Billing;

#[service]
impl Billing {
    #[handler]
    async fn ping(&self, cx: Context) {}

    #[handler]
    async fn pong(&self, cx: &mut Context) {}
}

fn main() {}
