//! An error is an enum or a struct.
#![allow(unused)]

use requite::prelude::CallError;

#[derive(CallError)]
union Bits {
    a: u32,
    b: f32,
}

fn main() {}
