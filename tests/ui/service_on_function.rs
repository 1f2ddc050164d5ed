//! `#[service]` is for impls and traits.
#![allow(unused)]

use requite::prelude::*;

#[service]
async fn billing() {}

fn main() {}
