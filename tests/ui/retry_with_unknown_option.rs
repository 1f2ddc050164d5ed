//! `#[retry]` knows `after`.
#![allow(unused)]

use requite::prelude::*;

#[derive(CallError)]
enum ChargeError {
    #[retry(aftr = "30s")]
    Busy,
    #[retry = "30s"]
    BankDown,
    #[retry("30s")]
    Closed,
    #[retry(after = 30)]
    Full,
}

fn main() {}
