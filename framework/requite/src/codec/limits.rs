//! What a payload may ask of its reader, and the account that a scan keeps of it.
//!
//! # How much memory a value needs
//!
//! The target type is unknown to a scan, so it charges for the greediest common one, a generic tree such as
//! [`serde_json::Value`] on a 64-bit system, as the allocator hands memory out:
//!
//! | value | charged bytes | why |
//! |---|---|---|
//! | number, bool, nil | 0 | lies in the slot of whatever holds it |
//! | text of `n` bytes | `n` + 32 | a block and its rounding |
//! | binary of `n` bytes | 32 × `n` + 32 | may be read as a list of `n` values |
//! | list of `n` values | 32 × (`n`, rounded up to 4, 8, 16 …) + 16 | slots of 32 bytes in a vector that doubles; at most a page of what is unused is resident |
//! | JSON list of `n` values | 64 × `n` + 80 | the same, where `n` shows only at the end |
//! | map of `n` entries | 640 × ⌈`n` / 5⌉ | B-tree nodes, however little of them is filled |
//!
//! What is empty is charged nothing. The sum may reach 40 × the payload, plus [`Limits::headroom`]. A long
//! flat list, a text and a binary need about 32 bytes of memory for one of MessagePack, so they pass at any
//! size, and so does a list of empty lists. What exceeds its share is many tiny maps and lists: `{"":nil}` is three bytes
//! and one node, `[nil]` two bytes and four slots. The headroom is there for them, because a struct or a pair
//! looks the same and is harmless.
//!
//! Against the resident memory of 1 MiB read as such a tree (glibc, x86-64), in multiples of the payload:
//!
//! | list of | MessagePack: charged, measured | JSON: charged, measured |
//! |---|---|---|
//! | `[]` | 32, 32.6 | 21, 14.8 |
//! | `[0]` | 88, 88.1 | 52, 44.1 |
//! | `[[[[[nil]]]]]`, `[[[[0]]]]` | 125, 125.4 | 64, 60.9 |
//! | `{"":nil}`, `{"":0}` | 224, 224.2 | 105, 96.1 |
//!
//! Types whose size does not come from the payload (a struct of many defaulted fields, read from an empty map)
//! are bounded by [`Limits::elements`] × their size instead; a scan cannot see more.

use super::DecodeError;

/// The deepest nesting that [`Limits`] can allow: a scan keeps its open lists and maps in a fixed array.
pub(super) const DEEPEST: usize = 64;

/// Bytes of memory that every byte of a payload may turn into.
const EXPANSION: usize = 40;

/// The most that the table charges for a byte: a map of one entry whose key is one byte, two bytes beside the
/// entry's value, takes a node.
const GREATEST_EXPANSION: usize = MAP_NODE / 2;

const SLOT: usize = 32;
const PAGE: usize = 4096;
const MAP_NODE: usize = 640;
const MAP_NODE_ENTRIES: usize = 5;

/// What a payload may ask of its reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Lists and maps inside each other; at most 64.
    pub(crate) depth: usize,
    /// Values in lists plus entries of maps, in the whole payload.
    pub(crate) elements: usize,
    /// Bytes of memory that a payload may need beyond 40 times its size.
    pub(crate) headroom: usize,
}

impl Default for Limits {
    /// At NATS' default size, 1 MiB, every flat payload passes (a byte array that was written as a list of
    /// numbers, say), and every list of lists of two or more numbers; so do 72,000 structs as small as
    /// `{"x":1,"y":2}`.
    fn default() -> Self {
        Self { depth: DEEPEST, elements: 1 << 20, headroom: 32 << 20 }
    }
}

impl Limits {
    /// The most memory, in bytes, that decoding a payload of this size needs: what to reserve beforehand.
    pub(crate) fn memory(&self, payload: usize) -> usize {
        let allowed = payload.saturating_mul(EXPANSION).saturating_add(self.headroom);
        let possible = payload.saturating_mul(GREATEST_EXPANSION);
        allowed.min(possible)
    }

    /// The depth that is enforced.
    pub(super) fn depth(&self) -> usize {
        self.depth.min(DEEPEST)
    }
}

/// What is left of the limits in the middle of a scan. Offsets are those of the value that asks.
pub(super) struct Budget<'a> {
    limits: &'a Limits,
    elements: usize,
    memory: usize,
}

impl<'a> Budget<'a> {
    pub(super) fn new(limits: &'a Limits, payload: usize) -> Self {
        Self { limits, elements: limits.elements, memory: limits.memory(payload) }
    }

    /// Fails if one more list or map cannot be opened inside `depth` others.
    #[inline]
    pub(super) fn open(&self, depth: usize, offset: usize) -> Result<(), DecodeError> {
        let limit = self.limits.depth();
        if depth < limit { Ok(()) } else { Err(DecodeError::Depth { limit, offset }) }
    }

    #[inline]
    pub(super) fn text(&mut self, len: usize, offset: usize) -> Result<(), DecodeError> {
        self.memory(block(len), offset)
    }

    #[inline]
    pub(super) fn binary(&mut self, len: usize, offset: usize) -> Result<(), DecodeError> {
        self.memory(block(len.saturating_mul(SLOT)), offset)
    }

    #[inline]
    pub(super) fn list(&mut self, len: usize, offset: usize) -> Result<(), DecodeError> {
        self.elements(len, offset)?;
        self.memory(slots(len), offset)
    }

    #[inline]
    pub(super) fn map(&mut self, entries: usize, offset: usize) -> Result<(), DecodeError> {
        self.elements(entries, offset)?;
        self.memory(entries.div_ceil(MAP_NODE_ENTRIES).saturating_mul(MAP_NODE), offset)
    }

    /// The first value of a list, or entry of a map, whose length shows only at its end.
    #[inline]
    pub(super) fn first(&mut self, in_map: bool, offset: usize) -> Result<(), DecodeError> {
        self.elements(1, offset)?;
        self.memory(if in_map { MAP_NODE } else { slots(4) }, offset)
    }

    /// A further value or entry of the same.
    #[inline]
    pub(super) fn further(&mut self, in_map: bool, offset: usize) -> Result<(), DecodeError> {
        self.elements(1, offset)?;
        self.memory(if in_map { MAP_NODE / MAP_NODE_ENTRIES } else { 2 * SLOT }, offset)
    }

    #[inline]
    fn elements(&mut self, count: usize, offset: usize) -> Result<(), DecodeError> {
        self.elements = self
            .elements
            .checked_sub(count)
            .ok_or(DecodeError::Elements { limit: self.limits.elements, offset })?;
        Ok(())
    }

    #[inline]
    fn memory(&mut self, bytes: usize, offset: usize) -> Result<(), DecodeError> {
        self.memory = self
            .memory
            .checked_sub(bytes)
            .ok_or(DecodeError::Memory { headroom: self.limits.headroom, offset })?;
        Ok(())
    }
}

/// A block of this many bytes, with its header and rounding. Nothing is allocated for nothing.
fn block(bytes: usize) -> usize {
    if bytes == 0 { 0 } else { bytes.saturating_add(32) }
}

/// A vector with this many slots in use.
fn slots(count: usize) -> usize {
    if count == 0 {
        return 0;
    }
    let used = count.saturating_mul(SLOT);
    let touched = used.saturating_add(PAGE);
    let doubled = used.max(4 * SLOT).checked_next_power_of_two().unwrap_or(touched);
    doubled.min(touched).saturating_add(16)
}
