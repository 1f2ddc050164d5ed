//! Asking to cancel at the wrong time: before the call is made, and when its outcome is not kept any more.

use requite::{CallError, CancelAnswer, prelude::*};
use requite_test::NatsServer;
use tokio::sync::watch;

use super::fixture::{ClerkClient, Office, SHOP, SOON, connect, serve, stored, until, within};

/// Heeds what it is told.
#[derive(Clone, Default)]
struct Guard {
    stands: watch::Sender<bool>,
    relieved: watch::Sender<bool>,
}

#[service(name = "guard")]
impl Guard {
    /// Stands until it is cancelled or the test lets it go; which of both.
    #[handler(lease = "6s")]
    async fn stand(&self, cx: &Context) -> String {
        self.stands.send_replace(true);
        let mut relieved = self.relieved.subscribe();
        tokio::select! {
            () = cx.cancelled() => "cancelled".to_owned(),
            _ = relieved.wait_for(|relieved| *relieved) => "relieved".to_owned(),
        }
    }
}

/// Forgets all outcomes, as their retention does.
async fn forget(office: &Office) {
    let purge = office.nats.ask("$JS.API.STREAM.PURGE.rq_OUT_clerk", "").await.unwrap();
    let purge: serde_json::Value = serde_json::from_slice(&purge).unwrap();
    assert_eq!(purge["success"], true, "{purge}");
}

#[tokio::test]
async fn a_call_that_knows_its_end_says_so_also_when_the_outcome_is_not_kept() {
    let office = Office::open().await;
    let client = office.client().await;
    office.clerk.let_go();
    let done = within(SOON, client.hold("done".into()).start()).await.unwrap();
    let mut watched = within(SOON, client.hold("watched".into()).start()).await.unwrap();
    let mut events = watched.events();
    while within(SOON, events.next()).await.is_some() {}
    office.clerk.hold_back();
    let busy = within(SOON, client.queue("busy".into()).start()).await.unwrap();
    office.clerk.has_begun(3).await;
    let cancelled = within(SOON, client.queue("cancelled".into()).start()).await.unwrap();
    assert_eq!(within(SOON, cancelled.cancel()).await, Ok(CancelAnswer::Signalled));
    office.clerk.let_go();
    within(SOON, busy).await.unwrap();
    until("all have ended", async || office.worker.stats().outcomes == 4).await;
    // The answer to the last of them is here, so all are.
    within(SOON, client.stamp("last".into())).await.unwrap();

    forget(&office).await;
    assert_eq!(within(SOON, done.cancel()).await, Ok(CancelAnswer::AlreadyDone));
    assert_eq!(within(SOON, watched.cancel()).await, Ok(CancelAnswer::AlreadyDone));
    assert_eq!(within(SOON, cancelled.cancel()).await, Ok(CancelAnswer::CancelledBeforeStart));
    assert_eq!(within(SOON, done).await.unwrap().text, "done");
    within(SOON, watched).await.unwrap();
}

/// Nobody knows whether such a call was made.
#[tokio::test]
async fn whoever_has_only_the_id_is_told_that_it_is_stored_and_nothing_comes_of_it() {
    let office = Office::open().await;
    let client = office.client().await;
    let first = within(SOON, client.stamp("a".into()).key("order")).await.unwrap();
    forget(&office).await;
    assert_eq!(within(SOON, client.attach_stamp("order").cancel()).await, Ok(CancelAnswer::Signalled));
    let second = within(SOON, client.stamp("a".into()).key("order")).await.unwrap();
    assert_eq!((first.run, second.run), (1, 2));
}

#[tokio::test]
async fn what_asks_to_cancel_counts_only_for_a_call_that_was_made_before() {
    let office = Office::open().await;
    let client = ClerkClient::new(connect(&office.nats.url(), SHOP).await);
    let (nats, clerk) = office.close().await;
    let before = within(SOON, client.stamp("before".into()).key("before").start()).await.unwrap();
    for key in ["before", "later", "never"] {
        assert_eq!(within(SOON, client.attach_stamp(key).cancel()).await, Ok(CancelAnswer::Signalled));
    }
    let later = within(SOON, client.stamp("later".into()).key("later").start()).await.unwrap();
    let _worker = serve(&nats.url(), clerk.clone()).await;

    assert_eq!(within(SOON, later).await.unwrap().text, "later");
    let before = within(SOON, before).await;
    assert!(matches!(before, Err(CallError::Cancelled(_))), "{before:?}");
    assert_eq!(clerk.runs(), 1);
    until("nothing waits any more", async || stored(&nats, "rq_REQ_clerk").await == 0).await;
}

/// While a handler runs that began after it.
#[tokio::test]
async fn what_was_asked_before_does_not_reach_a_handler_that_runs() {
    let nats = NatsServer::start().await.unwrap();
    let (guard, client) = (Guard::default(), GuardClient::new(connect(&nats.url(), SHOP).await));
    serve(&nats.url(), guard.clone()).await.shutdown().await;
    let pause = async |until: &str| {
        let subject = "$JS.API.CONSUMER.PAUSE.rq_REQ_guard.-cancel";
        let paused = nats.ask(subject, format!(r#"{{"pause_until":"{until}"}}"#)).await.unwrap();
        let paused: serde_json::Value = serde_json::from_slice(&paused).unwrap();
        assert!(paused.get("error").is_none(), "{paused}");
    };
    pause("2999-01-01T00:00:00Z").await;
    assert_eq!(within(SOON, client.attach_stand("later").cancel()).await, Ok(CancelAnswer::Signalled));
    let later = within(SOON, client.stand().key("later").start()).await.unwrap();
    let _worker = serve(&nats.url(), guard.clone()).await;
    within(SOON, guard.stands.subscribe().wait_for(|stands| *stands)).await.unwrap();
    until("it is claimed", async || stored(&nats, "rq_OUT_guard").await == 1).await;
    pause("2000-01-01T00:00:00Z").await;
    until("only the call is stored", async || stored(&nats, "rq_REQ_guard").await == 1).await;
    guard.relieved.send_replace(true);
    assert_eq!(within(SOON, later).await.unwrap(), "relieved");
}
