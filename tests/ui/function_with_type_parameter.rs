//! The types of a function are known.
#![allow(unused)]

use requite::prelude::*;

#[service]
async fn charge<T: Send>(order: T)
where
    T: Sync,
{
}

fn main() {}
