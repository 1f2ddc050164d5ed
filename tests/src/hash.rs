//! Hashes and ids as `framework/PROTOCOL.md` defines them, computed apart from the framework.

use data_encoding::{BASE32_NOPAD, HEXLOWER};
use ring::digest::{Context, SHA256};
use serde::Serialize;

/// The hash of a request.
pub fn payload(request: &impl Serialize) -> String {
    HEXLOWER.encode(&first_half(&[b"application/msgpack", &[0], &encode(request)]))
}

/// The hash of a value or an error.
pub fn value(value: &impl Serialize) -> String {
    body(&encode(value))
}

/// The hash of a value or an error that is encoded already.
pub fn body(body: &[u8]) -> String {
    HEXLOWER.encode(&first_half(&[body]))
}

/// The id that a key stands for, where the caller has no secret.
pub fn id_of_key(service: &str, method: &str, key: &str) -> String {
    let lengths = [service, method, key].map(|part| u64::to_be_bytes(part.len() as u64));
    let parts = [service, method, key].map(str::as_bytes);
    let hash = first_half(&[&lengths[0], parts[0], &lengths[1], parts[1], &lengths[2], parts[2]]);
    format!("k.{}", BASE32_NOPAD.encode(&hash).to_lowercase())
}

fn encode(value: &impl Serialize) -> Vec<u8> {
    rmp_serde::to_vec_named(value).expect("plain structs have a MessagePack form")
}

fn first_half(parts: &[&[u8]]) -> [u8; 16] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    let mut half = [0; 16];
    half.copy_from_slice(&context.finish().as_ref()[..16]);
    half
}
