//! Maps by numbers that we counted ourselves: requests under way, calls that wait.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

/// A map whose keys nobody else chooses, so that they need no protection against chosen keys.
pub(crate) type Numbered<T> = HashMap<u64, T, BuildHasherDefault<Counted>>;

/// Spreads consecutive numbers.
#[derive(Default)]
pub(crate) struct Counted(u64);

impl Hasher for Counted {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, number: u64) {
        // The table takes its buckets from the low bits and its tags from the high ones: multiplying fills both.
        self.0 = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only numbers are hashed")
    }
}
