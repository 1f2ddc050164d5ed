//! What a payload may ask of its reader.
//!
//! # How much memory a value needs
//!
//! Serde allocates what the target type asks for, so the account is kept while it reads
//! ([`metered`](super::metered)), by what allocators are asked for when a collection grows and is copied:
//!
//! | what is read | charged bytes | why |
//! |---|---|---|
//! | number, bool, nil | 0 | lies in the slot of whatever holds it |
//! | text or binary of `n` bytes | `n` + 32 | a block and its rounding |
//! | struct, tuple, enum | its size | it may be kept in a box |
//! | list | 4 slots, or as many as are reserved; when those are full 3 in all for each of them, and so on | a vector that doubles, with the old one until it is copied |
//! | map | 11 entries, and 3.5 for each | a B-tree's first node; a hash table that is half empty, with the old one until it is copied |
//! | a tree such as [`serde_json::Value`] | as slots of 32 bytes; a map 640, and 200 for each entry beyond 5 | its type is known only when it is there |
//! | what has no type yet | as a tree, and as the buffer that serde fills first: as much as a list, 64 to 192 for an entry | an untagged or internally tagged enum, or one with flattened fields, is built from such a buffer |
//!
//! What was charged for a buffer is given back when the element of a list, or the field of a struct, that was read
//! through it is there. The sum may reach 40 × the payload, plus [`Limits::headroom`].
//!
//! What no limit of ours bounds is an untagged enum *inside itself*: serde copies everything below it once more at every
//! level, out of reach of a deserializer. Sixty levels take sixty copies.
//!
//! MessagePack lists that are read: the largest that `cargo test -p requite --lib lists_are_read -- --nocapture` finds, in
//! steps of a fifth up to 881,748 bytes of payload, and how many bytes of memory each of those took at the most. Counted
//! is what the thread had allocated at once, a vector that grows and its copy both.
//!
//! | list of | as a tree | of untagged enums | with a type |
//! |---|---|---|---|
//! | `7` | 32,773, 48.0 each | 16,389, 56.0 each | `u64`: 881,748, 14.3 each |
//! | `""` | 32,773, 48.0 each | 16,389, 56.0 each | `String`: 623,492, 40.4 each |
//! | `[7]` | 16,389, 80.0 each | 16,389, 32.0 each | lists of `u64`: 623,491, 22.4 each |
//! | `[[7]]` | 11,588, 96.6 each | 13,781, 104.0 each | lists of lists of `u64`: 92,684, 18.7 each |
//! | `{"":7}` | 4,874, 223.9 each | 4,874, 229.1 each | hash tables: 6,893, 65.3 each |
//!
//! These are the greediest. Lists of longer values are read at any size, also as trees: numbers of four digits and
//! more, texts of four letters, records of a few fields.

use super::DecodeError;

/// The deepest nesting that [`Limits`] can allow: a scan keeps its open lists and maps in a fixed array.
pub(super) const DEEPEST: usize = 64;

/// Bytes of memory that every byte of a payload may turn into.
const EXPANSION: usize = 40;

/// What a block takes beside its bytes.
pub(super) const BLOCK: usize = 32;
/// What a vector begins with.
pub(super) const FIRST_SLOTS: usize = 4;
/// The most that serde reserves at once because of a declared length, in bytes.
pub(super) const LARGEST_RESERVE: usize = 1 << 20;
/// The largest slot that is reckoned with where less than that is left.
pub(super) const LARGEST_SLOT: usize = 4096;
/// Entries in the first node of a B-tree.
pub(super) const ENTRIES_OF_A_NODE: usize = 11;
/// A value without a type.
pub(super) const TREE_SLOT: usize = 32;
/// A map of such values, and how many entries it has room for, be it a B-tree or a hash table.
pub(super) const TREE_NODE: usize = 640;
pub(super) const ENTRIES_OF_A_TREE_NODE: usize = 5;
/// A further entry.
pub(super) const TREE_ENTRY: usize = 200;

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
    fn default() -> Self {
        Self { depth: DEEPEST, elements: 1 << 20, headroom: 1_000_000 }
    }
}

impl Limits {
    /// The most memory, in bytes, that decoding a payload of this size may need.
    pub(crate) fn memory(&self, payload: usize) -> usize {
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
}

impl<'a> Budget<'a> {
    pub(super) fn new(limits: &'a Limits) -> Self {
        Self { limits, elements: limits.elements }
    }

    /// Fails if one more list or map cannot be opened inside `depth` others.
    #[inline]
    pub(super) fn open(&self, depth: usize, offset: usize) -> Result<(), DecodeError> {
        let limit = self.limits.depth();
        if depth < limit { Ok(()) } else { Err(DecodeError::Depth { limit, offset }) }
    }

    /// Values of a list, or entries of a map.
    #[inline]
    pub(super) fn elements(&mut self, count: usize, offset: usize) -> Result<(), DecodeError> {
        self.elements = self
            .elements
            .checked_sub(count)
            .ok_or(DecodeError::Elements { limit: self.limits.elements, offset })?;
        Ok(())
    }
}
