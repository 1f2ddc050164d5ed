//! Streams of items, the same at a caller and at a worker: a [`Sink`] takes items in, [`Items`] hands them out, and a task
//! beside each of them does what its machine in `protocol/items/` asks for.
//!
//! [`lane`] is the way between the two: where frames lie, where they arrive, where credit is given.

mod alarm;
pub(crate) mod inflow;
pub(crate) mod intake;
pub(crate) mod lane;
pub(crate) mod outflow;
mod read;
mod sink;

pub use read::Items;
pub use sink::Sink;

use std::marker::PhantomData;

/// Of a [`Call`](crate::Call): its handler returns a stream of `D`, or writes to one.
#[derive(Debug)]
pub struct ServerStream<D>(PhantomData<fn() -> D>);

/// Of a [`Call`](crate::Call): its handler takes a stream of `U`.
#[derive(Debug)]
pub struct ClientStream<U>(PhantomData<fn() -> U>);

/// Of a [`Call`](crate::Call): its handler takes a stream of `U` and writes to one of `D`.
#[derive(Debug)]
pub struct Bidirectional<U, D>(PhantomData<fn() -> (U, D)>);
