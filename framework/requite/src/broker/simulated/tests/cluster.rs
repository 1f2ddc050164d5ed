//! What is different of three servers: elections, splits, and what is left of what a leader without followers said.

use super::*;
use crate::broker::simulated::Election;

/// As [`served`], by three servers, with one more connection.
async fn served_by_three(seed: u64) -> (Simulation, Connection, Connection) {
    let simulation = Simulation::cluster(seed);
    let connection = simulation.connect("worker").unwrap();
    fill(&connection).await;
    let other = simulation.connect("other").unwrap();
    assert!(connection.server().clustered);
    (simulation, connection, other)
}

/// Tries until there is a leader again.
async fn store_in_time(connection: &Connection, subject: &str) -> StoreAnswer {
    loop {
        match store(connection, subject).await {
            StoreAnswer::NoResponders | StoreAnswer::InDoubt => sleep(SECOND / 10).await,
            answer => return answer,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_taken_while_a_leader_is_elected_and_nothing_is_lost() {
    let (simulation, connection, _) = served_by_three(1).await;
    store(&connection, "q.a").await;
    let message = pulled(&connection).await;
    let mut waiting = pull(&connection, 1).await;
    sleep(SECOND).await;
    let span = simulation.elect(Election::Death).unwrap();
    assert!(span >= 4 * SECOND && span <= 9 * SECOND, "{span:?}");
    assert_eq!(simulation.elect(Election::Death), None, "nobody is there to be killed");
    sleep(SECOND).await;
    assert_eq!(store(&connection, "q.b").await, StoreAnswer::NoResponders);
    assert_eq!(settle(&connection, &message, "+WPI").await.unwrap_err(), SendError::NoResponders);
    assert!(matches!(api::stream_info(&connection, "Q").await, Err(failure) if !failure.is_not_found()));
    assert_eq!(api::stream_names(&connection, "q.>").await.unwrap(), ["Q"]);
    assert_eq!(store_in_time(&connection, "q.b").await, StoreAnswer::Stored(2));
    assert!(timeout(5 * SECOND, waiting.next()).await.is_err(), "a new leader knows no pulls");
    assert_eq!(simulation.stored("Q").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_counts_a_lease_without_heartbeats_from_the_publish() {
    for (beat, wanted) in [(false, 8), (true, 15)] {
        let (simulation, connection, _) = served_by_three(2).await;
        store(&connection, "q.a").await;
        sleep(LEASE / 2).await;
        let message = pulled(&connection).await;
        if beat {
            settle(&connection, &message, "+WPI").await.unwrap();
        }
        let delivered = connection.now();
        simulation.elect(Election::Upgrade).unwrap();
        while next(&mut pull(&connection, 1).await).await.is_none() {}
        let after = connection.now().since(delivered).as_secs();
        assert_eq!(after < 10, wanted < 10, "{beat}: {after}");
    }
}

#[tokio::test(start_paused = true)]
async fn ids_are_forgotten_by_an_upgrade_only() {
    for (how, again) in [(Election::Death, true), (Election::Upgrade, false)] {
        let (simulation, connection, _) = served_by_three(3).await;
        assert_eq!(store_with_id(&connection, "q.a").await, StoreAnswer::Stored(1));
        let message = pulled(&connection).await;
        settle(&connection, &message, "+ACK").await.unwrap();
        let span = simulation.elect(how).unwrap();
        sleep(span + SECOND).await;
        let answer = store_with_id(&connection, "q.a").await;
        assert_eq!(matches!(answer, StoreAnswer::Duplicate), again, "{how:?}: {answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_was_cut_off_confirms_heartbeats_and_commits_nothing() {
    let (simulation, cut_off, other) = served_by_three(4).await;
    store(&cut_off, "q.a").await;
    let message = pulled(&cut_off).await;
    assert!(simulation.split(&["worker".into()], 60 * SECOND));
    assert!(!simulation.split(&["worker".into()], SECOND), "one split at a time");
    let began = cut_off.now();
    settle(&cut_off, &message, "+WPI").await.unwrap();
    assert_eq!(settle(&cut_off, &message, "+ACK").await.unwrap_err(), SendError::TimedOut);
    assert_eq!(store(&cut_off, "q.b").await, StoreAnswer::InDoubt);
    assert!(api::stream_info(&cut_off, "Q").await.is_ok(), "it answers reads");
    assert_eq!(store(&other, "q.c").await, StoreAnswer::NoResponders);
    assert_eq!(store_in_time(&other, "q.c").await, StoreAnswer::Stored(2));
    assert!(cut_off.now().since(began) < 10 * SECOND);

    // The others deliver it again while the old leader still confirms.
    while delivery(&pulled(&other).await) != 2 {}
    settle(&cut_off, &message, "+WPI").await.unwrap();
    while settle(&cut_off, &message, "+WPI").await.is_ok() {
        sleep(SECOND / 2).await;
    }
    let confirmed = cut_off.now().since(began);
    assert!(confirmed > 10 * SECOND && confirmed < 21 * SECOND, "{confirmed:?}");

    sleep(60 * SECOND).await;
    let subjects: Vec<_> = simulation.stored("Q").iter().map(|it| it.subject.clone()).collect();
    assert_eq!(subjects, ["q.a", "q.c"], "nothing is left of what it took in");
    assert_eq!(store(&cut_off, "q.b").await, StoreAnswer::Stored(3));
}

#[tokio::test(start_paused = true)]
async fn the_sides_of_a_split_do_not_hear_each_other() {
    let (simulation, cut_off, other) = served_by_three(5).await;
    let mut heard = cut_off.subscribe("a".into()).await.unwrap();
    sleep(SECOND).await;
    simulation.split(&["worker".into()], 30 * SECOND);
    other.publish(Outgoing::new("a", "lost")).await.unwrap();
    sleep(31 * SECOND).await;
    other.publish(Outgoing::new("a", "heard")).await.unwrap();
    assert_eq!(heard.next().await.unwrap().payload, "heard");
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_back_before_the_election_commits_what_it_took_in() {
    let (simulation, cut_off, _) = served_by_three(6).await;
    simulation.split(&["worker".into()], 2 * SECOND);
    assert_eq!(store(&cut_off, "q.a").await, StoreAnswer::InDoubt);
    sleep(2 * SECOND).await;
    assert_eq!(simulation.stored("Q").len(), 1);
    assert_eq!(store(&cut_off, "q.b").await, StoreAnswer::Stored(2));
}

#[tokio::test(start_paused = true)]
async fn a_replica_may_be_behind() {
    let (_, connection, _) = served_by_three(7).await;
    let mut found = 0;
    for number in 0..200 {
        store(&connection, &format!("put.secret.out.{number}")).await;
        found +=
            usize::from(api::read_any(&connection, "R", &format!("out.{number}")).await.unwrap().is_some());
    }
    assert!(found > 100 && found < 200, "{found}");
}
