//! A call that is made again: while its handler runs, after its end, after a restart of the server.

use std::{future::IntoFuture, time::Duration};

use super::fixture::{Office, SOON, Stamped, stored, until, within};

/// A caller that waits no longer than this: the workload of these tests.
const PATIENCE: Duration = Duration::from_millis(60);

/// How soon a worker serves again after its server is back: no time-out of a question to the old one may be in it.
const BACK: Duration = Duration::from_secs(4);

#[tokio::test]
async fn twenty_impatient_retries_share_one_run_and_its_answer() {
    let office = Office::open().await;
    let client = office.client().await;
    for _ in 0..20 {
        let lost_patience = tokio::time::timeout(PATIENCE, client.hold("a".into()).key("order")).await;
        assert!(lost_patience.is_err(), "answered before the handler ended: {lost_patience:?}");
    }
    office.clerk.has_begun(1).await;
    office.clerk.let_go();
    for _ in 0..20 {
        let answer = within(SOON, client.hold("a".into()).key("order")).await.unwrap();
        assert_eq!(answer, Stamped { run: 1, text: "a".into() });
    }
    assert_eq!((office.clerk.runs(), office.worker.stats().runs), (1, 1));
}

#[tokio::test]
async fn retries_that_wait_together_all_get_the_one_answer() {
    let office = Office::open().await;
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let client = office.client().await;
        waiting.spawn(async move { client.hold("a".into()).key("order").await.unwrap() });
    }
    office.clerk.has_begun(1).await;
    office.clerk.let_go();
    let answers = within(SOON, waiting.join_all()).await;
    assert_eq!(answers, vec![Stamped { run: 1, text: "a".into() }; 20]);
    assert_eq!(office.clerk.runs(), 1);
}

#[tokio::test]
async fn retry_after_the_outcome_gets_the_stored_one() {
    let office = Office::open().await;
    let first = within(SOON, office.client().await.stamp("a".into()).key("order")).await.unwrap();
    let again = within(SOON, office.client().await.stamp("a".into()).key("order")).await.unwrap();
    assert_eq!(again, first);
    assert_eq!(office.clerk.runs(), 1);
}

/// A restart makes the server forget the ids of messages that were acked: it stores the retry as a new request, and
/// only the record keeps it from running.
#[tokio::test]
async fn retry_after_the_outcome_and_a_restart_gets_the_stored_one() {
    let mut office = Office::open().await;
    let first = within(SOON, office.client().await.stamp("a".into()).key("order")).await.unwrap();
    until("the request is acked", async || stored(&office.nats, "rq_REQ_clerk").await == 0).await;
    office.nats.restart().await.unwrap();

    let again = within(SOON, office.client().await.stamp("a".into()).key("order")).await.unwrap();
    assert_eq!(again, first);
    until("the worker met the second copy", async || office.worker.stats().known_outcomes == 1).await;
    until("the second copy is acked", async || stored(&office.nats, "rq_REQ_clerk").await == 0).await;
    assert_eq!(office.clerk.runs(), 1);

    // The same from a client that lived through the restart.
    let client = office.client().await;
    let other = within(SOON, client.stamp("b".into()).key("other")).await.unwrap();
    until("the request is acked", async || stored(&office.nats, "rq_REQ_clerk").await == 0).await;
    office.nats.restart().await.unwrap();
    // The worker is back before the retry comes, and takes what comes now for new unless it is told otherwise.
    within(BACK, client.stamp("between".into())).await.unwrap();
    assert_eq!(within(SOON, client.stamp("b".into()).key("other")).await.unwrap(), other);
    until("the worker met this copy too", async || office.worker.stats().known_outcomes == 2).await;
    assert_eq!(office.clerk.runs(), 3);
}

/// The server is killed while the handler runs: what was accepted is kept, and the retry finds it.
#[tokio::test]
async fn retry_across_a_killed_server_finds_the_running_call() {
    let mut office = Office::open().await;
    let client = office.client().await;
    let call = within(SOON, client.hold("a".into()).key("order").start()).await.unwrap();
    office.clerk.has_begun(1).await;
    office.nats.kill9().await;
    office.nats.restart().await.unwrap();

    let again = within(SOON, office.client().await.hold("a".into()).key("order").start()).await.unwrap();
    assert_eq!(again.id(), call.id());
    office.clerk.let_go();
    let (first, second) =
        within(2 * SOON, async { tokio::join!(call.into_future(), again.into_future()) }).await;
    assert_eq!(first.unwrap(), Stamped { run: 1, text: "a".into() });
    assert_eq!(second.unwrap().run, 1);
    assert_eq!(office.clerk.runs(), 1);
}
