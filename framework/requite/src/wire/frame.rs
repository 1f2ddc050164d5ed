//! A frame: items of a stream that travel, and are stored, in one message.

use std::fmt;

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{SeqAccess, Visitor},
};
use serde_bytes::Bytes as Bin;

mod plain;

/// Who wrote a frame: new for every writer.
pub(crate) type WriterId = [u8; 16];

/// How a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum End {
    /// This was all.
    Finished,
    /// The writer gave up: what is missing will not come.
    Abandoned,
    /// An end of a later version.
    #[serde(other)]
    Unknown,
}

/// A frame as it is encoded: a named MessagePack map. Unknown fields are ignored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Frame<'a> {
    /// Which writer of this stream, counted from 1: downwards the attempt, upwards how often a caller began to write.
    pub(crate) epoch: u32,
    #[serde(with = "serde_bytes")]
    pub(crate) writer: WriterId,
    /// Which of its writer's frames, counted from 1. Of a frame that is stored its subject says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) slot: Option<u64>,
    /// The last item of which, and of all before it, the writer knew that they were stored.
    #[serde(default, skip_serializing_if = "is_none")]
    pub(crate) settled: u64,
    /// The number of its first item, counted from 1; of a frame without items, that of the next one.
    pub(crate) first: u64,
    /// Nothing comes behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) end: Option<End>,
    /// The reader is to say at once how far it is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) ask: bool,
    pub(crate) content_type: &'a str,
    /// Each as the content type says.
    #[serde(borrow, deserialize_with = "as_many_as_there_are")]
    pub(crate) items: Vec<&'a Bin>,
}

fn is_none(number: &u64) -> bool {
    *number == 0
}

/// Serde makes room for up to 1 MiB of items that a few bytes say are there.
fn as_many_as_there_are<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<&'de Bin>, D::Error> {
    struct Items;
    impl<'de> Visitor<'de> for Items {
        type Value = Vec<&'de Bin>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of items")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut items = Vec::with_capacity(list.size_hint().unwrap_or(0).min(64));
            while let Some(item) = list.next_element()? {
                items.push(item);
            }
            Ok(items)
        }
    }
    from.deserialize_seq(Items)
}

/// No stream has so many items, and none goes on behind more than half as many.
pub(crate) const LAST: u64 = 1 << 62;
/// The room that the fields take, without the items.
pub(crate) const OVERHEAD: usize = 161;
/// The room that one item takes beside its bytes.
pub(crate) const ITEM_OVERHEAD: usize = 5;

/// The items of a frame as they are encoded, one behind the other, and room before them for the other fields: so an item
/// is copied once, however many travel with it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Packed {
    bytes: Vec<u8>,
    /// Where the items begin.
    start: usize,
    count: u16,
}

impl Packed {
    /// With room for items that take so much.
    pub(crate) fn with_capacity(size: usize) -> Self {
        Self::within(Vec::with_capacity(OVERHEAD + size))
    }

    /// In the room of what was there.
    pub(crate) fn within(mut bytes: Vec<u8>) -> Self {
        bytes.clear();
        bytes.resize(OVERHEAD, 0);
        Self { bytes, start: OVERHEAD, count: 0 }
    }

    pub(crate) fn push(&mut self, item: &[u8]) {
        write_len(&mut self.bytes, item);
        self.bytes.extend_from_slice(item);
        self.count += 1;
    }

    pub(crate) fn count(&self) -> usize {
        usize::from(self.count)
    }

    /// What the items take.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// The frame of these items, with the other fields of `head`.
    pub(crate) fn seal(mut self, head: &Frame<'_>) -> Bytes {
        let head = plain::write_head(head, self.count);
        let start = self.start - head.bytes().len();
        self.bytes[start..self.start].copy_from_slice(head.bytes());
        Bytes::from(self.bytes).slice(start..)
    }
}

/// An item as it is encoded, with room before it: a frame of it alone takes it over as it lies there.
#[derive(Debug, Default)]
pub(crate) struct Encoded {
    bytes: Vec<u8>,
}

impl Encoded {
    /// Where the item begins.
    const START: usize = OVERHEAD + ITEM_OVERHEAD;

    /// To encode an item behind what is there.
    pub(crate) fn anew(&mut self) -> &mut Vec<u8> {
        self.bytes.clear();
        self.bytes.resize(Self::START, 0);
        &mut self.bytes
    }

    pub(crate) fn item(&self) -> &[u8] {
        &self.bytes[Self::START..]
    }

    /// The item, packed. The next one is encoded into `room`, or into as much of it as this one took, or a frame of this
    /// size would.
    pub(crate) fn pack(&mut self, room: Option<Vec<u8>>, size: usize) -> Packed {
        let mut header = [0; ITEM_OVERHEAD];
        let mut rest = &mut header[..];
        write_len(&mut rest, self.item());
        let len = ITEM_OVERHEAD - rest.len();
        let room = room.unwrap_or_else(|| Vec::with_capacity(self.bytes.len().max(OVERHEAD + size)));
        let mut bytes = std::mem::replace(&mut self.bytes, room);
        let start = Self::START - len;
        bytes[start..Self::START].copy_from_slice(&header[..len]);
        Packed { bytes, start, count: 1 }
    }
}

fn write_len(to: &mut impl std::io::Write, item: &[u8]) {
    let len = u32::try_from(item.len()).expect("checked: what can be sent is shorter");
    rmp::encode::write_bin_len(to, len).expect("it has room");
}

/// The same frame, which asks its reader how far it is.
pub(crate) fn asking(frame: &Bytes) -> Bytes {
    Frame::decode(frame).map_or_else(|| frame.clone(), |it| Frame { ask: true, ..it }.encode().into())
}

impl<'a> Frame<'a> {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let items: usize = self.items.iter().map(|item| item.len() + ITEM_OVERHEAD).sum();
        let mut bytes = Vec::with_capacity(OVERHEAD + items);
        rmp_serde::encode::write_named(&mut bytes, self).expect("a frame has nothing that MessagePack lacks");
        bytes
    }

    /// Reads a frame; the items are slices of `bytes`. No writer counts from 0, or as far as numbers go.
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let frame = plain::read(bytes).or_else(|| Self::decode_any(bytes));
        frame.filter(|it| it.epoch > 0 && (1..=LAST).contains(&it.first))
    }

    /// The same in whatever order its fields are, and whatever it counts from.
    pub(crate) fn decode_any(bytes: &'a [u8]) -> Option<Self> {
        rmp_serde::from_slice(bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What fits into different forms of a number.
    fn number() -> impl Strategy<Value = u64> {
        (any::<u64>(), 0..64_u32).prop_map(|(bits, shift)| bits >> shift)
    }

    proptest! {
        /// And whatever becomes of the bytes on their way, one does not read what the other would not.
        #[test]
        fn both_ways_to_read_and_write_a_frame_say_the_same(
            (epoch, writer, first, settled) in (any::<u32>(), any::<WriterId>(), number(), number()),
            slot in proptest::option::of(number()),
            end in proptest::sample::select(vec![None, Some(End::Finished), Some(End::Abandoned)]),
            ask in any::<bool>(),
            content_type in proptest::sample::select(vec!["application/msgpack", "application/json", "", "ä"]),
            items in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..20),
            (at, other) in (any::<proptest::sample::Index>(), any::<u8>()),
        ) {
            let items = items.iter().map(|item| Bin::new(item)).collect();
            let frame = Frame { epoch, writer, slot, settled, first, end, ask, content_type, items };
            let mut bytes = frame.encode();
            let mut packed = Packed::with_capacity(0);
            frame.items.iter().for_each(|item| packed.push(item));
            prop_assert_eq!(packed.seal(&frame), &bytes);
            prop_assert_eq!(plain::read(&bytes), Some(frame));
            let at = at.index(bytes.len().min(OVERHEAD));
            bytes[at] = other;
            if let Some(read) = plain::read(&bytes) {
                prop_assert_eq!(Frame::decode_any(&bytes), Some(read));
            }
            prop_assert_eq!(plain::read(&bytes[..at]), None);
        }
    }

    #[test]
    fn a_frame_in_another_order_is_read_too() {
        let frame = Frame {
            epoch: 1,
            writer: [7; 16],
            slot: Some(1),
            settled: 0,
            first: 1,
            end: None,
            ask: false,
            content_type: "application/msgpack",
            items: vec![Bin::new(b"abc")],
        };
        let bytes = frame.encode();
        let fields = [&bytes[1..8], &bytes[8..]];
        let turned = [&bytes[..1], fields[1], fields[0]].concat();
        assert_eq!(plain::read(&turned), None);
        assert_eq!(Frame::decode(&turned), Some(frame));
    }

    #[test]
    fn a_frame_round_trips() {
        let items = vec![Bin::new(b""), Bin::new(b"abc")];
        let plain = Frame {
            epoch: u32::MAX,
            writer: [7; 16],
            slot: None,
            settled: 0,
            first: LAST,
            end: None,
            ask: false,
            content_type: "application/msgpack",
            items: Vec::new(),
        };
        for end in [None, Some(End::Finished), Some(End::Abandoned)] {
            let silent =
                Frame { slot: Some(LAST), settled: LAST, end, items: items.clone(), ..plain.clone() };
            let frame = Frame { ask: true, ..silent.clone() };
            let bytes = frame.encode();
            assert!(bytes.len() <= OVERHEAD + 2 * ITEM_OVERHEAD + 3, "{}", bytes.len());
            assert_eq!(Frame::decode(&bytes), Some(frame.clone()));

            let mut packed = Packed::with_capacity(0);
            items.iter().for_each(|item| packed.push(item));
            assert_eq!(packed.seal(&frame), bytes);
            let mut own = Encoded::default();
            own.anew().extend_from_slice(items[0]);
            let mut packed = own.pack(None, 0);
            packed.push(items[1]);
            assert_eq!(packed.seal(&frame), bytes);
            assert_eq!(asking(&silent.encode().into()), bytes);
        }
        let long = [1; 70_000];
        for count in [0, 15, 16, 4_096] {
            let mut packed = Packed::with_capacity(0);
            (0..count).for_each(|n| packed.push(&long[..if n == 0 { 70_000 } else { n % 300 }]));
            let (size, sealed) = (packed.size(), packed.seal(&plain));
            assert!(sealed.len() <= OVERHEAD + size);
            assert_eq!(Frame::decode(&sealed).unwrap().items.len(), count);
        }
        assert_eq!(Frame::decode(b"no"), None);
        assert_eq!(Frame::decode(&Frame { epoch: 0, ..plain }.encode()), None);
    }
}
