//! The oldest and the newest server that are supported, and one between: one small life of a call on each.

use requite::{CallError, Rejected};
use requite_test::NatsServer;

use super::fixture::{Office, SOON, Stamped, stored, until, within};

async fn a_call_lives_on(version: &str) {
    let nats = NatsServer::builder().version(version).start().await.unwrap();
    let mut office = Office::open_on(nats).await;
    let client = office.client().await;
    assert_eq!(client.client().nats().unwrap().server_info().version, version);

    let plain = within(SOON, client.stamp("a".into())).await.unwrap();
    assert_eq!(plain, Stamped { run: 1, text: "a".into() });
    let first = within(SOON, client.stamp("b".into()).key("order")).await.unwrap();
    assert_eq!(within(SOON, client.stamp("b".into()).key("order")).await.unwrap(), first);
    let reused = within(SOON, client.stamp("c".into()).key("order")).await;
    assert!(matches!(reused, Err(CallError::Rejected(Rejected::IdReused))), "{reused:?}");

    until("the requests are acked", async || stored(&office.nats, "rq_REQ_clerk").await == 0).await;
    office.nats.restart().await.unwrap();
    assert_eq!(within(SOON, client.stamp("b".into()).key("order")).await.unwrap(), first);
    assert_eq!(within(SOON, office.client().await.attach_stamp("order")).await.unwrap(), first);
    until("the worker met the second copy", async || office.worker.stats().known_outcomes == 1).await;
    assert_eq!(office.clerk.runs(), 2);

    let after = within(SOON, client.stamp("d".into())).await.unwrap();
    assert_eq!(after.run, 3);
}

#[tokio::test]
async fn a_call_lives_on_the_oldest_server() {
    a_call_lives_on("2.12.8").await;
}

#[tokio::test]
async fn a_call_lives_on_the_server_between() {
    a_call_lives_on("2.14.6").await;
}

#[tokio::test]
async fn a_call_lives_on_the_newest_server() {
    a_call_lives_on("2.15.1").await;
}
