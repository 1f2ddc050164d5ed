//! Progress: how far a handler is, in signals and as it is stored. One for each id, beside the record.

use serde::{Deserialize, Serialize};

/// One report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Report<'a> {
    /// Counts the reports of the attempt, from 1.
    pub(crate) number: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) done: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) total: Option<u64>,
    /// For people.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<&'a str>,
    /// The handler's own value, in MessagePack.
    #[serde(borrow, with = "serde_bytes", default, skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<&'a [u8]>,
}

/// Progress as it is stored: a named MessagePack map. Unknown fields are ignored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredProgress<'a> {
    /// The request's sequence in its stream: progress of an earlier request with the same id is nobody's.
    pub(crate) request: u64,
    pub(crate) attempt: u32,
    #[serde(borrow)]
    pub(crate) report: Report<'a>,
}

impl<'a> StoredProgress<'a> {
    pub(crate) fn encode(&self) -> Vec<u8> {
        rmp_serde::to_vec_named(self).expect("progress has nothing that MessagePack lacks")
    }

    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Self> {
        rmp_serde::from_slice(bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_round_trips() {
        let full =
            Report { number: 7, done: Some(1), total: Some(2), message: Some("ü"), value: Some(b"\xc0") };
        let bare = Report { number: 1, done: None, total: None, message: None, value: None };
        for report in [full, bare] {
            let stored = StoredProgress { request: u64::MAX, attempt: 3, report };
            assert_eq!(StoredProgress::decode(&stored.encode()), Some(stored));
        }
        assert_eq!(StoredProgress::decode(b"no"), None);
    }
}
