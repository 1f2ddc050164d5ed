//! What comes in beside payloads: headers, records, signals, questions, the server's JSON.

use std::time::Duration;

use super::codec::{on_a_workers_stack, within};
use crate::{
    broker::{
        Headers,
        api::{StoreAnswer, decode_store},
        what_cannot_be_read,
    },
    wire::{
        checkpoint::Checkpoint,
        control::MineQuestion,
        header,
        jetstream::{ConsumerInfo, NamesAnswer, PubAck, ReadAnswer, StreamInfo, decode},
        progress::StoredProgress,
        record::Record,
        request::{Checked, Envelope},
        signal::Signal,
    },
};

const SUBJECT: &str = "rq.req.clerk.stamp.shop.abcdefghijklmnopqrstuvwxyz.1";

/// A block of headers, one a line. What passes the check was written by a caller: it has our version, no header of the
/// server's, short values, and is written again as the same.
pub fn envelope(data: &[u8]) {
    let _ = what_cannot_be_read(SUBJECT, data);
    let text = String::from_utf8_lossy(data);
    let _ = what_cannot_be_read(&text, b"NATS/1.0\r\n\r\n");
    let mut headers = Headers::default();
    for line in text.split('\n') {
        if let Some((name, value)) = line.split_once(':') {
            headers.append(name, value.trim());
        }
    }
    for (name, _) in headers.without_server_ones().iter() {
        assert!(!name.starts_with("Nats-"), "{name} would be obeyed");
    }
    // As it is, and as if a caller had begun it.
    check_envelope(&headers);
    let begun = headers.with(header::VERSION, "1").with(header::KIND, header::KIND_CALL);
    check_envelope(&begun.with(header::CONTENT_TYPE, "application/json"));
}

fn check_envelope(headers: &Headers) {
    let Checked::Call(envelope) = Envelope::check(headers) else {
        return;
    };
    assert!(headers.iter().all(|(name, _)| !header::SERVER_ONLY.contains(&name)), "the server's own message");
    assert_eq!(headers.first(header::VERSION), Some("1"));
    assert!(envelope.trace_parent.as_ref().is_none_or(|trace| trace.len() <= 1024));
    assert!(envelope.left.is_none_or(|left| left <= Duration::from_millis(u64::MAX)));
    let Checked::Call(again) = Envelope::check(&envelope.encode()) else {
        panic!("an envelope that we write is refused by us: {envelope:?}");
    };
    assert_eq!(again, envelope);
}

/// Records, what lies beside them, signals and questions: read where they lie, on a small stack, and written again as the same.
pub fn record(data: &[u8]) {
    on_a_workers_stack(|| {
        within(data.len(), || Record::decode(data).is_some());
        within(data.len(), || Checkpoint::decode(data).is_some());
        within(data.len(), || StoredProgress::decode(data).is_some());
        within(data.len(), || Signal::decode(data).is_some());
        within(data.len(), || MineQuestion::decode(data).is_some());
    });
    if let Some(record) = Record::decode(data) {
        let bytes = record.encode();
        assert_eq!(Record::decode(&bytes).as_ref(), Some(&record));
        let inside = |part: &[u8]| data.as_ptr_range().contains(&part.as_ptr()) || part.is_empty();
        assert!(inside(record.worker.as_bytes()) && record.body.is_none_or(inside), "a copy was made");
    }
    if let Some(progress) = StoredProgress::decode(data) {
        assert_eq!(StoredProgress::decode(&progress.encode()).as_ref(), Some(&progress));
    }
    if let Some(checkpoint) = Checkpoint::decode(data) {
        assert_eq!(Checkpoint::decode(&checkpoint.encode()).as_ref(), Some(&checkpoint));
    }
    if let Some(signal) = Signal::decode(data) {
        assert_eq!(Signal::decode(&signal.encode()).as_ref(), Some(&signal));
    }
    if let Some(question) = MineQuestion::decode(data) {
        assert_eq!(MineQuestion::decode(&question.encode()).as_ref(), Some(&question));
    }
}

/// The server's answers in JSON. Whatever is said, nothing counts as stored without a sequence or beside an error.
pub fn answers(data: &[u8]) {
    on_a_workers_stack(|| {
        within(data.len(), || decode::<StreamInfo>(data).is_ok());
        within(data.len(), || decode::<ConsumerInfo>(data).is_ok());
        within(data.len(), || decode::<ReadAnswer>(data).is_ok());
    });
    match decode_store(data) {
        StoreAnswer::Stored(sequence) => {
            let ack: PubAck = serde_json::from_slice(data).expect("what says stored can be read");
            assert!(sequence > 0 && ack.error.is_none() && !ack.duplicate);
        }
        StoreAnswer::Duplicate => assert!(decode::<PubAck>(data).is_ok_and(|it| it.is_ok())),
        _ => {}
    }
    if let Ok(Ok(info)) = decode::<StreamInfo>(data) {
        let _ = humantime::parse_rfc3339_weak(&info.ts);
    }
    if let Ok(Ok(ReadAnswer { message })) = decode(data) {
        drop(message.payload());
        let _ = message.header_block().map(|block| what_cannot_be_read(&message.subject, &block));
    }
    drop(decode::<NamesAnswer>(data));
}
