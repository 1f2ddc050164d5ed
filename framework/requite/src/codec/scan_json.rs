//! Bounds a JSON payload before serde sees it: one pass, no recursion, no allocation.
//!
//! Only what decides depth and size is looked at; everything else about the grammar is left to `serde_json`,
//! which reads from the start too and stops at the first mistake, so never goes where the scan misread.

use super::{DecodeError, Limits, limits::Budget};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The payload as text, if it is within the limits as far as it is JSON.
pub(super) fn scan<'a>(payload: &'a [u8], limits: &Limits) -> Result<&'a str, DecodeError> {
    if payload.starts_with(BYTE_ORDER_MARK) {
        return Err(DecodeError::ByteOrderMark);
    }
    let text =
        std::str::from_utf8(payload).map_err(|error| DecodeError::Utf8 { offset: error.valid_up_to() })?;
    if after_space(payload, 0) == payload.len() {
        return Err(DecodeError::Empty);
    }
    let mut budget = Budget::new(limits);
    let mut depth = 0;
    let mut at = 0;
    while let Some(&byte) = payload.get(at) {
        let offset = at;
        at += 1;
        match byte {
            b'"' => {
                at = after_string(payload, at);
            }
            b'[' | b'{' => {
                budget.open(depth, offset)?;
                depth += 1;
                at = after_space(payload, at);
                if !matches!(payload.get(at), Some(b']' | b'}')) {
                    budget.elements(1, offset)?;
                }
            }
            b']' | b'}' if depth == 0 => break,
            b']' | b'}' => depth -= 1,
            b',' => budget.elements(1, offset)?,
            _ => {}
        }
    }
    Ok(text)
}

/// Where a string ends that begins before `at`: behind its closing quote, or at the end of the payload.
fn after_string(payload: &[u8], mut at: usize) -> usize {
    while let Some(&byte) = payload.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    payload.len()
}

fn after_space(payload: &[u8], at: usize) -> usize {
    let space = payload[at..].iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
    at + space
}
