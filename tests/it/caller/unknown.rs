//! Requests that were accepted and whose end is not known yet: every limit its own reason, with the id to attach to.

use std::{
    future::IntoFuture,
    time::{Duration, Instant},
};

use requite::{CallError, Unknown, Why};
use requite_test::{NatsServer, Proxy};
use tokio::runtime::Builder;

use super::fixture::{Clerk, ClerkClient, Office, SHOP, SOON, Stamped, connect, serve, within};

/// How long workers are asked before a limit counts as passed, with room for a busy machine.
const ASKED: Duration = Duration::from_secs(5);

fn why<T: std::fmt::Debug, E: std::fmt::Debug>(answer: Result<T, CallError<E>>) -> Why {
    match answer {
        Err(error @ CallError::Unknown(Unknown { why, .. })) => {
            assert!(error.may_still_run());
            why
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn no_worker_by_start_within_is_told_apart() {
    let (nats, clerk) = Office::open().await.close().await;
    let client = ClerkClient::new(connect(&nats.url(), SHOP).await);
    let call = client.stamp("a".into()).key("order").start_within(Duration::from_millis(100));
    assert_eq!(why(within(ASKED, call).await), Why::NoWorker);

    // It was accepted: the first worker that comes runs it.
    let _worker = serve(&nats.url(), clerk).await;
    let late = within(SOON, client.attach_stamp("order")).await.unwrap();
    assert_eq!(late, Stamped { run: 1, text: "a".into() });
}

#[tokio::test]
async fn a_busy_worker_by_start_within_is_told_apart() {
    let office = Office::open().await;
    let client = office.client().await;
    let busy = within(SOON, client.queue("busy".into()).start()).await.unwrap();
    office.clerk.has_begun(1).await;
    let call = client.queue("a".into()).key("order").start_within(Duration::from_millis(100));
    assert_eq!(why(within(ASKED, call).await), Why::NotStarted);

    office.clerk.let_go();
    within(SOON, busy).await.unwrap();
    assert_eq!(within(SOON, client.attach_queue("order")).await.unwrap().run, 2);
}

/// A handler that runs is found, although it gave no sign before the limit passed.
#[tokio::test]
async fn a_call_that_runs_outlives_start_within() {
    let office = Office::open().await;
    let client = office.client().await;
    within(SOON, client.stamp("warm".into())).await.unwrap();
    let call = tokio::spawn(client.hold("a".into()).start_within(Duration::from_millis(1)).into_future());
    office.clerk.has_begun(2).await;
    // A second call whose limit passes meanwhile: workers are asked for two seconds at most.
    let queued = client.queue("b".into()).start_within(Duration::from_millis(1));
    let queued = tokio::spawn(queued.into_future());
    office.clerk.has_begun(3).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    office.clerk.let_go();
    assert_eq!(within(SOON, call).await.unwrap().unwrap().text, "a");
    assert_eq!(within(SOON, queued).await.unwrap().unwrap().text, "b");
}

#[tokio::test]
async fn a_dead_worker_is_told_by_its_silence() {
    let (nats, _) = Office::open().await.close().await;
    let proxy = Proxy::start(([127, 0, 0, 1], nats.port()).into()).await.unwrap();
    let clerk = Clerk::new();
    let _worker = serve(&proxy.url(), clerk.clone()).await;
    let client = ClerkClient::new(connect(&nats.url(), SHOP).await);
    let call =
        within(SOON, client.hold("a".into()).silent_for(Duration::from_secs(2)).start()).await.unwrap();
    let id = call.id().clone();
    clerk.has_begun(1).await;
    proxy.cut().await;
    let answer = within(Duration::from_secs(2) + 2 * ASKED, call).await;
    assert!(matches!(&answer, Err(CallError::Unknown(unknown)) if unknown.id == id), "{answer:?}");
    assert_eq!(why(answer), Why::Silent);
}

#[tokio::test]
async fn a_living_worker_is_never_called_silent() {
    let office = Office::open().await;
    let client = office.client().await;
    // Two heartbeats of a lease of six seconds, and a second for a busy machine.
    let limit = Duration::from_secs(3);
    let call = within(SOON, client.hold("a".into()).silent_for(limit).start()).await.unwrap();
    let call = tokio::spawn(call.into_future());
    tokio::time::sleep(2 * limit + Duration::from_secs(1)).await;
    office.clerk.let_go();
    assert_eq!(within(SOON, call).await.unwrap().unwrap().run, 1);
}

#[tokio::test]
async fn the_deadline_ends_a_call_in_every_phase() {
    let deadline = Duration::from_millis(500);
    let late = deadline + Duration::from_secs(1);
    let office = Office::open().await;
    let client = office.client().await;
    // Running.
    let begun = Instant::now();
    assert_eq!(why(client.hold("a".into()).deadline(deadline).await), Why::DeadlinePassed);
    assert!((deadline..late).contains(&begun.elapsed()), "running: {:?}", begun.elapsed());
    // Queued behind another one.
    let busy = within(SOON, client.queue("busy".into()).start()).await.unwrap();
    let begun = Instant::now();
    assert_eq!(why(client.queue("b".into()).deadline(deadline).await), Why::DeadlinePassed);
    assert!((deadline..late).contains(&begun.elapsed()), "queued: {:?}", begun.elapsed());
    // While the connection is down: nobody knows whether it was accepted.
    let mut nats = office.nats;
    nats.pause().unwrap();
    let begun = Instant::now();
    assert_eq!(why(client.stamp("c".into()).deadline(deadline).await), Why::AcceptanceUnknown);
    assert!((deadline..late).contains(&begun.elapsed()), "not accepted: {:?}", begun.elapsed());
    let begun = Instant::now();
    assert_eq!(why(client.attach_stamp("c").deadline(deadline).await), Why::DeadlinePassed);
    assert!((deadline..late).contains(&begun.elapsed()), "attached: {:?}", begun.elapsed());
    nats.resume().unwrap();
    drop(busy);
}

/// A client's own tasks live where it was connected, and that may stand still.
#[test]
fn the_deadline_ends_a_call_that_another_runtime_awaits() {
    let runtime = || Builder::new_current_thread().enable_all().build().unwrap();
    let (servers, clients, calls) = (runtime(), runtime(), runtime());
    let nats = servers.block_on(NatsServer::start()).unwrap();
    let client = clients.block_on(async {
        let client = ClerkClient::new(connect(&nats.url(), SHOP).await);
        // Lets the client's tasks begin.
        tokio::task::yield_now().await;
        client
    });
    let call = client.stamp("a".into()).deadline(Duration::from_millis(500));
    let answer = calls.block_on(async { within(SOON, call).await });
    assert_eq!(why(answer), Why::AcceptanceUnknown);
}

#[tokio::test]
async fn acceptance_in_doubt_ends_at_accept_within() {
    let office = Office::open().await;
    let client = office.client().await;
    let mut nats = office.nats;
    nats.pause().unwrap();
    let patience = Duration::from_secs(1);
    let begun = Instant::now();
    let call = client.stamp("a".into()).key("order").accept_within(patience);
    assert_eq!(why(call.await), Why::AcceptanceUnknown);
    assert!((patience..2 * patience).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    nats.resume().unwrap();
    // The publish was on its way all the time.
    assert_eq!(within(SOON, client.stamp("a".into()).key("order")).await.unwrap().run, 1);
}
