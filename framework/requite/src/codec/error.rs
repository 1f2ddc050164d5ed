//! Why a payload could not be read or written, in words that can be shown: they name limits, offsets and the
//! type's own names, never the payload's values, which may be secret.

use thiserror::Error;

use super::{ContentType, sanitise};

/// Why a value could not be written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the value cannot be written as {}: {reason}", content_type.as_str())]
pub(crate) struct EncodeError {
    content_type: ContentType,
    reason: String,
}

impl EncodeError {
    #[cold]
    pub(super) fn message_pack(error: rmp_serde::encode::Error) -> Self {
        Self { content_type: ContentType::MessagePack, reason: sanitise(&error.to_string()) }
    }

    #[cold]
    pub(super) fn json(error: serde_json::Error) -> Self {
        Self { content_type: ContentType::Json, reason: sanitise(&error.to_string()) }
    }
}

/// Why a payload could not be read. Offsets count bytes from the payload's start.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum DecodeError {
    /// No byte, or nothing but white space.
    #[error("the payload is empty; a value of type () is written as nil or null")]
    Empty,
    /// The payload ends inside the value at `offset`.
    #[error("the payload ends inside the value at byte {offset}")]
    Truncated {
        /// Where the value begins.
        offset: usize,
    },
    /// A declared length that the rest of the payload cannot hold.
    #[error("the value at byte {offset} declares a length beyond the end of the payload")]
    Length {
        /// Where the value begins.
        offset: usize,
    },
    /// More than one value.
    #[error("the payload goes on after its value, at byte {offset}")]
    Trailing {
        /// The first byte too many.
        offset: usize,
    },
    /// Lists and maps inside each other.
    #[error("the value at byte {offset} is nested deeper than the limit of {limit}")]
    Depth {
        /// [`Limits::depth`](super::Limits::depth).
        limit: usize,
        /// Where the list or map that is too deep begins.
        offset: usize,
    },
    /// Values in lists and entries of maps.
    #[error("with the value at byte {offset} the payload has more elements than the limit of {limit}")]
    Elements {
        /// [`Limits::elements`](super::Limits::elements).
        limit: usize,
        /// Where the value that is too much begins.
        offset: usize,
    },
    /// The memory that the value would need.
    #[error("the value needs more memory than the limit, 40 times the payload plus {headroom} bytes")]
    Memory {
        /// [`Limits::headroom`](super::Limits::headroom).
        headroom: usize,
    },
    /// Text that is not UTF-8.
    #[error("the text at byte {offset} is not valid UTF-8")]
    Utf8 {
        /// The first byte that is wrong.
        offset: usize,
    },
    /// 0xc1, which MessagePack never uses.
    #[error("the byte at {offset}, 0xc1, begins no MessagePack value")]
    Reserved {
        /// Where it is.
        offset: usize,
    },
    /// JSON that begins with a byte order mark.
    #[error("the payload begins with a byte order mark, which JSON must not have")]
    ByteOrderMark,
    /// JSON that is not well-formed.
    #[error("the payload is not valid JSON: {0}")]
    Syntax(String),
    /// A well-formed value that is not one of the wanted type.
    #[error("the payload does not fit the type: {0}")]
    Mismatch(String),
}

impl DecodeError {
    #[cold]
    pub(super) fn message_pack(error: rmp_serde::decode::Error) -> Self {
        Self::Mismatch(describe(&error.to_string()))
    }

    #[cold]
    pub(super) fn json(error: serde_json::Error) -> Self {
        let text = describe(&error.to_string());
        if error.is_data() { Self::Mismatch(text) } else { Self::Syntax(text) }
    }
}

/// Serde's text without the values that serde quotes from its input. What a type's own `Deserialize` says with
/// `Error::custom` stays: its author chose the words.
fn describe(text: &str) -> String {
    sanitise(&without_values(text).unwrap_or_else(|| text.to_owned()))
}

fn without_values(text: &str) -> Option<String> {
    if let Some(marker) = text.strip_prefix("wrong msgpack marker ") {
        // Small numbers are part of their marker: `FixPos(7)`.
        let (kind, _) = marker.split_once('(')?;
        return Some(format!("wrong msgpack marker {kind}"));
    }
    // The last ", expected" is serde's; one before it may come from the payload.
    let expectation = text.rfind(", expected ").or_else(|| text.rfind(", there are no "));
    let (found, expectation) = text.split_at(expectation.unwrap_or(text.len()));
    let quoted = ["invalid type: ", "invalid value: ", "unknown variant ", "unknown field "];
    quoted.iter().any(|prefix| found.starts_with(prefix)).then(|| {
        let kind = found.split(['`', '"']).next().unwrap_or_default();
        format!("{}{expectation}", kind.trim_end())
    })
}

#[cfg(test)]
mod tests {
    use super::describe;

    #[test]
    fn values_of_the_payload_are_left_out() {
        for (said, shown) in [
            (
                "invalid type: string \"hun\\\"ter2\", expected u64 at line 1 column 9",
                "invalid type: string, expected u64 at line 1 column 9",
            ),
            ("invalid value: integer `4711`, expected u8", "invalid value: integer, expected u8"),
            ("invalid type: map, expected u8", "invalid type: map, expected u8"),
            (
                "unknown variant `hunter2, expected x`, expected `A` or `B`",
                "unknown variant, expected `A` or `B`",
            ),
            ("unknown variant `hunter2`, there are no variants", "unknown variant, there are no variants"),
            ("unknown field `hunter2`, expected one of `a`, `b`", "unknown field, expected one of `a`, `b`"),
            ("wrong msgpack marker FixPos(42)", "wrong msgpack marker FixPos"),
        ] {
            assert_eq!(describe(said), shown);
        }
    }

    #[test]
    fn names_of_the_type_are_kept() {
        for text in ["missing field `amount`", "duplicate field `amount`", "wrong msgpack marker Null"] {
            assert_eq!(describe(text), text);
        }
    }

    #[test]
    fn what_a_type_says_itself_stays_on_one_short_line() {
        let text = describe(&format!("amount\r\n{}", "x".repeat(10_000)));
        assert!(text.starts_with("amount  xx"));
        assert_eq!(text.chars().count(), 300);
    }
}
