//! The fields of a frame in the order in which its struct has them, written and read without serde: a frame that is not
//! stored has but one item of 16 KiB, and there serde's part was half of what a stream costs more than messages by hand.
//!
//! Both say the same as serde, as the tests of frames see to. What comes in another order, or another form, is left to it.

use std::io::Write;

use rmp::{
    decode::{read_array_len, read_bin_len, read_int, read_map_len, read_str_from_slice},
    encode::{write_array_len, write_bin_len, write_str, write_uint},
};
use serde_bytes::Bytes as Bin;

use super::{End, Frame, OVERHEAD, is_none};

const EPOCH: &[u8] = b"\xa5epoch";
const WRITER: &[u8] = b"\xa6writer";
const SLOT: &[u8] = b"\xa4slot";
const SETTLED: &[u8] = b"\xa7settled";
const FIRST: &[u8] = b"\xa5first";
const END: &[u8] = b"\xa3end";
const ASK: &[u8] = b"\xa3ask";
const CONTENT_TYPE: &[u8] = b"\xaccontent_type";
const ITEMS: &[u8] = b"\xa5items";

const FINISHED: &[u8] = b"\xa8finished";
const ABANDONED: &[u8] = b"\xa9abandoned";
const UNKNOWN: &[u8] = b"\xa7unknown";
const TRUE: &[u8] = b"\xc3";

/// Fields that every frame has.
const ALWAYS: u8 = 5;

/// What a frame of so many items begins with, before the first.
pub(super) fn write_head(head: &Frame<'_>, count: u16) -> ([u8; OVERHEAD], usize) {
    let mut bytes = [0; OVERHEAD];
    let mut to = &mut bytes[..];
    write_fields(&mut to, head, count).expect("they have room");
    let len = OVERHEAD - to.len();
    (bytes, len)
}

fn write_fields(to: &mut &mut [u8], head: &Frame<'_>, count: u16) -> std::io::Result<()> {
    let Frame { epoch, writer, slot, settled, first, end, ask, content_type, items: _ } = head;
    let sometimes = [slot.is_some(), !is_none(settled), end.is_some(), *ask];
    let fields = ALWAYS + sometimes.map(u8::from).iter().sum::<u8>();
    to.write_all(&[0x80 | fields])?;
    to.write_all(EPOCH)?;
    write_uint(to, u64::from(*epoch))?;
    to.write_all(WRITER)?;
    write_bin_len(to, 16)?;
    to.write_all(writer)?;
    if let Some(slot) = slot {
        to.write_all(SLOT)?;
        write_uint(to, *slot)?;
    }
    if !is_none(settled) {
        to.write_all(SETTLED)?;
        write_uint(to, *settled)?;
    }
    to.write_all(FIRST)?;
    write_uint(to, *first)?;
    if let Some(end) = end {
        to.write_all(END)?;
        to.write_all(match end {
            End::Finished => FINISHED,
            End::Abandoned => ABANDONED,
            End::Unknown => UNKNOWN,
        })?;
    }
    if *ask {
        to.write_all(ASK)?;
        to.write_all(TRUE)?;
    }
    to.write_all(CONTENT_TYPE)?;
    write_str(to, content_type)?;
    to.write_all(ITEMS)?;
    write_array_len(to, count.into())?;
    Ok(())
}

/// What is left of a map.
struct Fields<'a> {
    rest: &'a [u8],
    left: u32,
}

impl<'a> Fields<'a> {
    /// Whether this one is next.
    fn has(&mut self, name: &[u8]) -> bool {
        let is_next = self.skip(name);
        self.left = self.left.wrapping_sub(is_next.into());
        is_next
    }

    fn skip(&mut self, bytes: &[u8]) -> bool {
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
