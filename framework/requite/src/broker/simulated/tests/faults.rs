//! What goes wrong when it is told to, and only then.

use super::*;

#[tokio::test(start_paused = true)]
async fn one_connection_keeps_its_order() {
    let (simulation, connection) = served(2).await;
    simulation.latency("worker", 5 * SECOND, 5 * SECOND);
    let mut heard = connection.subscribe("a".into()).await.unwrap();
    for number in 0..50u8 {
        connection.publish(Outgoing::new("a", vec![number])).await.unwrap();
    }
    for number in 0..50u8 {
        assert_eq!(heard.next().await.unwrap().payload, [number][..]);
    }
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
    worker.publish(Outgoing::new("b", "late")).await.unwrap();
    other.publish(Outgoing::new("a", "lost")).await.unwrap();
    assert_eq!(worker.request(Outgoing::new("c", ""), SECOND).await.unwrap_err(), SendError::TimedOut);
    assert!(timeout(SECOND, theirs.next()).await.is_err());
    assert_eq!(theirs.next().await.unwrap().payload, "late");
    other.publish(Outgoing::new("a", "heard")).await.unwrap();
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
        other.publish(Outgoing::new("a", payload)).await.unwrap();
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
async fn a_step_of_the_clock_ends_leases_and_no_pulls() {
    let (simulation, connection) = served(20).await;
    store(&connection, "q.a").await;
    pulled(&connection).await;
    let mut waiting = pull(&connection, 1).await;
    sleep(SECOND).await;
    simulation.step_clock(60_000);
    let before = connection.now();
    assert_eq!(delivery(&next(&mut waiting).await.unwrap()), 2);
    assert!(connection.now().since(before) < LEASE, "sooner than its lease");
}

#[tokio::test(start_paused = true)]
async fn acks_of_one_kind_can_hang_in_the_network() {
    let (simulation, connection) = served(21).await;
    store(&connection, "q.a").await;
    let message = pulled(&connection).await;
    simulation.hang_settles("+ACK", 1, 5 * SECOND);
    settle(&connection, &message, "+WPI").await.unwrap();
    assert_eq!(settle(&connection, &message, "+ACK").await.unwrap_err(), SendError::TimedOut);
    assert_eq!(simulation.stored("Q").len(), 1);
    sleep(5 * SECOND).await;
    assert!(simulation.stored("Q").is_empty());
}

#[tokio::test(start_paused = true)]
async fn connections_end_when_closed_or_dropped_and_none_opens_while_the_server_is_down() {
    let (simulation, connection) = served(22).await;
    let again = connection.connect_again("again").await.unwrap();
    let mut heard = again.subscribe("a".into()).await.unwrap();
    simulation.close("again");
    assert!(heard.next().await.is_none());
    assert_eq!(again.publish(Outgoing::new("a", Bytes::new())).await, Err(SendError::Closed));
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
    connection.publish(Outgoing::new("a", "")).await.unwrap();
    sleep(2 * SECOND).await;
    let log = simulation.log();
    let published = log.iter().find(|it| it.subject == "a").unwrap();
    assert_eq!((published.at, published.seen, &*published.link), (SECOND, Seen::Published, "slow"));
    assert_eq!(simulation.server_time() - began, 2_000_000_000);
    simulation.report("slow", Event::Overrun);
    assert_eq!(events.recv().await.unwrap(), Event::Overrun);
}
