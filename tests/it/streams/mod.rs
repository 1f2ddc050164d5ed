//! Streams of items on real servers: both directions, cuts, slow and vanished peers, dead workers, sizes, many at once.

mod fixture;
mod flow;
