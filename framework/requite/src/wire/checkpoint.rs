//! A checkpoint: what a handler wants its next attempt to know. One for each id, beside the record.

use serde::{Deserialize, Serialize};

/// A checkpoint as it is encoded: a named MessagePack map. Unknown fields are ignored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Checkpoint<'a> {
    /// The request's sequence in its stream: a checkpoint of an earlier request with the same id is nobody's.
    pub(crate) request: u64,
    /// The attempt that stored it.
    pub(crate) attempt: u32,
    /// The handler's value, in MessagePack.
    #[serde(with = "serde_bytes")]
    pub(crate) body: &'a [u8],
}

/// The room that the fields take beside the body.
const OVERHEAD: usize = 48;

impl<'a> Checkpoint<'a> {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(OVERHEAD + self.body.len());
        rmp_serde::encode::write_named(&mut bytes, self)
            .expect("a checkpoint has nothing that MessagePack lacks");
        bytes
    }

    /// Reads a checkpoint; the body is a slice of `bytes`.
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Self> {
        rmp_serde::from_slice(bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_round_trips() {
        let checkpoint = Checkpoint { request: u64::MAX, attempt: u32::MAX, body: b"" };
        let bytes = checkpoint.encode();
        assert!(bytes.len() <= OVERHEAD, "{}", bytes.len());
        assert_eq!(Checkpoint::decode(&bytes), Some(checkpoint));
        assert_eq!(Checkpoint::decode(b"no"), None);
    }
}
