//! One attribute says it.
#![allow(unused)]

use requite::prelude::*;

#[derive(Serialize, Deserialize, CallError)]
enum ChargeError {
    #[retry]
    #[retry(after = "30s")]
    Busy,
}

impl std::fmt::Display for ChargeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("failed")
    }
}

fn main() {}
