//! An answer stays for at least a minute.
#![allow(unused)]

use requite::prelude::*;

struct Billing;

#[service]
impl Billing {
    #[handler(retention = "30s")]
    async fn ping(&self) {}
}

fn main() {}
