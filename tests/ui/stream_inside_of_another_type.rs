//! A stream stands alone.
#![allow(unused)]

use futures_util::{Stream, stream};
use requite::{Items, Sink, prelude::*};

struct Ledger;

#[service]
impl Ledger {
    #[handler]
    async fn import(&self, all: Vec<Items<u64>>) {}

    #[handler]
    async fn convert(&self, items: impl Stream<Item = u64>) {}

    #[handler]
    async fn entries(&self) -> Result<impl Stream<Item = u64>, requite::NoError> {
        Ok(stream::empty())
    }

    #[handler]
    fn opened(&self) -> Result<impl Stream<Item = u64>, requite::NoError> {
        Ok(stream::empty())
    }

    #[handler]
    fn boxed(&self) -> Box<dyn Stream<Item = u64> + Send> {
        Box::new(stream::empty())
    }

    #[handler]
    async fn export(&self) -> Sink<u64> {
        todo!()
    }
}

fn main() {}
