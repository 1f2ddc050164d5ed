//! `#[service]` is for impls, traits and functions.
#![allow(unused)]

use requite::prelude::*;

#[service]
struct Billing;

fn main() {}
