//! Keys: what makes two calls one, what keeps them apart, and which texts may be one.

use std::{
    future::IntoFuture,
    sync::{Arc, Mutex},
};

use requite::{CallError, CallEvent, Client, Rejected};

use super::fixture::{ClerkClient, Office, SHOP, SOON, within};

#[tokio::test]
async fn one_key_from_two_processes_is_one_run_with_two_equal_answers() {
    let office = Office::open().await;
    let (one, two) = (office.client().await, office.client().await);
    let first = within(SOON, one.hold("a".into()).key("order").start()).await.unwrap();
    let second = within(SOON, two.hold("a".into()).key("order").start()).await.unwrap();
    assert_eq!(first.id(), second.id());
    office.clerk.has_begun(1).await;
    office.clerk.let_go();
    let (first, second) =
        within(SOON, async { tokio::join!(first.into_future(), second.into_future()) }).await;
    assert_eq!(first.unwrap(), second.unwrap());
    assert_eq!(office.clerk.runs(), 1);
}

#[tokio::test]
async fn a_key_with_another_payload_is_refused_while_the_first_runs_and_after_its_end() {
    let office = Office::open().await;
    let (one, two) = (office.client().await, office.client().await);
    let first = within(SOON, one.hold("a".into()).key("order").start()).await.unwrap();
    office.clerk.has_begun(1).await;

    let running = within(SOON, two.hold("b".into()).key("order")).await;
    assert!(matches!(running, Err(CallError::Rejected(Rejected::IdReused))), "{running:?}");

    office.clerk.let_go();
    assert_eq!(within(SOON, first).await.unwrap().text, "a");
    let ended = within(SOON, two.hold("b".into()).key("order")).await;
    assert!(matches!(ended, Err(CallError::Rejected(Rejected::IdReused))), "{ended:?}");
    assert_eq!(office.clerk.runs(), 1);
}

#[tokio::test]
async fn a_key_with_another_payload_is_refused_when_the_first_was_only_queued() {
    let office = Office::open().await;
    let (one, two) = (office.client().await, office.client().await);
    let busy = within(SOON, one.queue("busy".into()).start()).await.unwrap();
    office.clerk.has_begun(1).await;
    let first = within(SOON, one.queue("a".into()).key("order").start()).await.unwrap();
    let second = within(SOON, two.queue("b".into()).key("order").start()).await.unwrap();
    office.clerk.let_go();
    let second = within(SOON, second).await;
    assert!(matches!(second, Err(CallError::Rejected(Rejected::IdReused))), "{second:?}");
    assert_eq!(within(SOON, first).await.unwrap().text, "a");
    within(SOON, busy).await.unwrap();
    assert_eq!(office.clerk.runs(), 2);
}

#[tokio::test]
async fn a_call_whose_key_is_taken_is_told_nothing_of_the_call_that_has_it() {
    let office = Office::open().await;
    let (one, two) = (office.client().await, office.client().await);
    let seen = Arc::<Mutex<Vec<CallEvent>>>::default();
    let refused = async |key: &str| {
        let sees = Arc::clone(&seen);
        let call = two.queue("b".into()).key(key);
        let refused =
            within(SOON, call.on_event(move |event| sees.lock().unwrap().push(event.clone()))).await;
        assert!(matches!(refused, Err(CallError::Rejected(Rejected::IdReused))), "{refused:?}");
        let seen = std::mem::take(&mut *seen.lock().unwrap());
        assert!(seen.iter().all(|event| matches!(event, CallEvent::Sent { .. })), "{seen:?}");
    };
    let busy = within(SOON, one.queue("busy".into()).start()).await.unwrap();
    office.clerk.has_begun(1).await;
    let first = within(SOON, one.queue("a".into()).key("order").start()).await.unwrap();
    // While the first waits for its turn, nobody can say yet whose request it is.
    let mut second = within(SOON, two.queue("b".into()).key("order").start()).await.unwrap();
    let mut events = second.events();
    office.clerk.let_go();
    assert_eq!(within(SOON, events.next()).await, None);
    within(SOON, second).await.unwrap_err();
    assert_eq!(within(SOON, first).await.unwrap().text, "a");
    within(SOON, busy).await.unwrap();

    refused("order").await;
    office.clerk.hold_back();
    let third = within(SOON, one.queue("a".into()).key("another").start()).await.unwrap();
    office.clerk.has_begun(3).await;
    refused("another").await;
    office.clerk.let_go();
    within(SOON, third).await.unwrap();
}

#[tokio::test]
async fn one_key_under_two_methods_is_two_calls() {
    let office = Office::open().await;
    let client = office.client().await;
    office.clerk.let_go();
    let stamped = within(SOON, client.stamp("a".into()).key("order")).await.unwrap();
    let held = within(SOON, client.hold("b".into()).key("order")).await.unwrap();
    assert_eq!((stamped.run, held.run), (1, 2));
}

#[tokio::test]
async fn one_key_of_two_callers_is_two_calls() {
    let office = Office::open().await;
    let shop = within(SOON, office.client_of("shop").await.stamp("a".into()).key("order")).await.unwrap();
    let bank = within(SOON, office.client_of("bank").await.stamp("b".into()).key("order")).await.unwrap();
    assert_eq!((shop.run, bank.run), (1, 2));
}

#[tokio::test]
async fn one_key_under_two_secrets_is_two_calls() {
    let office = Office::open().await;
    let with = async |secret: &str| {
        let builder = Client::builder().url(office.nats.url()).caller(SHOP).key_secret(secret);
        ClerkClient::new(builder.connect().await.unwrap())
    };
    let one = within(SOON, with("one").await.stamp("a".into()).key("order")).await.unwrap();
    let two = within(SOON, with("two").await.stamp("b".into()).key("order")).await.unwrap();
    let one_again = within(SOON, with("one").await.stamp("a".into()).key("order")).await.unwrap();
    assert_eq!((one.run, two.run, one_again.run), (1, 2, 1));
}

/// The encoding is part of the payload: what two clients send under one key must be the same bytes.
#[tokio::test]
async fn clients_of_two_encodings_share_no_key() {
    let office = Office::open().await;
    let json = async || {
        let builder = Client::builder().url(office.nats.url()).caller(SHOP).json();
        ClerkClient::new(builder.connect().await.unwrap())
    };
    let first = within(SOON, json().await.stamp("a".into()).key("order")).await.unwrap();
    assert_eq!(within(SOON, json().await.stamp("a".into()).key("order")).await.unwrap(), first);
    let packed = within(SOON, office.client().await.stamp("a".into()).key("order")).await;
    assert!(matches!(packed, Err(CallError::Rejected(Rejected::IdReused))), "{packed:?}");
    // An id is enough to attach: the record says how it is encoded.
    let attached = within(SOON, office.client().await.attach_stamp("order")).await.unwrap();
    assert_eq!(attached, first);
    assert_eq!(office.clerk.runs(), 1);
}

#[tokio::test]
async fn any_text_may_be_a_key_and_none_runs_into_another() {
    let office = Office::open().await;
    let client = office.client().await;
    let long = "x".repeat(10_000);
    let keys = [
        "",
        " ",
        ".",
        "..",
        "*",
        ">",
        "a.b",
        "a.*",
        "a b",
        "a\r\nNats-Msg-Id: b",
        "a\0b",
        "ключ",
        "🦀",
        "-cancel",
        "k.a",
        &long,
    ];
    for (number, key) in (1..).zip(keys) {
        let answer = within(SOON, client.stamp(key.into()).key(key)).await.unwrap();
        assert_eq!((answer.run, answer.text.as_str()), (number, key));
    }
    for (number, key) in (1..).zip(keys) {
        assert_eq!(within(SOON, client.attach_stamp(key)).await.unwrap().run, number, "{key:?}");
    }
    assert_eq!(office.worker.stats().dead_letters, 0);
}
