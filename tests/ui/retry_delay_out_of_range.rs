//! A delay is more than nothing and at most a day.
#![allow(unused)]

use requite::prelude::*;

#[derive(CallError)]
enum ChargeError {
    #[retry(after = "0s")]
    Busy,
    #[retry(after = "25h")]
    BankDown,
}

fn main() {}
