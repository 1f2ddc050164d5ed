//! Credit: what the reader of a stream says to its writer. Absolute limits, so that a message that is lost or comes twice
//! does no harm.

use serde::{Deserialize, Serialize};

use super::frame::WriterId;

/// A named MessagePack map. Unknown fields are ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Credit {
    /// Random, the reader's own: a stream may have several.
    #[serde(default)]
    pub(crate) reader: u64,
    /// Whose items are meant; 0 where the reader only says that it is there.
    pub(crate) epoch: u32,
    /// The writer whose frames it has; zeros if it has none yet.
    #[serde(default, with = "serde_bytes")]
    pub(crate) writer: WriterId,
    /// The number of the last item that may be sent.
    pub(crate) items: u64,
    /// How many bytes this writer may have sent before it begins another item.
    pub(crate) bytes: u64,
    /// The slot that the reader waits for: it has all before it, or has passed what says nothing.
    #[serde(default)]
    pub(crate) slot: u64,
    /// Frames behind that slot have come, or may be lost with it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) misses: bool,
    /// The reader wants no more, ever.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) left: bool,
}

impl Credit {
    pub(crate) fn encode(&self) -> Vec<u8> {
        rmp_serde::to_vec_named(self).expect("credit has nothing that MessagePack lacks")
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        rmp_serde::from_slice(bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credit_round_trips() {
        for left in [false, true] {
            let credit = Credit {
                reader: 7,
                epoch: 1,
                writer: [3; 16],
                items: u64::MAX,
                bytes: 3,
                slot: 9,
                misses: left,
                left,
            };
            assert_eq!(Credit::decode(&credit.encode()), Some(credit));
        }
        assert_eq!(Credit::decode(b"no"), None);
    }
}
