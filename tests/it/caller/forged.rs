//! Outcomes that nobody stored: a caller believes only what the server says it stored as this call's record.

use std::future::IntoFuture;

use futures_util::StreamExt;
use requite::async_nats::{HeaderMap, Message, Subscriber, client::RequestErrorKind};

use super::fixture::{Office, SOON, Stamped, info, within};

/// The outcome of a call of the same method, as the server republished it: the best that a forger can have.
async fn genuine_outcome(office: &Office) -> Message {
    let stranger = office.stranger().await;
    let mut inbox = stranger.subscribe("rq.in.shop.clerk.>").await.unwrap();
    stranger.flush().await.unwrap();
    office.clerk.let_go();
    within(SOON, office.client().await.hold("forged".into())).await.unwrap();
    office.clerk.hold_back();
    within(SOON, outcome(&mut inbox)).await
}

/// The next outcome on an inbox; claims come before it.
async fn outcome(inbox: &mut Subscriber) -> Message {
    loop {
        let message = inbox.next().await.unwrap();
        let kind = message.headers.as_ref().and_then(|headers| headers.get("Rq-Kind"));
        if kind.is_some_and(|kind| kind.as_str() == "outcome") {
            return message;
        }
    }
}

#[tokio::test]
async fn an_outcome_that_no_server_stored_is_not_believed() {
    let office = Office::open().await;
    let forgery = genuine_outcome(&office).await;
    let client = office.client().await;
    let keyed = within(SOON, client.hold("mine".into()).key("order").start()).await.unwrap();
    let plain = within(SOON, client.hold("mine".into()).start()).await.unwrap();
    office.clerk.has_begun(3).await;

    let stranger = office.stranger().await;
    let genuine = forgery.headers.clone().unwrap();
    let with = |names: &[&'static str]| -> HeaderMap {
        names.iter().map(|name| (*name, genuine.get(*name).unwrap().clone())).fold(
            HeaderMap::new(),
            |mut headers, (name, value)| {
                headers.insert(name, value);
                headers
            },
        )
    };
    for id in [keyed.id(), plain.id()] {
        let inbox = format!("rq.in.shop.clerk.{id}");
        let record = format!("rq.out.clerk.shop.{id}");
        let mut another_stream = genuine.clone();
        another_stream.insert("Nats-Stream", "rq_OUT_other");
        another_stream.insert("Nats-Subject", record.as_str());
        // The server appends its own headers to what is published: the forger's come first.
        let mut reflected = genuine.clone();
        reflected.insert("Nats-Subject", record.as_str());
        reflected.append("Nats-Subject", "rq.out.clerk.bank.k.a");
        let forged_headers = [
            with(&[]),
            with(&["Rq-V", "Rq-Kind"]),
            with(&["Rq-V", "Nats-Stream"]),
            genuine.clone(),
            another_stream,
            reflected,
        ];
        for headers in forged_headers {
            stranger.publish_with_headers(inbox.clone(), headers, forgery.payload.clone()).await.unwrap();
        }
        stranger.publish(inbox, forgery.payload.clone()).await.unwrap();
    }
    // Once the server has passed them on, the forgeries are ahead of the true outcomes on the caller's connection.
    stranger.flush().await.unwrap();
    office.clerk.let_go();
    for call in [keyed, plain] {
        let Stamped { text, .. } = within(SOON, call).await.unwrap();
        assert_eq!(text, "mine");
    }
}

/// The server itself sends a stored record wherever a reader wants it: it is genuine, but it is another call's.
#[tokio::test]
async fn a_stored_outcome_of_another_call_is_not_believed() {
    let office = Office::open().await;
    genuine_outcome(&office).await;
    let records = info(&office.nats, "rq_OUT_clerk").await;
    let other = records["state"]["subjects"].as_object().unwrap().keys().next().unwrap().clone();
    let client = office.client().await;
    let call = within(SOON, client.hold("mine".into()).key("order").start()).await.unwrap();
    office.clerk.has_begun(2).await;

    let stranger = office.stranger().await;
    let inbox = format!("rq.in.shop.clerk.{}", call.id());
    let read = format!("$JS.API.DIRECT.GET.rq_OUT_clerk.{other}");
    let mut same_inbox = stranger.subscribe(inbox.clone()).await.unwrap();
    stranger.publish_with_reply(read, inbox, "".into()).await.unwrap();
    // What the stranger hears is ahead of the true outcome on the caller's connection too.
    within(SOON, outcome(&mut same_inbox)).await;
    office.clerk.let_go();
    assert_eq!(within(SOON, call).await.unwrap().text, "mine");
}

#[tokio::test]
async fn records_cannot_be_written_without_the_secret() {
    let office = Office::open().await;
    let forgery = genuine_outcome(&office).await;
    let client = office.client().await;
    let call = tokio::spawn(client.hold("mine".into()).key("order").into_future());
    office.clerk.has_begun(2).await;
    let stranger = office.stranger().await;
    let records = info(&office.nats, "rq_OUT_clerk").await;
    for record in records["state"]["subjects"].as_object().unwrap().keys() {
        let put = record.replacen("rq.", "rq.put.0123456789abcdef0123456789abcdef.", 1);
        for subject in [record.clone(), put] {
            let answer = stranger.request(subject, forgery.payload.clone()).await;
            assert_eq!(answer.unwrap_err().kind(), RequestErrorKind::NoResponders);
        }
    }
    office.clerk.let_go();
    assert_eq!(within(SOON, call).await.unwrap().unwrap().text, "mine");
}

/// Signs of life are hints: whoever forges them changes what is shown, never how a call ends.
#[tokio::test]
async fn forged_signals_decide_nothing() {
    let office = Office::open().await;
    let client = office.client().await;
    let call = within(SOON, client.hold("mine".into()).key("order").start()).await.unwrap();
    office.clerk.has_begun(1).await;
    let stranger = office.stranger().await;
    let subject = format!("rq.sig.clerk.shop.{}", call.id());
    let mut version = HeaderMap::new();
    version.insert("Rq-V", "1");
    for body in [&b""[..], b"\xff", &[0x91; 100_000], b"\x81\xa4kind\xa6stored", b"\x81\xa4kind\xa5alive"] {
        stranger.publish_with_headers(subject.clone(), version.clone(), body.to_vec().into()).await.unwrap();
    }
    stranger.flush().await.unwrap();
    office.clerk.let_go();
    assert_eq!(within(SOON, call).await.unwrap().text, "mine");
}
