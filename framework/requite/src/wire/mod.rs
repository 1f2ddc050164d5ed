//! What crosses NATS: header names and the encodings of records, items, signals, control messages and the
//! server's JSON.
//!
//! The only module that derives serde for the wire, so that a change of the protocol is a change here.

pub(crate) mod checkpoint;
pub(crate) mod control;
pub(crate) mod credit;
pub(crate) mod frame;
pub(crate) mod header;
pub(crate) mod jetstream;
pub(crate) mod position;
pub(crate) mod progress;
pub(crate) mod record;
pub(crate) mod request;
pub(crate) mod signal;

use ring::digest;

/// The version of the protocol, the value of [`header::VERSION`].
pub(crate) const VERSION: &str = "1";

/// The first 16 bytes of SHA-256 over the content type, a zero byte and the body.
///
/// Both ends compute it from what they hold; neither reads it from a header.
pub(crate) type PayloadHash = [u8; 16];

pub(crate) fn payload_hash(content_type: &str, body: &[u8]) -> PayloadHash {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(content_type.as_bytes());
    context.update(&[0]);
    context.update(body);
    let mut first = [0; 16];
    first.copy_from_slice(&context.finish().as_ref()[..16]);
    first
}
