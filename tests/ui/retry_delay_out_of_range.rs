//! A delay is more than nothing and at most a day.
#![allow(unused)]

use requite::prelude::*;

#[derive(Serialize, Deserialize, CallError)]
enum ChargeError {
    #[retry(after = "0s")]
    Busy,
    #[retry(after = "25h")]
    BankDown,
}

impl std::fmt::Display for ChargeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("failed")
    }
}

fn main() {}
