//! What the simulated server does as the real one does, in times that a comparison would be too slow for.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_publish_is_heard_and_one_nobody_takes_has_no_responders() {
    let (_simulation, connection) = served(1).await;
    let mut heard = connection.subscribe("a.>".into()).await.unwrap();
    connection.publish(Outgoing::new("a.b", "1")).await.unwrap();
    assert_eq!(heard.next().await.unwrap().payload, "1");
    let nobody = connection.request(Outgoing::new("b", ""), SECOND).await;
    assert_eq!(nobody.unwrap_err(), SendError::NoResponders);
    let silent = connection.request(Outgoing::new("a.c", ""), SECOND).await;
    assert_eq!(silent.unwrap_err(), SendError::TimedOut);
    let large = Outgoing::new("a", vec![0; MAX_PAYLOAD + 1]);
    assert!(matches!(connection.publish(large).await, Err(SendError::TooLarge { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_rejected_publish_is_heard_but_not_republished() {
    let (_simulation, connection) = served(3).await;
    let mut core = connection.subscribe("put.>".into()).await.unwrap();
    let mut pushed = connection.subscribe("in.*".into()).await.unwrap();
    let first = |payload| {
        let headers = Headers::default().with(header::EXPECTED_LAST, "0");
        Outgoing::new("put.secret.out.a", payload).headers(headers)
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
    let record = Outgoing::new("put.secret.out.a", "x").headers(headers);
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
async fn a_killed_server_finds_again_what_an_expired_message_had_replaced() {
    let (simulation, connection) = served(13).await;
    let put = async |name, ttl: &'static str| {
        let headers = Headers::default().with(header::TTL, ttl);
        let record = Outgoing::new(format!("put.secret.out.{name}"), ttl).headers(headers);
        assert!(matches!(api::store(&connection, record, SECOND).await, StoreAnswer::Stored(_)));
    };
    for (name, ttl) in [("other", "never"), ("a", "never"), ("a", "2")] {
        put(name, ttl).await;
    }
    sleep(3 * SECOND).await;
    simulation.restart(SECOND);
    sleep(2 * SECOND).await;
    assert!(api::read_leader(&connection, "R", "out.a").await.unwrap().is_none());
    simulation.kill(Duration::ZERO, SECOND);
    sleep(2 * SECOND).await;
    let found = api::read_leader(&connection, "R", "out.a").await.unwrap().unwrap();
    assert_eq!((found.sequence, &found.payload[..]), (2, &b"never"[..]));
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
async fn a_reply_of_the_server_can_be_aimed_at_a_stream() {
    let (simulation, connection) = served(21).await;
    let reflected = Outgoing { reply: Some("put.secret.out.b".into()), ..Outgoing::new("q.a", "x") };
    connection.publish(reflected).await.unwrap();
    sleep(SECOND).await;
    assert!(simulation.stored("R")[0].payload.starts_with(b"{\"stream\":\"Q\",\"seq\":1"));
}

#[tokio::test(start_paused = true)]
async fn open_pulls_end_with_their_consumer() {
    let (_simulation, connection) = served(24).await;
    let mut open = pull(&connection, 1).await;
    let delete = Outgoing::new("$JS.API.CONSUMER.DELETE.Q.m", "");
    connection.request(delete, SECOND).await.unwrap();
    let end = open.next().await.unwrap();
    assert_eq!((end.status, end.description.as_deref()), (Some(409), Some("Consumer Deleted")));
    let again = connection.request(Outgoing::new(subject::api::pull("Q", "m"), ""), SECOND).await;
    assert_eq!(again.unwrap_err(), SendError::NoResponders);
}
