//! Requests that are not accepted: every reason its own error, told soon, and nothing runs.

use std::time::Duration;

use requite::{CallError, Rejected, ServeError, SetupError, StreamLimits, Unavailable, prelude::*};
use requite_test::NatsServer;

use super::fixture::{Clerk, ClerkClient, Office, SHOP, SOON, Stamped, connect, stored, until, within};

/// Where the server answers, the caller knows within a second; twice that is for a busy machine.
const AT_ONCE: Duration = Duration::from_secs(2);

#[tokio::test]
async fn a_full_queue_is_told_apart() {
    let nats = NatsServer::start().await.unwrap();
    let mut limits = StreamLimits::default();
    limits.queued_requests = 2;
    let office = Server::new(&connect(&nats.url(), "office").await).limits(limits);
    office.serve(Clerk::new()).start().await.unwrap().shutdown().await;

    let client = ClerkClient::new(connect(&nats.url(), SHOP).await);
    for text in ["a", "b"] {
        let _queued = within(AT_ONCE, client.stamp(text.into()).key(text).start()).await.unwrap();
    }
    let full = within(AT_ONCE, client.stamp("c".into())).await;
    assert!(matches!(full, Err(CallError::Unavailable(Unavailable::QueueFull { .. }))), "{full:?}");
    let full = within(AT_ONCE, client.stamp("c".into()).key("c")).await;
    assert!(matches!(full, Err(CallError::Unavailable(Unavailable::QueueFull { .. }))), "{full:?}");
    // What is queued already is still found.
    let _queued = within(AT_ONCE, client.stamp("a".into()).key("a").start()).await.unwrap();
}

/// The outcome is stored: that there is no room for new requests must not hide it.
#[tokio::test]
async fn a_retry_gets_its_outcome_while_the_queue_is_full() {
    let nats = NatsServer::start().await.unwrap();
    let mut limits = StreamLimits::default();
    limits.queued_requests = 1;
    let clerk = Clerk::new();
    let office = Server::new(&connect(&nats.url(), "office").await).limits(limits);
    let worker = office.serve(clerk.clone()).start().await.unwrap();
    let client = ClerkClient::new(connect(&nats.url(), SHOP).await);
    let first = within(SOON, client.stamp("a".into()).key("order")).await.unwrap();
    until("the request is acked", async || stored(&nats, "rq_REQ_clerk").await == 0).await;
    let held = within(SOON, client.hold("fills the queue".into()).start()).await.unwrap();
    clerk.has_begun(2).await;

    // Beyond the window in which the server knows the request's id, a retry is a new message to it.
    forget_message_ids(&nats).await;
    let again = within(SOON, client.stamp("a".into()).key("order")).await.unwrap();
    assert_eq!(again, first);
    let reused = within(SOON, client.stamp("b".into()).key("order")).await;
    assert!(matches!(reused, Err(CallError::Rejected(Rejected::IdReused))), "{reused:?}");
    clerk.let_go();
    within(SOON, held).await.unwrap();
    drop(worker);
}

/// Shortens the window in which the server drops a publish whose id it has seen, and waits until it is over.
async fn forget_message_ids(nats: &NatsServer) {
    let mut config = super::fixture::info(nats, "rq_REQ_clerk").await["config"].take();
    config["duplicate_window"] = 100_000_000.into();
    let updated = nats.ask("$JS.API.STREAM.UPDATE.rq_REQ_clerk", config.to_string()).await.unwrap();
    let updated: serde_json::Value = serde_json::from_slice(&updated).unwrap();
    assert!(updated["error"].is_null(), "{updated}");
    tokio::time::sleep(Duration::from_millis(200)).await;
}

#[tokio::test]
async fn a_service_that_was_never_set_up_is_told_apart() {
    let nats = NatsServer::start().await.unwrap();
    let client = ClerkClient::new(connect(&nats.url(), SHOP).await);
    for call in [client.stamp("a".into()), client.stamp("a".into()).key("order")] {
        let missing = within(AT_ONCE, call).await;
        let Err(CallError::Unavailable(Unavailable::NoStream { service })) = missing else {
            panic!("{missing:?}")
        };
        assert_eq!(service, "clerk");
    }
}

#[tokio::test]
async fn a_deleted_stream_is_told_apart() {
    let (nats, _) = Office::open().await.close().await;
    nats.ask("$JS.API.STREAM.DELETE.rq_REQ_clerk", "").await.unwrap();
    let client = ClerkClient::new(connect(&nats.url(), SHOP).await);
    let missing = within(AT_ONCE, client.stamp("a".into())).await;
    assert!(matches!(missing, Err(CallError::Unavailable(Unavailable::NoStream { .. }))), "{missing:?}");
}

/// The clerk of a later version, which the workers do not have yet.
#[service(name = "clerk")]
#[allow(dead_code)] // only its client is used
trait LaterClerk {
    #[handler]
    async fn shred(&self, text: String) -> Stamped;
}

#[tokio::test]
async fn a_method_that_nobody_set_up_is_told_apart() {
    let office = Office::open().await;
    let client = LaterClerkClient::new(connect(&office.nats.url(), SHOP).await);
    for call in [client.shred("a".into()), client.shred("a".into()).key("order")] {
        let missing = within(AT_ONCE, call).await;
        let Err(CallError::Unavailable(Unavailable::NoSuchMethod { method })) = missing else {
            panic!("{missing:?}")
        };
        assert_eq!(method, "shred");
    }
}

#[tokio::test]
async fn a_method_without_a_worker_is_refused_where_one_is_required() {
    let (nats, clerk) = Office::open().await.close().await;
    let client = ClerkClient::new(connect(&nats.url(), SHOP).await);
    let nobody = within(AT_ONCE, client.stamp("a".into()).require_worker()).await;
    let Err(CallError::Unavailable(Unavailable::NoWorker { method })) = nobody else { panic!("{nobody:?}") };
    assert_eq!(method, "stamp");
    assert_eq!(stored(&nats, "rq_REQ_clerk").await, 0, "it was not published");

    let _worker = super::fixture::serve(&nats.url(), clerk).await;
    let answer = within(SOON, client.stamp("a".into()).require_worker()).await.unwrap();
    assert_eq!(answer, Stamped { run: 1, text: "a".into() });
}

#[tokio::test]
async fn a_request_larger_than_the_server_takes_is_rejected_and_hurts_nobody() {
    let office = Office::open().await;
    let client = office.client().await;
    let held = within(SOON, client.hold("a".into()).start()).await.unwrap();
    let max = client.client().nats().unwrap().max_payload();
    // Around the limit, where the headers decide.
    for size in [max - 300, max - 150, max - 100, max - 10, max, max + 1, 4 * max] {
        let answer = within(SOON, client.stamp("x".repeat(size)).key(size.to_string())).await;
        match answer {
            Err(CallError::Rejected(Rejected::TooLarge { .. })) => assert!(size > max - 300, "{size}"),
            // The request fits, the record with the same text in it does not.
            Err(CallError::Aborted(aborted)) => {
                assert!(size < max - 10 && aborted.reason == requite::Reason::TooLarge, "{size}: {aborted}");
            }
            other => panic!("{size}: {other:?}"),
        }
    }
    let reconnects =
        client.client().nats().unwrap().statistics().connects.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(reconnects, 1, "the server must not have closed the connection");
    office.clerk.let_go();
    assert_eq!(within(SOON, held).await.unwrap().text, "a");
}

#[tokio::test]
async fn a_denied_publish_is_told_apart() {
    let config = r#"authorization { users: [
        { user: "root", password: "r" }
        { user: "shop", password: "s", permissions: { publish: { deny: "rq.req.clerk.hold.>" } } }
    ] }"#;
    let nats = NatsServer::builder().config(config).credentials("root", "r").start().await.unwrap();
    let clerk = Clerk::new();
    let _worker = super::fixture::serve(&nats.url_as("root", "r"), clerk.clone()).await;
    let client = ClerkClient::new(connect(&nats.url_as("shop", "s"), SHOP).await);
    clerk.let_go();
    for call in [client.hold("a".into()), client.hold("a".into()).key("order")] {
        let denied = within(AT_ONCE, call).await;
        let Err(CallError::Unavailable(Unavailable::PermissionDenied { subject })) = denied else {
            panic!("{denied:?}")
        };
        assert!(subject.starts_with("rq.req.clerk.hold.shop."), "{subject}");
    }
    assert_eq!(within(SOON, client.stamp("b".into())).await.unwrap().run, 1);
}

/// Not the caller's error, but the one behind his `NoStream`: the server's own words reach whoever sets up.
#[tokio::test]
async fn streams_that_the_server_has_no_room_for_are_refused_in_its_words() {
    let nats = NatsServer::start().await.unwrap();
    let mut limits = StreamLimits::default();
    limits.record_bytes = 1 << 50;
    let office = Server::new(&connect(&nats.url(), "office").await).limits(limits);
    let refused = within(AT_ONCE, office.serve(Clerk::new()).start()).await.map(drop).unwrap_err();
    let ServeError::Setup(SetupError::Refused { what, text }) = &refused else { panic!("{refused:?}") };
    assert!(what == "rq_OUT_clerk" && text.contains("storage"), "{refused}");
}
