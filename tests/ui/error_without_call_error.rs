//! Errors say whether another attempt is worth it.
#![allow(unused)]

use requite::prelude::*;

struct Billing;

#[derive(Debug, Serialize, Deserialize)]
struct ChargeError;

#[service]
impl Billing {
    #[handler]
    async fn charge(&self) -> Result<(), ChargeError> {
        Ok(())
    }
}

fn main() {}
