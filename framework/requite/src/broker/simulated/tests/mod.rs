//! What the simulation promises beyond what `differential` compares: faults, timing, and sameness by seed.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{sleep, timeout};

use super::{Connection, Inbox, Kind, MAX_PAYLOAD, Seen, Simulation, configs};

use crate::{
    broker::{
        Answer, Broker, Event, Headers, Message, Outgoing, SendError, Subscription,
        api::{self, StoreAnswer},
    },
    subject::{self, AckSubject},
    wire::{
        header,
        jetstream::{StreamConfig, Transform},
    },
};

mod cluster;
mod faults;
mod semantics;

const LEASE: Duration = Duration::from_secs(10);
const SECOND: Duration = Duration::from_secs(1);

/// A server with a work queue `Q`, its consumer `m`, and records `R`; and a connection to it.
async fn served(seed: u64) -> (Simulation, Connection) {
    let simulation = Simulation::new(seed);
    let connection = simulation.connect("worker").unwrap();
    fill(&connection).await;
    (simulation, connection)
}

async fn fill(connection: &Connection) {
    let queue = StreamConfig {
        retention: "workqueue".into(),
        discard_new_per_subject: true,
        ..configs::stream("Q".into(), vec!["q.*".into()])
    };
    let records = StreamConfig {
        allow_direct: true,
        allow_msg_ttl: true,
        subject_transform: Some(Transform { src: "put.secret.>".into(), dest: ">".into() }),
        republish: Some(Transform { src: "out.*".into(), dest: "in.{{wildcard(1)}}".into() }),
        ..configs::stream("R".into(), vec!["put.secret.out.*".into()])
    };
    for config in [queue, records] {
        assert_eq!(api::create_stream(connection, &config).await.unwrap().config, config);
    }
    let consumer = configs::consumer("m", "q.*".into(), LEASE);
    api::put_consumer(connection, "Q", &consumer, "create").await.unwrap();
}

async fn store(connection: &Connection, subject: &str) -> StoreAnswer {
    api::store(connection, Outgoing::new(subject, "body"), SECOND).await
}

async fn store_with_id(connection: &Connection, subject: &str) -> StoreAnswer {
    let headers = Headers::default().with(header::MESSAGE_ID, subject);
    api::store(connection, Outgoing::new(subject, "body").headers(headers), SECOND).await
}

/// One pull that stays open for a minute.
async fn pull(connection: &Connection, batch: u64) -> Inbox {
    let inbox = connection.new_inbox();
    let messages = connection.subscribe(inbox.clone()).await.unwrap();
    let body = format!(r#"{{"batch":{batch},"expires":60000000000}}"#);
    let pull = Outgoing { reply: Some(inbox), ..Outgoing::new(subject::api::pull("Q", "m"), body) };
    connection.publish(pull).await.unwrap();
    messages
}

async fn next(inbox: &mut Inbox) -> Option<Message> {
    timeout(60 * SECOND, inbox.next()).await.ok().flatten().filter(|it| it.status.is_none())
}

async fn pulled(connection: &Connection) -> Message {
    next(&mut pull(connection, 1).await).await.unwrap()
}

fn delivery(message: &Message) -> u64 {
    AckSubject::parse(message.reply.as_ref().unwrap()).unwrap().delivery
}

async fn settle(connection: &Connection, message: &Message, verb: &'static str) -> Result<Answer, SendError> {
    let reply = message.reply.as_ref().unwrap().to_string();
    connection.request(Outgoing::new(reply, verb), SECOND).await
}

/// How long until the message comes again.
async fn comes_again_after(connection: &Connection) -> Duration {
    let before = connection.now();
    assert!(next(&mut pull(connection, 1).await).await.is_some());
    connection.now().since(before)
}

fn about(found: Duration, wanted: Duration) -> bool {
    found.abs_diff(wanted) < Duration::from_millis(20)
}
