//! A frame: items of a stream that travel, and are stored, in one message.

use serde::{Deserialize, Serialize};
use serde_bytes::Bytes as Bin;

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
    #[serde(borrow)]
    pub(crate) items: Vec<&'a Bin>,
}

/// The room that the fields take, without the items.
pub(crate) const OVERHEAD: usize = 128;
/// The room that one item takes beside its bytes.
pub(crate) const ITEM_OVERHEAD: usize = 5;

impl<'a> Frame<'a> {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let items: usize = self.items.iter().map(|item| item.len() + ITEM_OVERHEAD).sum();
        let mut bytes = Vec::with_capacity(OVERHEAD + items);
        rmp_serde::encode::write_named(&mut bytes, self).expect("a frame has nothing that MessagePack lacks");
        bytes
    }

    /// Reads a frame; the items are slices of `bytes`. Of a writer that counts from 0 there is none.
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Self> {
        rmp_serde::from_slice(bytes).ok().filter(|it: &Self| it.epoch > 0 && it.first > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_round_trips() {
        let items = vec![Bin::new(b""), Bin::new(b"abc")];
        let (epoch, writer, first, content_type) = (u32::MAX, [7; 16], u64::MAX, "application/msgpack");
        for end in [None, Some(End::Finished), Some(End::Abandoned)] {
            let frame = Frame { epoch, writer, first, end, ask: true, content_type, items: items.clone() };
            let bytes = frame.encode();
            assert!(bytes.len() <= OVERHEAD + 2 * ITEM_OVERHEAD + 3, "{}", bytes.len());
            assert_eq!(Frame::decode(&bytes), Some(frame));
        }
        assert_eq!(Frame::decode(b"no"), None);
        assert_eq!(
            Frame::decode(
                &Frame { epoch: 0, writer, first, end: None, ask: false, content_type, items }.encode()
            ),
            None
        );
    }
}
