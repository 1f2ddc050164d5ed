//! Callers that stop to wait: the request goes on, and nothing of the caller stays behind.

use std::{future::IntoFuture, time::Duration};

use requite::{CallError, Unavailable};
use requite_test::NatsServer;

use super::fixture::{Office, SOON, Stamped, until, within};

#[tokio::test]
async fn dropping_a_call_does_not_cancel_it() {
    let office = Office::open().await;
    let client = office.client().await;
    let call = tokio::spawn(client.hold("a".into()).key("order").into_future());
    office.clerk.has_begun(1).await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    drop(client);

    office.clerk.let_go();
    let answer = within(SOON, office.client().await.attach_hold("order")).await.unwrap();
    assert_eq!(answer, Stamped { run: 1, text: "a".into() });
}

#[tokio::test]
async fn dropping_an_accepted_call_does_not_cancel_it() {
    let office = Office::open().await;
    let call = within(SOON, office.client().await.hold("a".into()).start()).await.unwrap();
    let id = call.id().clone();
    office.clerk.has_begun(1).await;
    drop(call);
    office.clerk.let_go();
    let answer = within(SOON, office.client().await.attach_hold("").id(id)).await.unwrap();
    assert_eq!(answer, Stamped { run: 1, text: "a".into() });
}

/// Keyed calls subscribe for themselves. However early or late they are dropped, the server is told.
#[tokio::test]
async fn dropped_calls_leave_no_subscription_behind() {
    let office = Office::open().await;
    let client = office.client().await;
    within(SOON, client.stamp("warm".into())).await.unwrap();
    let before = subscriptions(&office.nats).await;
    for number in 0..100 {
        let call = client.hold("a".into()).key(format!("order {number}"));
        let _ = tokio::time::timeout(Duration::from_micros(50 * number), call).await;
    }
    let held = within(SOON, client.hold("a".into()).key("held").start()).await.unwrap();
    assert!(subscriptions(&office.nats).await > before, "a call that waits listens");
    drop(held);
    until("all are gone", async || subscriptions(&office.nats).await == before).await;
}

#[tokio::test]
async fn a_dropped_client_leaves_no_connection_behind() {
    let office = Office::open().await;
    let before = monitored(&office.nats, "/connz", "num_connections").await;
    let client = office.client().await;
    let call = within(SOON, client.hold("a".into()).key("order").start()).await.unwrap();
    assert_eq!(monitored(&office.nats, "/connz", "num_connections").await, before + 1);
    drop((client, call));
    until("it is gone", async || monitored(&office.nats, "/connz", "num_connections").await == before).await;
}

/// Whoever shares the connection may close it: calls end then, and do not wait for their limits.
#[tokio::test]
async fn a_connection_that_was_closed_ends_calls_at_once() {
    let office = Office::open().await;
    let client = office.client().await;
    within(SOON, client.stamp("warm".into())).await.unwrap();
    client.client().nats().unwrap().drain().await.unwrap();
    for _ in 0..2 {
        let error = within(SOON, client.stamp("a".into())).await.unwrap_err();
        assert!(matches!(error, CallError::Unknown(_) | CallError::Unavailable(_)), "{error:?}");
    }
    let error = within(SOON, client.stamp("a".into()).key("order")).await.unwrap_err();
    assert!(matches!(error, CallError::Unavailable(Unavailable::Closed)), "{error:?}");
}

async fn subscriptions(nats: &NatsServer) -> u64 {
    monitored(nats, "/varz", "subscriptions").await
}

/// A number that the server's monitor shows.
async fn monitored(nats: &NatsServer, path: &str, field: &str) -> u64 {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let address = nats.monitor_url().replace("http://", "");
    let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    serde_json::from_str::<serde_json::Value>(body).unwrap()[field].as_u64().unwrap()
}
