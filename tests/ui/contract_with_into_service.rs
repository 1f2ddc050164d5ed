//! The macro adds this method.
#![allow(unused)]

use requite::prelude::*;

#[service]
trait Billing {
    #[handler]
    async fn into_service(&self);
}

fn main() {}
