//! The messages at which traps are set, told by what PROTOCOL.md says of them.

use std::sync::atomic::{AtomicUsize, Ordering};

/// A worker writes a record of this kind, or what lies beside it.
pub(super) fn is_record(kind: &'static str) -> impl Fn(&[u8]) -> bool + Send + 'static {
    move |message| message.starts_with(b"HPUB rq.put.") && has(message, &format!("Rq-Kind: {kind}\r\n"))
}

/// The server says that it has stored something in this stream.
pub(super) fn is_stored_in(stream: String) -> impl Fn(&[u8]) -> bool + Send + 'static {
    move |message| {
        message.starts_with(b"MSG _INBOX.")
            && has(message, &format!("{{\"stream\":\"{stream}\""))
            && !has(message, "\"error\"")
    }
}

/// The server says what came of something that was to be stored in this stream.
pub(super) fn is_answer_of(stream: &str) -> impl Fn(&[u8]) -> bool + Send + 'static {
    let named = format!("\"stream\":\"{stream}\"");
    move |message| message.starts_with(b"MSG _INBOX.") && has(message, &named)
}

/// A worker acks a request. Barriers are acks too, but want an answer, and so name a subject for it.
pub(super) fn is_ack(message: &[u8]) -> bool {
    let words =
        message.split(|byte| *byte == b'\r').next().map(|line| line.split(|byte| *byte == b' ').count());
    message.starts_with(b"PUB $JS.ACK.") && has(message, "\r\n+ACK\r\n") && words == Some(3)
}

/// A caller publishes a request.
pub(super) fn is_request(message: &[u8]) -> bool {
    message.starts_with(b"HPUB rq.req.")
}

/// A caller asks to cancel a request.
pub(super) fn is_cancel(message: &[u8]) -> bool {
    is_request(message) && has(message, ".-cancel.")
}

/// A record of this kind comes to its caller.
pub(super) fn is_pushed(kind: &'static str) -> impl Fn(&[u8]) -> bool + Send + 'static {
    move |message| message.starts_with(b"HMSG rq.in.") && has(message, &format!("Rq-Kind: {kind}\r\n"))
}

/// The one of these that comes in this place, counted from 1.
pub(super) fn is_the(
    number: usize,
    is_one: impl Fn(&[u8]) -> bool + Send + 'static,
) -> impl Fn(&[u8]) -> bool + Send + 'static {
    let came = AtomicUsize::new(0);
    move |message| is_one(message) && came.fetch_add(1, Ordering::Relaxed) + 1 == number
}

fn has(message: &[u8], text: &str) -> bool {
    message.windows(text.len()).any(|window| window == text.as_bytes())
}
