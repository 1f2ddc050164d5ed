//! What the NATS client cannot take in. It closes its connection over such a message, and whatever came beside it is
//! lost with it; so it is found by reading it in another way, and asked here.
//!
//! This is `try_read_op` of async-nats 0.51 step by step, and must refuse what that refuses and nothing else.

use std::str::FromStr;

use async_nats::{HeaderName, StatusCode};

use super::headers::Headers;

/// What of a delivery with this subject and these headers the NATS client cannot read, as the reason of a dead letter.
///
/// The subject is as the server's JSON gives it, with U+FFFD for what is no text: nothing of ours has that in it.
pub(crate) fn what_cannot_be_read(subject: &str, headers: &[u8]) -> Option<&'static str> {
    let has_headers = !headers.is_empty();
    if subject.contains('\u{fffd}') || (has_headers && subject.contains(char::is_whitespace)) {
        return Some("has a subject that cannot be read");
    }
    (has_headers && read(headers).is_none()).then_some("has headers that cannot be read")
}

/// The headers of a stored message as the client reads them; nothing, if it would give up.
pub(crate) fn headers_of(block: &[u8]) -> Option<Headers> {
    if block.is_empty() { Some(Headers::default()) } else { read(block) }
}

/// Nothing, if the client would give up.
fn read(headers: &[u8]) -> Option<Headers> {
    let mut found = Headers::default();
    let mut lines = std::str::from_utf8(headers).ok()?.lines().peekable();
    let about = lines.next()?.strip_prefix("NATS/1.0")?.trim();
    let status = about.split_once(' ').map_or(about, |(status, _)| status.trim());
    if !status.is_empty() {
        StatusCode::from_str(status).ok()?;
    }
    while let Some(line) = lines.next() {
        if line.is_empty() {
            continue;
        }
        let (name, value) = line.split_once(':')?;
        HeaderName::from_str(name).ok()?;
        let mut value = value.trim_start().to_owned();
        while let Some(more) = lines.next_if(|line| line.starts_with(char::is_whitespace)) {
            value.push_str(more);
        }
        // Where a carriage return is left over, the client does not fail, but panics.
        if value.trim_end().contains('\r') {
            return None;
        }
        found.append(name, value.trim_end());
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SUBJECT: &str = "rq.req.clerk.stamp.shop.abcdefghijklmnopqrstuvwxyz.1";

    fn is_readable(headers: impl AsRef<[u8]>) -> bool {
        what_cannot_be_read(SUBJECT, headers.as_ref()).is_none()
    }

    /// As the client writes them.
    fn written(headers: &Headers) -> String {
        let values = headers.iter().flat_map(|(name, values)| values.into_iter().map(move |it| (name, it)));
        let lines: String = values.map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!("NATS/1.0\r\n{lines}\r\n")
    }

    #[test]
    fn what_cuts_the_connection_is_refused() {
        for bad in [
            &b"NATS/1.0\r\nno colon\r\n\r\n"[..],
            b"NATS/1.0\r\nRq-V: \xff\xfe\r\n\r\n",
            b"NATS/9.9\r\nRq-V: 1\r\n\r\n",
            b"NATS/1.0 nonsense\r\nRq-V: 1\r\n\r\n",
            b"NATS/1.0 042\r\n\r\n",
            b"NATS/1.0\r\nRq V: 1\r\n\r\n",
            b"NATS/1.0\r\nRq-V: a\rb\r\n\r\n",
            b"NATS/1.0\r\nRq-V: a\r\n\t\rb\r\n\r\n",
            b"NATS/1.0\r\n folded\r\n\r\n",
            b"\r\n\r\n",
        ] {
            assert!(!is_readable(bad), "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn what_is_only_odd_is_accepted() {
        for good in [
            &b""[..],
            b"NATS/1.0",
            b"NATS/1.0\r\n\r\n",
            b"NATS/1.0 404 No Messages\r\n\r\n",
            b"NATS/1.0503\nRq-V: 1\n",
            b"NATS/1.0\r\n: no name\r\n\r\n\r\nRq-V:1\r\n\tfolded\r\n",
            b"NATS/1.0\r\nRq-V: a\r\r\n\r\n",
        ] {
            assert!(is_readable(good), "{}", good.escape_ascii());
        }
    }

    #[test]
    fn a_subject_is_read_otherwise_beside_headers() {
        assert_eq!(what_cannot_be_read("a.\u{a0}.b", b""), None);
        for (subject, headers) in [("a.\u{a0}.b", &b"NATS/1.0\r\n\r\n"[..]), ("a.\u{fffd}.b", b"")] {
            assert_eq!(what_cannot_be_read(subject, headers), Some("has a subject that cannot be read"));
        }
    }

    proptest! {
        #[test]
        fn whatever_the_client_writes_it_reads(
            all in prop::collection::vec(("[!-~&&[^:]]{0,12}", "[^\r\n]{0,24}"), 0..8)
        ) {
            let mut headers = Headers::default();
            for (name, value) in &all {
                headers.append(name, value);
            }
            prop_assert_eq!(headers.iter().map(|(_, values)| values.len()).sum::<usize>(), all.len());
            prop_assert!(is_readable(written(&headers)));
        }

        #[test]
        fn no_bytes_make_it_panic(headers in prop::collection::vec(any::<u8>(), 0..64), text in "NATS/1\\.0\\PC{0,64}") {
            is_readable(headers);
            is_readable(text);
        }
    }
}
