//! Attaching to a call that somebody else of the same caller made: by key and by id, before and after its end.

use std::{future::IntoFuture, time::Duration};

use requite::{CallError, Reason, Unknown, Why};

use super::fixture::{ClerkClient, Office, SHOP, SOON, Stamped, connect, serve, stored, until, within};

#[tokio::test]
async fn a_running_call_is_attached_to_by_key_and_by_id() {
    let office = Office::open().await;
    let maker = office.client().await;
    let keyed = within(SOON, maker.hold("a".into()).key("order").start()).await.unwrap();
    let plain = within(SOON, maker.hold("b".into()).start()).await.unwrap();
    office.clerk.has_begun(2).await;

    let other = office.client().await;
    let (seen, mut signs) = tokio::sync::mpsc::unbounded_channel();
    let by_key = other.attach_hold("order").on_event(move |event| drop(seen.send(event.clone())));
    let by_key = tokio::spawn(by_key.into_future());
    let by_id = tokio::spawn(other.attach_hold("").id(plain.id().clone()).into_future());
    // A sign of life proves that the attached call listens while the handler still runs.
    within(SOON, signs.recv()).await.unwrap();
    office.clerk.let_go();

    let (by_key, by_id) = within(SOON, async { tokio::join!(by_key, by_id) }).await;
    assert_eq!(by_key.unwrap().unwrap(), within(SOON, keyed).await.unwrap());
    assert_eq!(by_id.unwrap().unwrap(), within(SOON, plain).await.unwrap());
    assert_eq!(office.clerk.runs(), 2);
}

#[tokio::test]
async fn a_finished_call_is_attached_to_by_key_and_by_id() {
    let office = Office::open().await;
    let maker = office.client().await;
    let keyed = within(SOON, maker.stamp("a".into()).key("order")).await.unwrap();
    let plain = within(SOON, maker.stamp("b".into()).start()).await.unwrap();
    let id = plain.id().clone();
    assert_eq!(within(SOON, plain).await.unwrap(), Stamped { run: 2, text: "b".into() });
    drop(maker);

    let other = office.client().await;
    assert_eq!(within(SOON, other.attach_stamp("order")).await.unwrap(), keyed);
    // Ids survive as text, in a file or a database.
    let id = id.to_string().parse().unwrap();
    assert_eq!(within(SOON, other.attach_stamp("").id(id)).await.unwrap().run, 2);
    assert_eq!(office.clerk.runs(), 2);
}

#[tokio::test]
async fn an_id_of_another_caller_or_method_is_not_found() {
    let office = Office::open().await;
    let shop = office.client_of("shop").await;
    let call = within(SOON, shop.stamp("a".into()).start()).await.unwrap();
    let id = call.id().clone();
    within(SOON, call).await.unwrap();
    let wait = Duration::from_millis(200);
    let bank = office.client_of("bank").await;
    for (attached, who) in [
        (bank.attach_stamp("").id(id.clone()), "another caller"),
        (shop.attach_hold("").id(id.clone()), "another method"),
        (shop.attach_stamp("never called"), "a key that was never used"),
    ] {
        let answer = within(SOON, attached.deadline(wait)).await;
        assert!(
            matches!(answer, Err(CallError::Unknown(Unknown { why: Why::DeadlinePassed, .. }))),
            "{who}: {answer:?}"
        );
    }
}

/// The caller was told "unknown"; the id that it was given tells later how it ended.
#[tokio::test]
async fn the_id_in_unknown_leads_to_the_outcome() {
    let office = Office::open().await;
    let client = office.client().await;
    // What has not begun by then never does.
    let unknown = within(SOON, client.hold("a".into()).deadline(SOON / 3)).await;
    let Err(CallError::Unknown(Unknown { id, why: Why::DeadlinePassed, .. })) = unknown else {
        panic!("{unknown:?}")
    };
    office.clerk.has_begun(1).await;
    office.clerk.let_go();
    let late = within(SOON, office.client().await.attach_hold("").id(id)).await.unwrap();
    assert_eq!(late, Stamped { run: 1, text: "a".into() });
}

/// Not `Rejected`: what a single server stored before the worker came may have been in a dead worker's hands, and after
/// a kill the server has forgotten that.
#[tokio::test]
async fn a_call_that_expired_in_the_queue_of_nobody_never_runs() {
    let (nats, clerk) = Office::open().await.close().await;
    let client = ClerkClient::new(connect(&nats.url(), SHOP).await);
    let deadline = Duration::from_millis(300);
    let unknown = within(SOON, client.stamp("a".into()).key("order").deadline(deadline)).await;
    assert!(matches!(unknown, Err(CallError::Unknown(_))), "{unknown:?}");
    until("the request is stored", async || stored(&nats, "rq_REQ_clerk").await == 1).await;
    // It counts from when the request was stored, which may have been a moment ago.
    tokio::time::sleep(deadline * 2).await;

    let worker = serve(&nats.url(), clerk.clone()).await;
    let late = within(SOON, client.attach_stamp("order")).await;
    let Err(CallError::Aborted(aborted)) = late else { panic!("{late:?}") };
    assert_eq!(aborted.reason, Reason::Expired);
    until("the outcome is counted", async || worker.stats().outcomes == 1).await;
    assert_eq!(clerk.runs(), 0);
}
