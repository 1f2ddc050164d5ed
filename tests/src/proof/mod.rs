//! Everything that is proved, by one command and in one table.

pub mod parts;
pub mod play;
