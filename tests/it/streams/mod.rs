//! Streams of items on real servers: both directions, cuts, slow and vanished peers, dead workers, sizes, many at once.

mod broken;
mod bytes;
mod cancel;
mod cuts;
mod drain;
mod errors;
mod fixture;
mod flow;
mod json;
mod kept;
mod many;
mod memory;
mod peers;
mod permissions;
mod positions;
mod restarts;
mod retries;
mod silence;
mod sizes;
mod taken;
mod unstored;
