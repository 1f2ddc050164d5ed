//! What the simulation promises beyond what `differential` compares: faults, timing, and sameness by seed.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{sleep, timeout};

use super::{Connection, Inbox, Kind, Seen, Simulation};
use crate::{
    broker::{
        Broker, Event, Headers, Message, Outgoing, SendError, Subscription,
        api::{self, StoreAnswer},
    },
    subject::{self, AckSubject},
    wire::{
        header,
        jetstream::{ConsumerConfig, StreamConfig, Transform},
    },
};

const LEASE: Duration = Duration::from_secs(10);
const SECOND: Duration = Duration::from_secs(1);

/// A server with a work queue `Q`, its consumer `m`, and records `R`; and a connection to it.
async fn served(seed: u64) -> (Simulation, Connection) {
    let simulation = Simulation::new(seed);
    let connection = simulation.connect("worker").unwrap();
    let queue = stream("Q", "q.*", "workqueue");
    let queue = StreamConfig { discard_new_per_subject: true, ..queue };
    let records = StreamConfig {
        allow_direct: true,
        allow_msg_ttl: true,
        subject_transform: Some(Transform { src: "put.secret.>".into(), dest: ">".into() }),
        republish: Some(Transform { src: "out.*".into(), dest: "in.{{wildcard(1)}}".into() }),
        ..stream("R", "put.secret.out.*", "limits")
    };
    for config in [queue, records] {
        assert_eq!(api::create_stream(&connection, &config).await.unwrap().config, config);
    }
    let consumer = ConsumerConfig {
        durable_name: "m".into(),
        filter_subject: "q.*".into(),
        deliver_policy: "all".into(),
        ack_policy: "explicit".into(),
        replay_policy: "instant".into(),
        ack_wait: LEASE.as_nanos() as u64,
        max_deliver: -1,
        max_ack_pending: -1,
        max_waiting: 512,
        backoff: Vec::new(),
    };
    api::put_consumer(&connection, "Q", &consumer, "create").await.unwrap();
    (simulation, connection)
}

fn stream(name: &str, subjects: &str, retention: &str) -> StreamConfig {
    StreamConfig {
        name: name.into(),
        description: String::new(),
        subjects: vec![subjects.into()],
        retention: retention.into(),
        storage: "file".into(),
        discard: "new".into(),
        discard_new_per_subject: false,
        max_msgs_per_subject: 1,
        max_msgs: -1,
        max_bytes: -1,
        max_age: 0,
        max_consumers: -1,
        num_replicas: 1,
        duplicate_window: 120_000_000_000,
        allow_direct: false,
        allow_msg_ttl: false,
        allow_rollup_hdrs: false,
        deny_delete: false,
        deny_purge: false,
        subject_transform: None,
        republish: None,
    }
}

async fn store(connection: &Connection, subject: &str) -> StoreAnswer {
    api::store(connection, Outgoing::new(subject.into(), "body"), SECOND).await
}

async fn store_with_id(connection: &Connection, subject: &str) -> StoreAnswer {
    let headers = Headers::default().with(header::MESSAGE_ID, subject);
    api::store(connection, Outgoing::new(subject.into(), "body").headers(headers), SECOND).await
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

async fn settle(
    connection: &Connection,
    message: &Message,
    verb: &'static str,
) -> Result<Message, SendError> {
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

#[tokio::test(start_paused = true)]
async fn a_publish_is_heard_and_one_nobody_takes_has_no_responders() {
    let (_simulation, connection) = served(1).await;
    let mut heard = connection.subscribe("a.>".into()).await.unwrap();
    connection.publish(Outgoing::new("a.b".into(), "1")).await.unwrap();
    assert_eq!(heard.next().await.unwrap().payload, "1");
    let nobody = connection.request(Outgoing::new("b".into(), ""), SECOND).await;
    assert_eq!(nobody.unwrap_err(), SendError::NoResponders);
    let silent = connection.request(Outgoing::new("a.c".into(), ""), SECOND).await;
    assert_eq!(silent.unwrap_err(), SendError::TimedOut);
    let large = Outgoing::new("a".into(), vec![0; super::MAX_PAYLOAD + 1]);
    assert!(matches!(connection.publish(large).await, Err(SendError::TooLarge { .. })));
}

#[tokio::test(start_paused = true)]
async fn one_connection_keeps_its_order() {
    let (simulation, connection) = served(2).await;
    simulation.latency("worker", 5 * SECOND, 5 * SECOND);
    let mut heard = connection.subscribe("a".into()).await.unwrap();
    for number in 0..50u8 {
        connection.publish(Outgoing::new("a".into(), vec![number])).await.unwrap();
    }
    for number in 0..50u8 {
        assert_eq!(heard.next().await.unwrap().payload, [number][..]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_rejected_publish_is_heard_but_not_republished() {
    let (_simulation, connection) = served(3).await;
    let mut core = connection.subscribe("put.>".into()).await.unwrap();
    let mut pushed = connection.subscribe("in.*".into()).await.unwrap();
    let first = |payload| {
        let headers = Headers::default().with(header::EXPECTED_LAST, "0");
        Outgoing::new("put.secret.out.a".into(), payload).headers(headers)
    };
    assert_eq!(api::store(&connection, first("won"), SECOND).await, StoreAnswer::Stored(1));
    assert_eq!(api::store(&connection, first("lost"), SECOND).await, StoreAnswer::WrongLast);
    assert_eq!(core.next().await.unwrap().payload, "won");
    assert_eq!(core.next().await.unwrap().payload, "lost");
    let push = pushed.next().await.unwrap();
    assert_eq!((&push.payload[..], push.headers.last(header::SUBJECT)), (&b"won"[..], Some("out.a")));
    assert!(timeout(SECOND, pushed.next()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_message_is_redelivered_once_its_lease_has_run_out_and_heartbeats_put_that_off() {
    let (simulation, connection) = served(4).await;
    store(&connection, "q.a").await;
    let message = pulled(&connection).await;
    sleep(LEASE / 2).await;
    settle(&connection, &message, "+WPI").await.unwrap();
    assert!(about(comes_again_after(&connection).await, LEASE));
    assert_eq!(simulation.deliveries("Q", "m")[&1], 2);
    assert_eq!(simulation.redeliveries("Q", "m"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_late_heartbeat_does_not_win_the_lease_back() {
    let (_simulation, connection) = served(5).await;
    store(&connection, "q.a").await;
    let message = pulled(&connection).await;
    sleep(LEASE + SECOND).await;
    settle(&connection, &message, "+WPI").await.unwrap();
    assert!(comes_again_after(&connection).await < SECOND);
}

#[tokio::test(start_paused = true)]
async fn the_server_does_not_fence_a_zombie() {
    let (simulation, connection) = served(6).await;
    store(&connection, "q.a").await;
    let zombie = pulled(&connection).await;
    sleep(LEASE + SECOND).await;
    let owner = pulled(&connection).await;
    assert_eq!((delivery(&zombie), delivery(&owner)), (1, 2));
    settle(&connection, &zombie, "-NAK").await.unwrap();
    assert_eq!(delivery(&pulled(&connection).await), 3);
    settle(&connection, &zombie, "+ACK").await.unwrap();
    assert!(simulation.stored("Q").is_empty());
    settle(&connection, &owner, "+ACK").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_nak_with_a_delay_comes_again_after_it() {
    let (_simulation, connection) = served(7).await;
    store(&connection, "q.a").await;
    let message = pulled(&connection).await;
    settle(&connection, &message, r#"-NAK {"delay": 3000000000}"#).await.unwrap();
    assert!(about(comes_again_after(&connection).await, 3 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn redeliveries_come_before_new_messages_and_pulls_are_served_in_turn() {
    let (_simulation, connection) = served(8).await;
    store(&connection, "q.a").await;
    let first = pulled(&connection).await;
    store(&connection, "q.b").await;
    settle(&connection, &first, "-NAK").await.unwrap();
    assert_eq!(pulled(&connection).await.subject.as_str(), "q.a");
    assert_eq!(pulled(&connection).await.subject.as_str(), "q.b");
    let (mut one, mut other) = (pull(&connection, 2).await, pull(&connection, 2).await);
    for subject in ["q.c", "q.d", "q.e"] {
        store(&connection, subject).await;
    }
    assert_eq!(next(&mut one).await.unwrap().subject.as_str(), "q.c");
    assert_eq!(next(&mut other).await.unwrap().subject.as_str(), "q.d");
    assert_eq!(next(&mut one).await.unwrap().subject.as_str(), "q.e");
}

#[tokio::test(start_paused = true)]
async fn an_expired_record_is_gone() {
    let (simulation, connection) = served(9).await;
    let headers = Headers::default().with(header::TTL, "120");
    let record = Outgoing::new("put.secret.out.a".into(), "x").headers(headers);
    assert_eq!(api::store(&connection, record, SECOND).await, StoreAnswer::Stored(1));
    sleep(119 * SECOND).await;
    assert_eq!(simulation.stored("R").len(), 1);
    sleep(2 * SECOND).await;
    assert!(api::read_leader(&connection, "R", "out.a").await.unwrap().is_none());
    assert!(api::read_any(&connection, "R", "out.a").await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_restarted_server_forgets_the_ids_of_acked_messages() {
    let (simulation, connection) = served(10).await;
    let id = connection.server().id;
    for subject in ["q.acked", "q.kept"] {
        assert!(matches!(store_with_id(&connection, subject).await, StoreAnswer::Stored(_)));
    }
    let message = pulled(&connection).await;
    settle(&connection, &message, "+ACK").await.unwrap();
    assert_eq!(store_with_id(&connection, "q.acked").await, StoreAnswer::Duplicate);
    simulation.restart(SECOND);
    sleep(2 * SECOND).await;
    assert_eq!(store_with_id(&connection, "q.acked").await, StoreAnswer::Stored(3));
    assert_eq!(store_with_id(&connection, "q.kept").await, StoreAnswer::Duplicate);
    assert_ne!(connection.server().id, id);
}

#[tokio::test(start_paused = true)]
async fn a_restarted_server_counts_a_first_lease_from_the_publish() {
    let (simulation, connection) = served(11).await;
    store(&connection, "q.a").await;
    sleep(LEASE * 2).await;
    pulled(&connection).await;
    simulation.restart(Duration::from_millis(100));
    sleep(SECOND / 2).await;
    assert!(comes_again_after(&connection).await < 2 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_after_the_delivery_repairs_that_up_to_a_second() {
    let (simulation, connection) = served(12).await;
    store(&connection, "q.a").await;
    sleep(LEASE * 2).await;
    let message = pulled(&connection).await;
    settle(&connection, &message, "+WPI").await.unwrap();
    simulation.restart(Duration::from_millis(100));
    sleep(SECOND / 2).await;
    let after = comes_again_after(&connection).await + SECOND / 2;
    assert!(after <= LEASE + SECOND / 10 && after >= LEASE - SECOND * 11 / 10, "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn a_killed_server_delivers_live_leases_again_as_first_deliveries() {
    let (simulation, connection) = served(13).await;
    for subject in ["q.early", "q.late", "q.acked"] {
        store(&connection, subject).await;
    }
    let early = pulled(&connection).await;
    sleep(SECOND).await;
    pulled(&connection).await;
    let acked = pulled(&connection).await;
    settle(&connection, &acked, "+ACK").await.unwrap();
    simulation.kill(Duration::from_millis(100), SECOND / 10);
    sleep(SECOND / 2).await;
    let again = pulled(&connection).await;
    assert_eq!((again.subject.as_str(), delivery(&again)), ("q.late", 1));
    assert_eq!(simulation.stored("Q").len(), 2, "a deleted message stays deleted");
    assert_eq!(delivery(&pulled(&connection).await), 2, "{} has kept its count", early.subject);
}

#[tokio::test(start_paused = true)]
async fn publishes_of_a_broken_connection_arrive_later_and_messages_to_it_are_lost() {
    let (simulation, worker) = served(14).await;
    let other = simulation.connect("other").unwrap();
    let (mut mine, mut theirs) =
        (worker.subscribe("a".into()).await.unwrap(), other.subscribe("b".into()).await.unwrap());
    let mut events = worker.events();
    sleep(SECOND).await;
    simulation.disconnect("worker", 5 * SECOND);
    assert!(!worker.is_connected() && other.is_connected());
    worker.publish(Outgoing::new("b".into(), "late")).await.unwrap();
    other.publish(Outgoing::new("a".into(), "lost")).await.unwrap();
    assert_eq!(worker.request(Outgoing::new("c".into(), ""), SECOND).await.unwrap_err(), SendError::TimedOut);
    assert!(timeout(SECOND, theirs.next()).await.is_err());
    assert_eq!(theirs.next().await.unwrap().payload, "late");
    other.publish(Outgoing::new("a".into(), "heard")).await.unwrap();
    assert_eq!(mine.next().await.unwrap().payload, "heard");
    assert_eq!(events.recv().await.unwrap(), Event::Disconnected);
    assert_eq!(events.recv().await.unwrap(), Event::Reconnected);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_leaves_the_message_stored() {
    let (simulation, connection) = served(15).await;
    simulation.lose_pub_acks("worker", 1);
    assert_eq!(store(&connection, "q.a").await, StoreAnswer::InDoubt);
    assert_eq!(store(&connection, "q.a").await, StoreAnswer::Exists);
    simulation.lose_answers("worker", 1);
    assert!(api::stream_info(&connection, "Q").await.is_err());
    assert!(api::stream_info(&connection, "Q").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_lost_delivery_comes_again_after_the_lease() {
    let (simulation, connection) = served(16).await;
    simulation.lose_messages("q.*", 1);
    let mut lost = pull(&connection, 1).await;
    store(&connection, "q.a").await;
    assert!(timeout(SECOND, lost.next()).await.is_err());
    assert_eq!(delivery(&pulled(&connection).await), 2);
    assert_eq!(simulation.count("q.*", Seen::Lost), 1);
    assert_eq!(simulation.count("q.*", Seen::Sent(Kind::Delivery)), 1);
}

#[tokio::test(start_paused = true)]
async fn a_publish_can_hang_in_the_network_and_outlive_its_connection() {
    let (simulation, connection) = served(17).await;
    simulation.hang_publishes("q.*", 1, 60 * SECOND);
    assert_eq!(store(&connection, "q.a").await, StoreAnswer::InDoubt);
    assert_eq!(store(&connection, "q.a").await, StoreAnswer::Stored(1));
    let message = pulled(&connection).await;
    settle(&connection, &message, "+ACK").await.unwrap();
    simulation.disconnect("worker", SECOND);
    sleep(60 * SECOND).await;
    assert_eq!(simulation.stored("Q").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_frozen_connection_gets_everything_at_its_thaw() {
    let (simulation, worker) = served(18).await;
    let other = simulation.connect("other").unwrap();
    let mut heard = worker.subscribe("a".into()).await.unwrap();
    sleep(SECOND).await;
    simulation.freeze("worker");
    for payload in ["1", "2"] {
        other.publish(Outgoing::new("a".into(), payload)).await.unwrap();
    }
    assert!(timeout(60 * SECOND, heard.next()).await.is_err());
    assert!(worker.is_connected());
    simulation.thaw("worker");
    assert_eq!(heard.next().await.unwrap().payload, "1");
    assert_eq!(heard.next().await.unwrap().payload, "2");
}

#[tokio::test(start_paused = true)]
async fn a_denied_publish_is_an_event_and_no_answer() {
    let (simulation, connection) = served(19).await;
    let mut events = connection.events();
    simulation.deny(Some("worker"), "q.>");
    assert_eq!(store(&connection, "q.a").await, StoreAnswer::InDoubt);
    assert_eq!(events.recv().await.unwrap(), Event::Denied { subject: "q.a".into() });
    let other = simulation.connect("other").unwrap();
    assert_eq!(store(&other, "q.a").await, StoreAnswer::Stored(1));
    simulation.end_faults();
    assert_eq!(store(&connection, "q.b").await, StoreAnswer::Stored(2));
}

#[tokio::test(start_paused = true)]
async fn without_a_quorum_heartbeats_are_confirmed_and_acks_are_not() {
    let (simulation, connection) = served(20).await;
    store(&connection, "q.a").await;
    let message = pulled(&connection).await;
    simulation.quorum(false);
    settle(&connection, &message, "+WPI").await.unwrap();
    assert_eq!(settle(&connection, &message, "+ACK").await.unwrap_err(), SendError::TimedOut);
    assert_eq!(store(&connection, "q.b").await, StoreAnswer::InDoubt);
    simulation.quorum(true);
    settle(&connection, &message, "+ACK").await.unwrap();
    assert!(simulation.stored("Q").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_reply_of_the_server_can_be_aimed_at_a_stream() {
    let (simulation, connection) = served(21).await;
    let reflected = Outgoing { reply: Some("put.secret.out.b".into()), ..Outgoing::new("q.a".into(), "x") };
    connection.publish(reflected).await.unwrap();
    sleep(SECOND).await;
    assert!(simulation.stored("R")[0].payload.starts_with(b"{\"seq\":1"));
}

#[tokio::test(start_paused = true)]
async fn connections_end_when_closed_or_dropped_and_none_opens_while_the_server_is_down() {
    let (simulation, connection) = served(22).await;
    let again = connection.connect_again("again").await.unwrap();
    let mut heard = again.subscribe("a".into()).await.unwrap();
    simulation.close("again");
    assert!(heard.next().await.is_none());
    assert_eq!(again.publish(Outgoing::new("a".into(), Bytes::new())).await, Err(SendError::Closed));
    simulation.kill(Duration::ZERO, SECOND);
    assert!(connection.connect_again("early").await.is_err());
    sleep(2 * SECOND).await;
    assert!(connection.is_connected() && connection.connect_again("late").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_seed_decides_the_order_between_connections() {
    async fn order(seed: u64) -> Vec<u64> {
        let (simulation, connection) = served(seed).await;
        let others: Vec<_> = (0..5).map(|_| simulation.connect("other").unwrap()).collect();
        for (number, other) in others.iter().enumerate() {
            other.publish(Outgoing::new(format!("q.{number}"), "")).await.unwrap();
        }
        sleep(SECOND).await;
        drop(connection);
        simulation.stored("Q").iter().map(|it| it.subject[2..].parse().unwrap()).collect()
    }
    assert_eq!(order(1).await, order(1).await);
    let mut orders = std::collections::BTreeSet::new();
    for seed in 0..20 {
        orders.insert(order(seed).await);
    }
    assert!(orders.len() > 10);
}

#[tokio::test(start_paused = true)]
async fn what_passed_is_on_the_log_with_its_time() {
    let simulation = Simulation::new(23);
    simulation.default_latency(SECOND, Duration::ZERO);
    let connection = simulation.connect("slow").unwrap();
    let (began, mut events) = (simulation.server_time(), connection.events());
    connection.publish(Outgoing::new("a".into(), "")).await.unwrap();
    sleep(2 * SECOND).await;
    let log = simulation.log();
    let published = log.iter().find(|it| it.subject == "a").unwrap();
    assert_eq!((published.at, published.seen, &*published.link), (SECOND, Seen::Published, "slow"));
    assert_eq!(simulation.server_time() - began, 2_000_000_000);
    simulation.report("slow", Event::Overrun);
    assert_eq!(events.recv().await.unwrap(), Event::Overrun);
}
