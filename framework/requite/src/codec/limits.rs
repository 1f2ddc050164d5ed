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
//! | list of `n` values | 32 × `n` + 16 | a slot is 32 bytes; MessagePack says `n` beforehand |
//! | JSON list | 64 × `n` + 80 | grows by doubling, from four slots |
//! | map of `n` entries | 640 × ⌈`n` / 5⌉ | a B-tree's node, however little of it is filled |
//!
//! The sum may reach 40 × the payload, plus [`Limits::headroom`]. One byte of MessagePack buys at most 32 to 40
//! bytes in lists, texts and binaries (a list of empty lists: 32; measured as resident memory, 34 to 42), so
//! those pass at any size. It is maps of one or two tiny entries that exceed their share: `{"":nil}` is three
//! bytes and one node. The headroom is there for them, because a struct looks the same and is harmless.
//!
//! Types whose size does not come from the payload (a struct of many defaulted fields, read from an empty map)
//! are bounded by [`Limits::elements`] × their size instead; a scan cannot see more.

use super::DecodeError;

/// The deepest nesting that [`Limits`] can allow: a scan keeps its open lists and maps in a fixed array.
pub(super) const DEEPEST: usize = 64;

/// Bytes of memory that every byte of a payload may turn into.
const EXPANSION: usize = 40;

const SLOT: usize = 32;
const BLOCK: usize = 32;
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
    /// Passes every flat payload of NATS' default size, 1 MiB: a byte array that was written as a list of
    /// numbers, say. And about 36,000 structs as small as `{"x":1,"y":2}`.
    fn default() -> Self {
        Self { depth: DEEPEST, elements: 1 << 20, headroom: 16 << 20 }
    }
}

impl Limits {
    /// The most memory, in bytes, that decoding a payload of this size needs: what to reserve beforehand.
    pub(crate) const fn memory(&self, payload: usize) -> usize {
        payload.saturating_mul(EXPANSION).saturating_add(self.headroom)
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
        self.memory(len.saturating_add(BLOCK), offset)
    }

    #[inline]
    pub(super) fn binary(&mut self, len: usize, offset: usize) -> Result<(), DecodeError> {
        self.memory(len.saturating_mul(SLOT).saturating_add(BLOCK), offset)
    }

    #[inline]
    pub(super) fn list(&mut self, len: usize, offset: usize) -> Result<(), DecodeError> {
        self.elements(len, offset)?;
        self.memory(len.saturating_mul(SLOT).saturating_add(BLOCK / 2), offset)
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
        self.memory(if in_map { MAP_NODE } else { 4 * SLOT + BLOCK / 2 }, offset)
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
