//! Asking to cancel where nobody answers, or there is nothing to cancel: what the caller is told, and what is true.

use std::{future::IntoFuture, time::Duration};

use requite::{CallError, CancelAnswer, CancelError, Unavailable, async_nats::connection::State};
use requite_test::{NatsServer, Proxy};

use super::fixture::{ClerkClient, Office, SHOP, SOON, connect, stored, until, within};

/// How long it is tried, and how long the last try and the look before the first one may take.
const TRIED: Duration = Duration::from_secs(15 + 4 + 5);

/// A worker whose only slot is taken, and a caller behind a network that fails.
struct Far {
    office: Office,
    network: Proxy,
    client: ClerkClient,
}

impl Far {
    async fn new() -> Self {
        let office = Office::open().await;
        let network = Proxy::start(([127, 0, 0, 1], office.nats.port()).into()).await.unwrap();
        let client = ClerkClient::new(connect(&network.url(), SHOP).await);
        Self { office, network, client }
    }

    async fn is_down(&self) {
        let noticed = async || self.client.client().nats().unwrap().connection_state() != State::Connected;
        until("the client noticed the cut", noticed).await;
    }
}

#[tokio::test]
async fn without_a_server_it_is_not_known_whether_a_call_is_cancelled_and_asking_again_settles_it() {
    let far = Far::new().await;
    let running = within(SOON, far.client.queue("running".into()).start()).await.unwrap();
    far.office.clerk.has_begun(1).await;
    let waiting = within(SOON, far.client.queue("waiting".into()).start()).await.unwrap();
    far.network.cut().await;
    far.is_down().await;
    let error = within(TRIED + SOON, waiting.cancel()).await.unwrap_err();
    assert_eq!(error, CancelError::Unknown);
    let text = error.to_string();
    assert!(text.contains("may be cancelled or go on") && text.contains("again"), "{text}");
    far.network.heal().await.unwrap();
    assert_eq!(within(TRIED, waiting.cancel()).await, Ok(CancelAnswer::Signalled));
    far.office.clerk.let_go();
    match within(SOON, waiting).await {
        Err(CallError::Cancelled(cancelled)) => assert!(!cancelled.may_have_run),
        other => panic!("{other:?}"),
    }
    within(SOON, running).await.unwrap();
    assert_eq!(far.office.clerk.runs(), 1);
}

#[tokio::test]
async fn what_asks_to_cancel_survives_a_cut() {
    let far = Far::new().await;
    let _running = within(SOON, far.client.queue("running".into()).start()).await.unwrap();
    far.office.clerk.has_begun(1).await;
    let waiting = within(SOON, far.client.queue("waiting".into()).start()).await.unwrap();
    far.network.cut().await;
    far.is_down().await;
    let id = waiting.id().clone();
    let client = far.client.clone();
    let asks = async || client.cancel(&id).await;
    let heals = async || {
        // It has asked, and waits.
        tokio::task::yield_now().await;
        far.network.heal().await.unwrap();
    };
    let (cancels, ()) = within(TRIED, async { tokio::join!(asks(), heals()) }).await;
    assert_eq!(cancels, Ok(CancelAnswer::Signalled));
    far.office.clerk.let_go();
    assert!(matches!(within(SOON, waiting).await, Err(CallError::Cancelled(_))));
    assert_eq!(far.office.clerk.runs(), 1);
}

#[tokio::test]
async fn on_a_closed_connection_a_call_is_not_cancelled_and_goes_on() {
    let office = Office::open().await;
    let client = office.client().await;
    let call = within(SOON, client.hold("a".into()).key("order").start()).await.unwrap();
    office.clerk.has_begun(1).await;
    let nats = client.client().nats().unwrap();
    nats.drain().await.unwrap();
    until("it is closed", async || nats.publish("closed", "".into()).await.is_err()).await;
    let error = within(TRIED, call.cancel()).await.unwrap_err();
    assert_eq!(error, CancelError::Unavailable(Unavailable::Closed));
    assert!(error.to_string().contains("the call goes on"), "{error}");
    let other = office.client().await;
    let attached = tokio::spawn(other.attach_hold("order").into_future());
    office.clerk.let_go();
    assert_eq!(within(SOON, attached).await.unwrap().unwrap().run, 1);
}

#[tokio::test]
async fn where_a_service_was_never_set_up_nothing_is_cancelled() {
    let nats = NatsServer::start().await.unwrap();
    let client = ClerkClient::new(connect(&nats.url(), SHOP).await);
    let error = within(SOON, client.attach_hold("order").cancel()).await.unwrap_err();
    assert_eq!(error, CancelError::Unavailable(Unavailable::NoStream { service: "clerk".into() }));
}

/// A caller may not look into the queue, so it cannot be told that nothing is there.
#[tokio::test]
async fn what_nobody_has_called_is_cancelled_for_nobody_who_calls_later() {
    let office = Office::open().await;
    let client = office.client().await;
    let cancel = async || within(SOON, client.attach_stamp("order").cancel()).await;
    assert_eq!(cancel().await, Ok(CancelAnswer::Signalled));
    until("a worker has looked", async || stored(&office.nats, "rq_REQ_clerk").await == 0).await;
    assert_eq!(within(SOON, client.stamp("a".into()).key("order")).await.unwrap().run, 1);
    assert_eq!(cancel().await, Ok(CancelAnswer::AlreadyDone));
    // Of what has ended, and is not kept any more, no more is known.
    office.nats.ask("$JS.API.STREAM.PURGE.rq_OUT_clerk", "").await.unwrap();
    assert_eq!(cancel().await, Ok(CancelAnswer::Signalled));
    until("a worker has looked again", async || stored(&office.nats, "rq_REQ_clerk").await == 0).await;
    assert_eq!(within(SOON, client.stamp("a".into()).key("order")).await.unwrap().run, 2);
}
