//! `#[retry]` belongs on a variant.
#![allow(unused)]

use requite::prelude::*;

#[derive(Serialize, Deserialize, CallError)]
#[retry]
enum ChargeError {
    Busy(#[retry] u32),
}

#[derive(Serialize, Deserialize, CallError)]
struct Declined {
    #[retry]
    why: String,
}

impl std::fmt::Display for ChargeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("failed")
    }
}

impl std::fmt::Display for Declined {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("failed")
    }
}

fn main() {}
