//! The struct of a function needs a name, and one that is not the function's.
#![allow(unused, non_snake_case)]

use requite::prelude::*;

#[service]
#[handler]
async fn Charge(order: u64) {}

#[service]
#[handler]
async fn self_(order: u64) {}

#[service]
async fn _1(order: u64) {}

#[service]
async fn connect(order: u64) {}

fn main() {}
