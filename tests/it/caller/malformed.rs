//! Bytes that only a hand-written client sends: subjects that are no subjects, headers that are no headers.

use futures_util::{StreamExt, future::join_all};
use requite_test::NatsServer;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

use super::fixture::{LEASE, Office, SOON, serve, stored, until, within};

/// A connection that speaks the protocol of NATS by hand.
struct Wire {
    stream: BufReader<TcpStream>,
}

impl Wire {
    async fn new(nats: &NatsServer) -> Self {
        let stream = BufReader::new(TcpStream::connect(("127.0.0.1", nats.port())).await.unwrap());
        let mut wire = Self { stream };
        wire.write(
            b"CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true}\r\n",
        )
        .await;
        wire.flush().await;
        wire
    }

    async fn write(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).await.unwrap();
    }

    /// Waits until the server has taken everything in, or refused it.
    async fn flush(&mut self) {
        self.write(b"PING\r\n").await;
        let mut line = String::new();
        while line != "PONG\r\n" {
            line.clear();
            assert_ne!(within(SOON, self.stream.read_line(&mut line)).await.unwrap(), 0, "closed");
            assert!(!line.starts_with("-ERR"), "{line}");
        }
    }

    /// Publishes with these bytes as headers, whatever they are.
    async fn publish(&mut self, subject: &[u8], headers: &[u8], body: &[u8]) {
        let sizes = format!(" {} {}\r\n", headers.len(), headers.len() + body.len());
        self.write(&[b"HPUB ", subject, sizes.as_bytes(), headers, body, b"\r\n"].concat()).await;
        self.flush().await;
    }
}

const SUBJECT: &[u8] = b"rq.req.clerk.stamp.shop.abcdefghijklmnopqrstuvwxyz.1";
const HEADERS: &[u8] = b"NATS/1.0\r\nRq-V: 1\r\nRq-Kind: call\r\nContent-Type: application/msgpack\r\n\r\n";

/// A worker that met what it cannot use goes on, and gets rid of it.
async fn is_buried(office: &Office, number: u64) {
    until("it is buried", async || office.worker.stats().dead_letters == number).await;
    until("it is settled", async || stored(&office.nats, "rq_REQ_clerk").await == 0).await;
    assert_eq!(stored(&office.nats, "rq_DEAD_clerk").await, number);
    let answer = within(SOON, office.client().await.stamp("still here".into())).await.unwrap();
    assert_eq!(u64::from(answer.run), number, "only our own calls run");
}

#[tokio::test]
async fn ids_that_are_none_are_buried() {
    let office = Office::open().await;
    let mut wire = Wire::new(&office.nats).await;
    // Whoever reads a record by such a subject reads somebody's. (What ends in `>` the server itself may never deliver.)
    let ids: [&[u8]; 6] = [b"shop.*.*", b"shop.k.*", b"*.k.a", b"shop.a.b", b"-w.k.a", b"sh$p.k.a"];
    for (number, id) in (1..).zip(ids) {
        wire.publish(&[b"rq.req.clerk.stamp.", id].concat(), HEADERS, b"\xa1x").await;
        is_buried(&office, number).await;
    }
}

/// A status in the first line is what the server puts on the end of a pull. It takes it out of what it stores, so
/// that such a request is as good as any.
#[tokio::test]
async fn requests_that_look_like_the_end_of_a_pull_end_none() {
    for version in ["2.12.8", "2.15.1"] {
        let nats = NatsServer::builder().version(version).start().await.unwrap();
        let office = Office::open_on(nats).await;
        let client = office.client().await;
        let mut wire = Wire::new(&office.nats).await;
        let statuses = [
            "100 Idle Heartbeat",
            "404 No Messages",
            "408 Request Timeout",
            "409 Consumer Deleted",
            "503",
            "no",
        ];
        for (number, status) in (1..).zip(statuses) {
            let id = format!("abcdefghijklmnopqrstuvwxyz.{number}");
            let subject = format!("rq.req.clerk.stamp.shop.{id}");
            let headers = HEADERS.strip_prefix(b"NATS/1.0").unwrap();
            let headers = [b"NATS/1.0 ", status.as_bytes(), headers].concat();
            wire.publish(subject.as_bytes(), &headers, b"\xa1x").await;
            let answer = within(SOON, client.attach_stamp("").id(id.parse().unwrap())).await.unwrap();
            assert_eq!(answer.run, number);
        }
        assert_eq!(office.worker.stats().redeliveries, 0);
    }
}

#[tokio::test]
async fn repeated_and_folded_headers_are_handled() {
    let office = Office::open().await;
    let client = office.client().await;
    let mut wire = Wire::new(&office.nats).await;
    let headers = b"NATS/1.0\r\nRq-V: 1\r\nRq-V: 2\r\nRq-Kind: call\r\n\tx\r\nContent-Type: application/msgpack\r\n\r\n";
    wire.publish(SUBJECT, headers, b"\xa1x").await;
    until("it is settled", async || stored(&office.nats, "rq_REQ_clerk").await == 0).await;
    assert_eq!(within(SOON, client.stamp("a".into())).await.unwrap().run, office.clerk.runs());
}

/// Headers over which the NATS client of a worker closes its connection, and comes back.
const UNREADABLE: [&[u8]; 4] = [
    b"NATS/1.0\r\nno colon\r\n\r\n",
    b"NATS/1.0\r\nRq-V: \xff\xfe\r\n\r\n",
    b"NATS/9.9\r\nRq-V: 1\r\n\r\n",
    b"NATS/1.0\r\nRq V: 1\r\n\r\n",
];

/// What no worker ever sees is out of its way after a second lease, with its body kept, and the worker goes on.
async fn is_buried_unseen(subject: &[u8], headers: &[u8], reason: &str) {
    let what = format!("{} {}", subject.escape_ascii(), headers.escape_ascii());
    let office = Office::open().await;
    let stranger = office.stranger().await;
    let mut letters = stranger.subscribe("rq.dead.>").await.unwrap();
    stranger.flush().await.unwrap();
    Wire::new(&office.nats).await.publish(subject, headers, b"\xa1x").await;
    // It is looked for when it has cut the connection twice.
    let letter = tokio::time::timeout(LEASE * 2 + SOON, letters.next()).await;
    let letter = letter.unwrap_or_else(|_| panic!("not buried: {what}")).unwrap();
    assert_eq!(letter.payload, b"\xa1x"[..], "{what}");
    assert_eq!(letter.headers.unwrap().get("Rq-Reason").unwrap().as_str(), reason, "{what}");
    until("it is settled", async || stored(&office.nats, "rq_REQ_clerk").await == 0).await;
    assert_eq!(stored(&office.nats, "rq_DEAD_clerk").await, 1, "{what}");
    assert_eq!(office.worker.stats().dead_letters, 1, "{what}");
    let answer = within(SOON, office.client().await.stamp("still here".into())).await.unwrap();
    assert_eq!(answer.run, 1, "{what}");
}

#[tokio::test]
async fn headers_that_nobody_can_read_are_buried() {
    let reason = "has headers that cannot be read";
    join_all(UNREADABLE.map(|headers| is_buried_unseen(SUBJECT, headers, reason))).await;
}

/// Bytes that are no text, and what the NATS client takes for the end of a subject.
#[tokio::test]
async fn subjects_that_nobody_can_read_are_buried() {
    let ids: [&[u8]; 2] = [b"\xff.k.a", "shop.k.\u{a0}a".as_bytes()];
    let subjects = ids.map(|id| [b"rq.req.clerk.stamp.", id].concat());
    let reason = "has a subject that cannot be read";
    join_all(subjects.each_ref().map(|it| is_buried_unseen(it, HEADERS, reason))).await;
}

#[tokio::test]
async fn headers_that_nobody_can_read_do_not_stop_a_worker() {
    for headers in UNREADABLE {
        let office = Office::open().await;
        let client = office.client().await;
        within(SOON, client.stamp("warm".into())).await.unwrap();
        Wire::new(&office.nats).await.publish(SUBJECT, headers, b"\xa1x").await;
        for run in 2..4 {
            let answer = within(LEASE + SOON, client.stamp("still here".into())).await.unwrap();
            assert_eq!(answer.run, run);
        }
    }
}

/// The NATS client underneath ends for good over a lone carriage return (async-nats 0.51 panics). The worker says so, and
/// the one that is started in its place buries the request before it pulls.
#[tokio::test]
async fn a_request_that_ends_the_client_underneath_ends_the_worker_openly_and_only_once() {
    let office = Office::open().await;
    Wire::new(&office.nats).await.publish(SUBJECT, b"NATS/1.0\r\nRq-V: a\rb\r\n\r\n", b"\xa1x").await;
    within(SOON, office.worker.closed()).await;
    let successor = serve(&office.nats.url(), office.clerk.clone()).await;
    assert_eq!(successor.stats().dead_letters, 1);
    until("it is settled", async || stored(&office.nats, "rq_REQ_clerk").await == 0).await;
    let answer = within(SOON, office.client().await.stamp("still here".into())).await.unwrap();
    assert_eq!(answer.run, 1);
}
