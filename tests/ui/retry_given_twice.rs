//! One attribute says it.
#![allow(unused)]

use requite::prelude::*;

#[derive(CallError)]
enum ChargeError {
    #[retry]
    #[retry(after = "30s")]
    Busy,
}

fn main() {}
