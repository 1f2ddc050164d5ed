//! `#[retry]` knows `after`.
#![allow(unused)]

use requite::prelude::*;

#[derive(Serialize, Deserialize, CallError)]
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

impl std::fmt::Display for ChargeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("failed")
    }
}

fn main() {}
