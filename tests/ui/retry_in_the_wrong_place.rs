//! `#[retry]` belongs on a variant.
#![allow(unused)]

use requite::prelude::*;

#[derive(CallError)]
#[retry]
enum ChargeError {
    Busy(#[retry] u32),
}

#[derive(CallError)]
struct Declined {
    #[retry]
    why: String,
}

fn main() {}
