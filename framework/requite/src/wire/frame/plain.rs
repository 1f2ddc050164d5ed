//! The fields of a frame in the order in which its struct has them, written and read without serde: a frame that is not
//! stored has but one item of 16 KiB, and there serde's part was more than a third of the instructions that a stream takes beside messages by hand.
//!
//! Both say the same as serde, as the tests of frames see to. What comes in another order, or another form, is left to it.

use rmp::{
    decode::{read_array_len, read_bin_len, read_int, read_map_len, read_str_from_slice},
    encode::{write_array_len, write_str, write_uint},
};
use serde_bytes::Bytes as Bin;

use super::{End, Frame, OVERHEAD, is_none};

const EPOCH: &[u8; 6] = b"\xa5epoch";
const WRITER: &[u8; 7] = b"\xa6writer";
const SLOT: &[u8; 5] = b"\xa4slot";
const SETTLED: &[u8; 8] = b"\xa7settled";
const FIRST: &[u8; 6] = b"\xa5first";
const END: &[u8; 4] = b"\xa3end";
const ASK: &[u8; 4] = b"\xa3ask";
const CONTENT_TYPE: &[u8; 13] = b"\xaccontent_type";
const ITEMS: &[u8; 6] = b"\xa5items";

const FINISHED: &[u8; 9] = b"\xa8finished";
const ABANDONED: &[u8; 10] = b"\xa9abandoned";
const UNKNOWN: &[u8; 8] = b"\xa7unknown";
const BIN_16: &[u8; 2] = b"\xc4\x10";
const TRUE: &[u8; 1] = b"\xc3";

/// Fields that every frame has.
const ALWAYS: u8 = 5;

/// What a frame of so many items begins with, before the first.
pub(super) fn write_head(head: &Frame<'_>, count: u16) -> Head {
    let Frame { epoch, writer, slot, settled, first, end, ask, content_type, items: _ } = head;
    let sometimes = [slot.is_some(), !is_none(settled), end.is_some(), *ask];
    let fields = ALWAYS + sometimes.map(u8::from).iter().sum::<u8>();
    let mut to = Head { bytes: [0; OVERHEAD], len: 0 };
    to.put(&[0x80 | fields]);
    to.put(EPOCH);
    to.number(u64::from(*epoch));
    to.put(WRITER);
    to.put(BIN_16);
    to.put(writer);
    if let Some(slot) = slot {
        to.put(SLOT);
        to.number(*slot);
    }
    if !is_none(settled) {
        to.put(SETTLED);
        to.number(*settled);
    }
    to.put(FIRST);
    to.number(*first);
    if let Some(end) = end {
        to.put(END);
        match end {
            End::Finished => to.put(FINISHED),
            End::Abandoned => to.put(ABANDONED),
            End::Unknown => to.put(UNKNOWN),
        }
    }
    if *ask {
        to.put(ASK);
        to.put(TRUE);
    }
    to.put(CONTENT_TYPE);
    to.text(content_type);
    to.put(ITEMS);
    to.count(count.into());
    to
}

/// The encoded fields.
pub(super) struct Head {
    bytes: [u8; OVERHEAD],
    len: usize,
}

impl Head {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn put<const N: usize>(&mut self, bytes: &[u8; N]) {
        self.bytes[self.len..self.len + N].copy_from_slice(bytes);
        self.len += N;
    }

    fn number(&mut self, number: u64) {
        self.with(|mut rest| write_uint(&mut rest, number).map(|_| rest.len()).ok());
    }

    fn text(&mut self, text: &str) {
        self.with(|mut rest| write_str(&mut rest, text).map(|()| rest.len()).ok());
    }

    fn count(&mut self, count: u32) {
        self.with(|mut rest| write_array_len(&mut rest, count).map(|_| rest.len()).ok());
    }

    /// What is written says how much room it leaves.
    fn with(&mut self, write: impl FnOnce(&mut [u8]) -> Option<usize>) {
        let left = write(&mut self.bytes[self.len..]).expect("it has room");
        self.len = OVERHEAD - left;
    }
}

/// What is left of a map.
struct Fields<'a> {
    rest: &'a [u8],
    left: u32,
}

impl<'a> Fields<'a> {
    /// Whether this one is next.
    fn has<const N: usize>(&mut self, name: &[u8; N]) -> bool {
        let is_next = self.skip(name);
        self.left = self.left.wrapping_sub(is_next.into());
        is_next
    }

    fn skip<const N: usize>(&mut self, bytes: &[u8; N]) -> bool {
        let rest = self.rest.strip_prefix(bytes);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn int<T: TryFrom<u64>>(&mut self) -> Option<T> {
        read_int(&mut self.rest).ok().and_then(|number: u64| number.try_into().ok())
    }

    fn bin(&mut self) -> Option<&'a [u8]> {
        let len = read_bin_len(&mut self.rest).ok()?;
        let (bin, rest) = self.rest.split_at_checked(len as usize)?;
        self.rest = rest;
        Some(bin)
    }
}

/// Reads a frame that was written as [`write_head`] does it.
pub(super) fn read(mut bytes: &[u8]) -> Option<Frame<'_>> {
    let left = read_map_len(&mut bytes).ok()?;
    let mut fields = Fields { rest: bytes, left };
    let epoch = fields.has(EPOCH).then(|| fields.int())??;
    let writer = fields.has(WRITER).then(|| fields.bin())??.try_into().ok()?;
    let slot = if fields.has(SLOT) { Some(fields.int()?) } else { None };
    let settled = if fields.has(SETTLED) { fields.int()? } else { 0 };
    let first = fields.has(FIRST).then(|| fields.int())??;
    let end = match fields.has(END) {
        true if fields.skip(FINISHED) => Some(End::Finished),
        true if fields.skip(ABANDONED) => Some(End::Abandoned),
        true => return None,
        false => None,
    };
    let ask = fields.has(ASK);
    if ask && !fields.skip(TRUE) {
        return None;
    }
    let content_type = fields.has(CONTENT_TYPE).then(|| read_str_from_slice(fields.rest).ok())??;
    let (content_type, rest) = content_type;
    fields.rest = rest;
    let count = fields.has(ITEMS).then(|| read_array_len(&mut fields.rest).ok())??;
    // A few bytes can say that there are many.
    let mut items = Vec::with_capacity(count.min(64) as usize);
    for _ in 0..count {
        items.push(Bin::new(fields.bin()?));
    }
    let is_all = fields.left == 0 && fields.rest.is_empty();
    is_all.then_some(Frame { epoch, writer, slot, settled, first, end, ask, content_type, items })
}
