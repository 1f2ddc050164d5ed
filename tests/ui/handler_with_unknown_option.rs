//! A misspelt option is named with the option that was probably meant.
#![allow(unused)]

use requite::prelude::*;

struct Billing;

#[service]
impl Billing {
    #[handler(leese = "30s", timeout = "1m")]
    async fn ping(&self) {}
}

fn main() {}
