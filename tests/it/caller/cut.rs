//! Connections that break at the caller: what was under way ends as if nothing had been, and runs once.

use std::{future::IntoFuture, time::Duration};

use requite::{async_nats::connection::State, prelude::*};
use requite_test::Proxy;

use super::fixture::{ClerkClient, Office, SHOP, SOON, Stamped, connect, stored, until, within};

/// A caller behind a network that fails.
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

    /// Waits until the client has noticed.
    async fn is_down(&self) {
        let noticed = async || self.client.client().nats().unwrap().connection_state() != State::Connected;
        until("the client noticed the cut", noticed).await;
    }
}

/// The cut itself is the workload: long enough for reconnects to back off, and for every answer to be lost.
async fn survives_a_cut_of(length: Duration) {
    let far = Far::new().await;
    let Far { office, network, client } = &far;
    within(SOON, client.stamp("warm".into())).await.unwrap();
    let plain = within(SOON, client.hold("plain".into()).start()).await.unwrap();
    let keyed = within(SOON, client.hold("keyed".into()).key("order").start()).await.unwrap();
    let waiting = [tokio::spawn(plain.into_future()), tokio::spawn(keyed.into_future())];
    office.clerk.has_begun(3).await;

    network.cut().await;
    far.is_down().await;
    // Stored while the caller is away: the server's push reaches nobody.
    office.clerk.let_go();
    until("the outcomes are stored", async || office.worker.stats().outcomes == 3).await;
    let offline = tokio::spawn(client.stamp("offline".into()).accept_within(4 * length).into_future());
    let offline_keyed = client.stamp("offline".into()).key("offline").accept_within(4 * length);
    let offline_keyed = tokio::spawn(offline_keyed.into_future());
    tokio::time::sleep(length).await;
    assert!(!offline.is_finished() && !offline_keyed.is_finished());
    network.heal().await.unwrap();

    for (call, text) in waiting.into_iter().zip(["plain", "keyed"]) {
        assert_eq!(within(SOON, call).await.unwrap().unwrap().text, text);
    }
    for call in [offline, offline_keyed] {
        assert_eq!(within(SOON, call).await.unwrap().unwrap().text, "offline");
    }
    // However often a call was published meanwhile, it ran once.
    until("all copies are settled", async || stored(&office.nats, "rq_REQ_clerk").await == 0).await;
    assert_eq!(office.clerk.runs(), 5);
}

#[tokio::test]
async fn calls_survive_a_cut_of_three_seconds() {
    survives_a_cut_of(Duration::from_secs(3)).await;
}

#[tokio::test]
async fn calls_survive_a_cut_of_fifteen_seconds() {
    survives_a_cut_of(Duration::from_secs(15)).await;
}

/// The clerk as a caller sees it that takes the leases for longer, and so looks after ten seconds of silence.
#[service(name = "clerk")]
#[allow(dead_code)] // only its client is used
trait Patient {
    #[handler(lease = "30s")]
    async fn hold(&self, text: String) -> Stamped;
}

/// Not by luck, when silence makes the caller look: at once.
#[tokio::test]
async fn an_outcome_stored_during_a_cut_is_read_at_the_reconnect() {
    let far = Far::new().await;
    let Far { office, network, client } = &far;
    within(SOON, client.stamp("warm".into())).await.unwrap();
    let patient = PatientClient::new(client.client().clone());
    let plain = within(SOON, patient.hold("plain".into()).start()).await.unwrap();
    let keyed = within(SOON, patient.hold("keyed".into()).key("order").start()).await.unwrap();
    let waiting = [tokio::spawn(plain.into_future()), tokio::spawn(keyed.into_future())];
    office.clerk.has_begun(3).await;
    network.cut().await;
    far.is_down().await;
    office.clerk.let_go();
    until("the outcomes are stored", async || office.worker.stats().outcomes == 3).await;
    network.heal().await.unwrap();
    let nats = client.client().nats().unwrap();
    until("the client is back", async || nats.connection_state() == State::Connected).await;
    for (call, text) in waiting.into_iter().zip(["plain", "keyed"]) {
        assert_eq!(within(Duration::from_secs(3), call).await.unwrap().unwrap().text, text);
    }
}

#[tokio::test]
async fn a_call_still_running_at_the_reconnect_gets_its_outcome_by_push() {
    let far = Far::new().await;
    let Far { office, network, client } = &far;
    let call = within(SOON, client.hold("a".into()).key("order").start()).await.unwrap();
    office.clerk.has_begun(1).await;
    network.cut().await;
    far.is_down().await;
    network.heal().await.unwrap();
    let (seen, mut signs) = tokio::sync::mpsc::unbounded_channel();
    let call = tokio::spawn(call.on_event(move |event| drop(seen.send(event.clone()))).into_future());
    // Heartbeats are heard again: so will be the outcome.
    within(SOON, signs.recv()).await.unwrap();
    office.clerk.let_go();
    assert_eq!(within(SOON, call).await.unwrap().unwrap(), Stamped { run: 1, text: "a".into() });
}

/// Bytes go nowhere and nobody says so. Two pings without an answer are needed to notice, and then the calls go on.
#[tokio::test]
async fn a_frozen_connection_is_noticed_and_heals() {
    let far = Far::new().await;
    let Far { office, network, client } = &far;
    within(SOON, client.stamp("warm".into())).await.unwrap();
    let call = within(SOON, client.hold("a".into()).start()).await.unwrap();
    let call = tokio::spawn(call.into_future());
    office.clerk.has_begun(2).await;

    network.freeze();
    office.clerk.let_go();
    let patience = 4 * SOON;
    let blind = tokio::spawn(client.stamp("blind".into()).accept_within(patience).into_future());
    within(2 * SOON, async {
        while client.client().nats().unwrap().connection_state() == State::Connected {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    network.thaw();
    assert_eq!(within(SOON, call).await.unwrap().unwrap().text, "a");
    assert_eq!(within(SOON, blind).await.unwrap().unwrap().text, "blind");
    until("all copies are settled", async || stored(&office.nats, "rq_REQ_clerk").await == 0).await;
    assert_eq!(office.clerk.runs(), 3);
}

/// The first copy of a request hangs in the network, its caller asks elsewhere, and the copy arrives after the end.
#[tokio::test]
async fn a_copy_that_arrives_after_the_outcome_does_not_run() {
    let far = Far::new().await;
    let Far { office, network, client } = &far;
    within(SOON, client.stamp("warm".into())).await.unwrap();
    network.freeze();
    let hung = tokio::spawn(client.stamp("a".into()).key("order").into_future());
    let hung_plain = tokio::spawn(client.stamp("b".into()).into_future());
    let near = office.client().await;
    let answer = within(SOON, near.stamp("a".into()).key("order")).await.unwrap();
    // Longer than a request counts as fresh.
    tokio::time::sleep(Duration::from_secs(3)).await;
    network.thaw();
    assert_eq!(within(SOON, hung).await.unwrap().unwrap(), answer);
    assert_eq!(within(SOON, hung_plain).await.unwrap().unwrap().text, "b");
    until("all copies are settled", async || stored(&office.nats, "rq_REQ_clerk").await == 0).await;
    assert_eq!(office.clerk.runs(), 3);
}
