//! `#[service]` is for impls and traits.
#![allow(unused)]

use requite::prelude::*;

#[service]
struct Billing;

fn main() {}
