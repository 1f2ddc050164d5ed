//! Subjects, there and back, and what strangers put in their place.

use crate::{
    name::{Name, RequestId, is_name},
    subject::{AckSubject, CallerSubjects, Origin, ServiceSubjects, ack_by_sequence},
};

/// What is formatted of valid names is parsed as the same names and nothing else; of any text, what is parsed as valid is
/// formatted as that text again, so that no two texts stand for one record.
pub fn subject(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let parts: Vec<&str> = text.split('\n').collect();
    let (namespace, service, caller) = ("rq", "billing", "shop");
    check_there_and_back(&parts);
    let subjects = ServiceSubjects::new(&name(namespace), &name(service));
    let mine = CallerSubjects::new(&name(namespace), &name(caller));
    for part in parts {
        check_name(part);
        check_parsed(part, &subjects, &mine);
        // Behind a good beginning the bytes reach further.
        for prefix in ["rq.req.billing.", "rq.in.shop.", "rq.sig.billing.shop.", "rq.ctl.billing."] {
            check_parsed(&format!("{prefix}{part}"), &subjects, &mine);
        }
    }
}

fn name(text: &str) -> Name {
    text.parse().expect("it is a name")
}

fn check_name(text: &str) {
    if let Ok(name) = text.parse::<Name>() {
        assert_eq!(name.as_str(), text);
        assert!(!text.contains(|c: char| c == '.'
            || c == '*'
            || c == '>'
            || c.is_whitespace()
            || c.is_control()));
    }
    if let Some(clean) = Name::sanitised(text) {
        assert!(is_name(clean.as_str()));
    }
    if let Ok(id) = text.parse::<RequestId>() {
        assert_eq!(id.as_str(), text);
        let (first, second) = text.split_once('.').expect("an id has two tokens");
        assert!(is_name(first) && is_name(second), "an id is two tokens of subjects");
    }
}

/// Any five texts as namespace, service, method, caller and key.
fn check_there_and_back(parts: &[&str]) {
    let [namespace, service, method, caller, key, ..] = parts else {
        return;
    };
    let parsed = [namespace, service, method, caller].map(|part| Name::sanitised(part));
    let [Some(namespace), Some(service), Some(method), Some(caller)] = parsed else {
        return;
    };
    let id = key.parse().unwrap_or_else(|_| RequestId::keyed(None, &service, &method, key));
    let subjects = ServiceSubjects::new(&namespace, &service);
    let mine = CallerSubjects::new(&namespace, &caller);
    let request = subjects.request_prefix(&method, &caller) + id.as_str();
    let name = format!("{caller}.{id}");
    let origin = Origin { method: method.as_str(), name: &name, caller: caller.as_str(), id: id.as_str() };
    assert_eq!(subjects.parse_request(&request), Some(origin));
    assert!(origin.is_valid());
    let both = Some((service.as_str(), id.as_str()));
    assert_eq!(mine.parse_request(&request), both);
    assert_eq!(mine.parse_inbox(&mine.inbox(&service, &id)), both);
    assert_eq!(mine.parse_signal(&subjects.signal(caller.as_str(), id.as_str())), both);
    let ping = subjects.ping(caller.as_str(), id.as_str());
    assert_eq!(subjects.parse_ping(&ping), Some((caller.as_str(), id.as_str())));
    assert_eq!(subjects.secret_of_transform(&subjects.record_transform(key).0), Some(*key));
}

fn check_parsed(text: &str, subjects: &ServiceSubjects, mine: &CallerSubjects) {
    if let Some(origin) = subjects.parse_request(text) {
        let Origin { method, name, caller, id } = origin;
        assert_eq!(format!("rq.req.billing.{method}.{caller}.{id}"), text);
        assert_eq!(format!("{caller}.{id}"), name);
        if origin.is_valid() {
            assert_eq!(id.split('.').count(), 2);
            let record = subjects.record(caller, id);
            assert!(!record.contains(['*', '>', ' ']) && record.split('.').count() == 6, "{record}");
        }
    }
    let letter = subjects.dead_letter_unseen(text, "charge", 7);
    let tokens: Vec<&str> = letter.splitn(4, '.').collect();
    assert_eq!(tokens[..3], ["rq", "dead", "billing"], "a dead letter outside of its stream");
    if let Some((service, id)) = mine.parse_inbox(text) {
        assert_eq!(format!("rq.in.shop.{service}.{id}"), text);
    }
    if let Some((service, id)) = mine.parse_signal(text) {
        assert_eq!(format!("rq.sig.{service}.shop.{id}"), text);
    }
    if let Some((caller, id)) = subjects.parse_ping(text) {
        assert_eq!(format!("rq.ctl.billing.{caller}.{id}.ping"), text);
    }
}

/// The parser says what a plain reading of the tokens says; both forms of an ack subject say the same.
pub fn ack(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    check_ack(&text);
    for prefix in ["$JS.ACK.", "$JS.ACK._.hash.", "$JS.ACK.S.C."] {
        check_ack(&format!("{prefix}{text}"));
    }
}

fn check_ack(text: &str) {
    let parsed = AckSubject::parse(text);
    assert_eq!(parsed, read_plainly(text), "{text:?}");
    let Some(facts) = parsed else {
        return;
    };
    let AckSubject { stream, consumer, delivery, stream_sequence, consumer_sequence, stored } = facts;
    let rest = format!("{stream}.{consumer}.{delivery}.{stream_sequence}.{consumer_sequence}.{stored}.0");
    assert_eq!(AckSubject::parse(&format!("$JS.ACK.{rest}")), Some(facts));
    assert_eq!(AckSubject::parse(&format!("$JS.ACK.domain.account.{rest}.token")), Some(facts));
    let by_sequence = ack_by_sequence(stream, consumer, stream_sequence);
    let named = AckSubject::parse(&by_sequence).expect("an ack by sequence is an ack");
    assert_eq!((named.stream, named.consumer, named.stream_sequence), (stream, consumer, stream_sequence));
}

/// The same in the simplest words.
fn read_plainly(text: &str) -> Option<AckSubject<'_>> {
    let tokens: Vec<&str> = text.split('.').collect();
    let facts = match (&tokens[..], tokens.len()) {
        (["$JS", "ACK", facts @ ..], 9) => facts,
        (["$JS", "ACK", _, _, facts @ ..], 10..) => facts,
        _ => return None,
    };
    // Seven in the short form; what follows those is not looked at.
    let [stream, consumer, delivery, stream_sequence, consumer_sequence, stored, _, ..] = facts else {
        return None;
    };
    Some(AckSubject {
        stream,
        consumer,
        delivery: delivery.parse().ok()?,
        stream_sequence: stream_sequence.parse().ok()?,
        consumer_sequence: consumer_sequence.parse().ok()?,
        stored: stored.parse().ok()?,
    })
}
