//! Requests that no caller of ours would send: each becomes a dead letter or a stored rejection, no handler sees it,
//! and the worker serves the next call.

use bytes::Bytes;
use requite::{
    CallError, Rejected, RequestId,
    async_nats::{self, HeaderMap},
};

use super::fixture::{Office, SOON, info, stored, until, within};

const INSTANCE: &str = "abcdefghijklmnopqrstuvwxyz";
const MSGPACK: &str = "application/msgpack";
const JSON: &str = "application/json";

fn request(content_type: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("Rq-V", "1");
    headers.insert("Rq-Kind", "call");
    headers.insert("Content-Type", content_type);
    headers
}

fn without(name: &str) -> HeaderMap {
    let all = request(MSGPACK);
    let kept = all.iter().filter(|(header, _)| AsRef::<str>::as_ref(header) != name);
    kept.map(|(header, values)| (header.clone(), values[0].clone())).collect()
}

fn with(name: &str, value: &str) -> HeaderMap {
    let mut headers = request(MSGPACK);
    headers.insert(name, value);
    headers
}

/// The text "x" in MessagePack.
const TEXT: &[u8] = b"\xa1x";

/// The most that JetStream takes, in bytes.
const LARGEST_HEADERS: usize = u16::MAX as usize;

/// A publisher without Requite.
struct Stranger {
    nats: async_nats::Client,
    sent: u64,
}

impl Stranger {
    async fn new(office: &Office) -> Self {
        Self { nats: office.stranger().await, sent: 0 }
    }

    /// Publishes a request of the shop for `clerk.stamp`; the server must have stored it.
    async fn send(&mut self, headers: HeaderMap, body: impl Into<Bytes>) -> RequestId {
        self.sent += 1;
        let id: RequestId = format!("{INSTANCE}.{}", self.sent).parse().unwrap();
        let subject = format!("rq.req.clerk.stamp.shop.{id}");
        let stored = self.nats.request_with_headers(subject, headers, body.into()).await.unwrap();
        let answer = String::from_utf8_lossy(&stored.payload);
        assert!(answer.contains(r#""seq":"#) && !answer.contains("error"), "{answer}");
        id
    }
}

/// The worker lives: a call of ours is answered, and its handler is the only one that ran.
async fn next_call_is_served(office: &Office, runs: u32) {
    let answer = within(SOON, office.client().await.stamp("still here".into())).await.unwrap();
    assert_eq!((answer.run, office.clerk.runs()), (runs, runs));
}

#[tokio::test]
async fn payloads_that_cannot_be_read_are_rejected_and_kept_as_dead_letters() {
    let office = Office::open().await;
    let client = office.client().await;
    let mut stranger = Stranger::new(&office).await;
    let declared = |marker: u8| [&[marker, 0xff, 0xff, 0xff, 0xff], TEXT].concat();
    let hostile: [(&str, &str, Vec<u8>); 18] = [
        ("nested lists", MSGPACK, vec![0x91; 500_000]),
        ("nested maps", MSGPACK, b"\x81\xa1a".repeat(100_000)),
        ("nested lists in JSON", JSON, vec![b'['; 500_000]),
        ("nested maps in JSON", JSON, br#"{"a":"#.repeat(100_000)),
        ("a list of 2^32 - 1", MSGPACK, declared(0xdd)),
        ("a map of 2^32 - 1", MSGPACK, declared(0xdf)),
        ("a text of 2^32 - 1", MSGPACK, declared(0xdb)),
        ("a binary of 2^32 - 1", MSGPACK, declared(0xc6)),
        ("an extension of 2^32 - 1", MSGPACK, declared(0xc9)),
        ("bad UTF-8", MSGPACK, b"\xa2\xff\xfe".to_vec()),
        ("bad UTF-8 in JSON", JSON, b"\"\xff\xfe\"".to_vec()),
        ("half a surrogate in JSON", JSON, br#""\ud800""#.to_vec()),
        ("a truncated text", MSGPACK, b"\xa5x".to_vec()),
        ("a truncated text in JSON", JSON, b"\"x".to_vec()),
        ("nothing", MSGPACK, Vec::new()),
        ("more than one value", MSGPACK, [TEXT, TEXT].concat()),
        ("JSON that says MessagePack", MSGPACK, b"\"x\"".to_vec()),
        (
            "many tiny maps",
            MSGPACK,
            [&[0xdd, 0, 3, 0x0d, 0x40][..], &b"\x81\xa0\xc0".repeat(200_000)].concat(),
        ),
    ];
    for (number, (what, content_type, body)) in (1..).zip(hostile) {
        let id = stranger.send(request(content_type), body).await;
        let answer = within(SOON, client.attach_stamp("").id(id)).await;
        assert!(
            matches!(answer, Err(CallError::Rejected(Rejected::Undecodable { .. }))),
            "{what}: {answer:?}"
        );
        assert_eq!(office.worker.stats().dead_letters, number, "{what}");
    }
    assert_eq!(stored(&office.nats, "rq_DEAD_clerk").await, office.worker.stats().dead_letters);
    assert_eq!(office.worker.stats().runs, 0, "none of them may have reached the handler");
    next_call_is_served(&office, 1).await;
}

/// A dead letter carries more headers than its request: one of the largest size that the server takes must still fit.
#[tokio::test]
async fn the_largest_request_that_cannot_be_read_does_not_jam_the_worker() {
    let office = Office::open().await;
    let client = office.client().await;
    let mut stranger = Stranger::new(&office).await;
    let headers = "NATS/1.0\r\nRq-V: 1\r\nRq-Kind: call\r\nContent-Type: application/msgpack\r\n\r\n".len();
    let room = stranger.nats.max_payload() - headers;
    let unreadable = stranger.send(request(MSGPACK), vec![0xc1; room]).await;
    let answer = within(SOON, client.attach_stamp("").id(unreadable)).await;
    assert!(matches!(answer, Err(CallError::Rejected(Rejected::Undecodable { .. }))), "{answer:?}");
    // Without a version nobody waits for it, and it must not come back for ever. The same for the largest headers.
    let headers = "NATS/1.0\r\nRq-Kind: call\r\nContent-Type: application/msgpack\r\n\r\n".len();
    let room = stranger.nats.max_payload() - headers;
    stranger.send(without("Rq-V"), vec![0xc1; room]).await;
    let mut headers = HeaderMap::new();
    headers.insert("X", "x".repeat(LARGEST_HEADERS - "NATS/1.0\r\nX: \r\n\r\n".len()));
    stranger.send(headers, TEXT).await;
    until("all are kept", async || stored(&office.nats, "rq_DEAD_clerk").await == 3).await;
    until("all are settled", async || stored(&office.nats, "rq_REQ_clerk").await == 0).await;
    next_call_is_served(&office, 1).await;
}

#[tokio::test]
async fn messages_that_are_no_requests_are_buried_without_a_record() {
    let office = Office::open().await;
    let mut stranger = Stranger::new(&office).await;
    let too_great = "18446744073709551616";
    let hostile = [
        ("no headers", HeaderMap::new()),
        ("no version", without("Rq-V")),
        ("an unknown version", with("Rq-V", "2")),
        ("an empty version", with("Rq-V", "")),
        ("no kind", without("Rq-Kind")),
        ("a record's kind", with("Rq-Kind", "outcome")),
        ("an unknown kind", with("Rq-Kind", "CALL")),
        ("no content type", without("Content-Type")),
        ("a foreign content type", with("Content-Type", "text/html")),
        ("two content types", with("Content-Type", "application/json, application/msgpack")),
        ("a stream", with("Nats-Stream", "rq_OUT_clerk")),
        ("a subject", with("Nats-Subject", "rq.out.clerk.shop.k.a")),
        ("a sequence", with("Nats-Sequence", "1")),
        ("a time stamp", with("Nats-Time-Stamp", "2024-01-01T00:00:00Z")),
        ("no number left", with("Rq-Left", "soon")),
        ("nothing left", with("Rq-Left", "")),
        ("less than nothing left", with("Rq-Left", "-1")),
        ("too much left", with("Rq-Left", too_great)),
        ("no number sent", with("Rq-Sent", "1e9")),
        ("sent too late", with("Rq-Sent", too_great)),
        ("a trace context that is too long", with("traceparent", &"x".repeat(2_000))),
    ];
    for (number, (what, headers)) in (1..).zip(hostile) {
        let id = stranger.send(headers, TEXT).await;
        until(what, async || office.worker.stats().dead_letters == number).await;
        let dead = info(&office.nats, "rq_DEAD_clerk").await;
        let subject = format!("rq.dead.clerk.stamp.shop.{id}");
        assert_eq!(dead["state"]["subjects"][&subject], 1, "{what}: {dead}");
    }
    until("all are settled", async || stored(&office.nats, "rq_REQ_clerk").await == 0).await;
    assert_eq!(stored(&office.nats, "rq_OUT_clerk").await, 0, "no record under an id that may be made up");
    next_call_is_served(&office, 1).await;
}

#[tokio::test]
async fn numbers_at_their_ends_are_handled() {
    let office = Office::open().await;
    let client = office.client().await;
    let mut stranger = Stranger::new(&office).await;
    let greatest = u64::MAX.to_string();
    for (run, headers) in (1..).zip([
        with("Rq-Left", &greatest),
        with("Rq-Sent", &greatest),
        with("Rq-Sent", "0"),
        request(MSGPACK),
    ]) {
        let id = stranger.send(headers.clone(), TEXT).await;
        let answer = within(SOON, client.attach_stamp("").id(id)).await.unwrap();
        assert_eq!((answer.run, answer.text.as_str()), (run, "x"), "{headers:?}");
    }
    let id = stranger.send(with("Rq-Left", "0"), TEXT).await;
    let answer = within(SOON, client.attach_stamp("").id(id)).await;
    assert!(matches!(answer, Err(CallError::Rejected(Rejected::Expired))), "{answer:?}");
    next_call_is_served(&office, 5).await;
}

/// The server's own answers go wherever a publisher wants them, past his permissions.
#[tokio::test]
async fn answers_of_the_server_that_are_aimed_at_a_worker_do_not_run() {
    let office = Office::open().await;
    let stranger = office.stranger().await;
    let target = |n: u32| format!("rq.req.clerk.stamp.bank.{INSTANCE}.{n}");
    // The acknowledgement of a publish.
    let subject = format!("rq.req.clerk.stamp.shop.{INSTANCE}.1");
    stranger.publish_with_reply_and_headers(subject, target(1), request(MSGPACK), TEXT.into()).await.unwrap();
    // A message that the stranger stored himself, with all the headers of a request of ours.
    let bait = r#"{"name":"BAIT","subjects":["bait"],"allow_direct":true}"#;
    office.nats.ask("$JS.API.STREAM.CREATE.BAIT", bait).await.unwrap();
    stranger.request_with_headers("bait", request(MSGPACK), TEXT.into()).await.unwrap();
    stranger.publish_with_reply("$JS.API.DIRECT.GET.BAIT.bait", target(2), "".into()).await.unwrap();
    // An answer of the API, and an error.
    stranger.publish_with_reply("$JS.API.INFO", target(3), "".into()).await.unwrap();
    stranger.publish_with_reply("$JS.API.DIRECT.GET.BAIT.none", target(4), "".into()).await.unwrap();
    stranger.flush().await.unwrap();

    until("all four are buried", async || office.worker.stats().dead_letters == 4).await;
    until("all are settled", async || stored(&office.nats, "rq_REQ_clerk").await == 0).await;
    // The request whose acknowledgement was reflected ran.
    next_call_is_served(&office, 2).await;
}
