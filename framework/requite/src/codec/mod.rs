//! Values to bytes and back: the two encodings a payload may have, and the checks that stand between a
//! stranger's bytes and serde.
//!
//! Serde recurses as deep as its input nests (600 nested arrays, 600 bytes, overflow a worker's stack, which
//! aborts the process) and allocates what its input asks for. So [`decode`] first walks the whole payload
//! without recursion and without allocation, and hands serde only what is within the [`Limits`] of depth and count. What
//! the value takes of memory depends on its type, and is counted while serde reads.

mod content_type;
mod error;
mod limits;
mod metered;
mod sanitise;
mod scan_json;
mod scan_msgpack;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub(crate) use content_type::ContentType;
pub(crate) use error::{DecodeError, EncodeError};
pub(crate) use limits::Limits;
pub(crate) use sanitise::sanitise;

use metered::Meter;

/// Most payloads are smaller, and then their buffer never grows.
const USUAL_SIZE: usize = 256;

/// Writes a value as a payload. Structs are written with their field names, so that other languages can read
/// them and fields can be added; MessagePack uses the compact form of types that have one (a UUID is 16 bytes).
///
/// # Errors
///
/// If the type's own `Serialize` fails, or the encoding has no form for the value (a JSON map whose keys are
/// lists). Nothing is checked against [`Limits`]: that is the reader's business.
pub(crate) fn encode<T>(content_type: ContentType, value: &T) -> Result<Bytes, EncodeError>
where
    T: Serialize + ?Sized,
{
    let mut payload = Vec::with_capacity(USUAL_SIZE);
    encode_into(&mut payload, content_type, value)?;
    Ok(payload.into())
}

/// Writes a value as [`encode`] does, behind what is there.
pub(crate) fn encode_into<T>(
    payload: &mut Vec<u8>,
    content_type: ContentType,
    value: &T,
) -> Result<(), EncodeError>
where
    T: Serialize + ?Sized,
{
    match content_type {
        ContentType::MessagePack => {
            rmp_serde::encode::write_named(payload, value).map_err(EncodeError::message_pack)
        }
        ContentType::Json => serde_json::to_writer(payload, value).map_err(EncodeError::json),
    }
}

/// Reads a payload that may come from anybody. An empty payload is no value of any type: `()` is written as
/// `nil` and `null`.
///
/// # Errors
///
/// If the payload is not exactly one well-formed value, exceeds a limit, or does not fit `T`. All of these are
/// final: the same bytes fail again.
pub(crate) fn decode<'a, T>(
    content_type: ContentType,
    payload: &'a [u8],
    limits: &Limits,
) -> Result<T, DecodeError>
where
    T: Deserialize<'a>,
{
    let meter = Meter::new(limits.memory(payload.len()));
    let read = match content_type {
        ContentType::MessagePack => {
            scan_msgpack::scan(payload, limits)?;
            let mut deserializer = rmp_serde::Deserializer::from_read_ref(payload);
            // A second belt. rmp-serde refuses at the number itself, and counts an extension as a level.
            deserializer.set_max_depth(limits.depth() + 2);
            T::deserialize(meter.meter(&mut deserializer)).map_err(DecodeError::message_pack)
        }
        ContentType::Json => {
            let text = scan_json::scan(payload, limits)?;
            let mut deserializer = serde_json::Deserializer::from_str(text);
            let read = T::deserialize(meter.meter(&mut deserializer));
            read.and_then(|value| deserializer.end().map(|()| value)).map_err(DecodeError::json)
        }
    };
    if meter.is_exceeded() { Err(DecodeError::Memory { headroom: limits.headroom }) } else { read }
}
