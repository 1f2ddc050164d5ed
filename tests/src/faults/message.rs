//! The messages at which traps are set, told by what PROTOCOL.md says of them.

/// A worker writes a record of this kind.
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

/// A record of this kind comes to its caller.
pub(super) fn is_pushed(kind: &'static str) -> impl Fn(&[u8]) -> bool + Send + 'static {
    move |message| message.starts_with(b"HMSG rq.in.") && has(message, &format!("Rq-Kind: {kind}\r\n"))
}

fn has(message: &[u8], text: &str) -> bool {
    message.windows(text.len()).any(|window| window == text.as_bytes())
}
