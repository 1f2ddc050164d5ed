//! The life of a call as its caller watches it.

use std::sync::{Arc, Mutex};

use futures_util::StreamExt;
use requite::{CallEvent, prelude::*};

use super::fixture::{LEASE, Office, SHOP, SOON, connect, serve, until, within};

#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<CallEvent>>>);

impl Seen {
    fn observer(&self) -> impl FnMut(&CallEvent) + Send + 'static {
        let seen = Arc::clone(&self.0);
        move |event| seen.lock().unwrap().push(event.clone())
    }

    fn take(&self) -> Vec<CallEvent> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// Takes longer than its lease.
struct Slow;

#[service(name = "slow")]
impl Slow {
    #[handler(lease = "6s")]
    async fn think(&self) -> u32 {
        tokio::time::sleep(LEASE + LEASE / 4).await;
        42
    }
}

#[tokio::test]
async fn a_slow_handler_is_watched_from_the_first_publish_to_the_outcome() {
    let nats = requite_test::NatsServer::start().await.unwrap();
    let worker = serve(&nats.url(), Slow).await;
    let client = SlowClient::new(connect(&nats.url(), SHOP).await);
    let seen = Seen::default();
    assert_eq!(within(2 * SOON, client.think().on_event(seen.observer())).await.unwrap(), 42);

    let events = seen.take();
    let [
        CallEvent::Sent { number: 1 },
        CallEvent::Accepted { .. },
        CallEvent::Started { worker: by, attempt: 1 },
        beats @ ..,
        CallEvent::Done { attempt: 1 },
    ] = &events[..]
    else {
        panic!("{events:#?}")
    };
    for (number, beat) in (1..).zip(beats) {
        let CallEvent::Alive { worker, attempt: 1, heard, since } = beat else { panic!("{beat:?}") };
        assert_eq!((worker, *heard), (by, number));
        assert!(*since <= 2 * LEASE, "{since:?}");
    }
    // A heartbeat every sixth of the lease, over a lease and a quarter; one or two may fall to rounding.
    assert!((5..=8).contains(&beats.len()), "{events:#?}");
    until("the outcome is counted", async || worker.stats().outcomes == 1).await;
    let stats = worker.stats();
    assert_eq!((stats.runs, stats.redeliveries), (1, 0), "{stats:?}");
    assert!(stats.heartbeats >= beats.len() as u64, "{stats:?}");
}

/// What a call hears that nobody polls waits for whoever comes: of heartbeats, the newest.
#[tokio::test]
async fn heartbeats_that_nobody_reads_are_counted_and_not_kept() {
    const MANY: u32 = 2_000;
    let office = Office::open().await;
    let (client, stranger) = (office.client().await, office.stranger().await);
    let mut signals = stranger.subscribe("rq.sig.clerk.>").await.unwrap();
    stranger.flush().await.unwrap();
    let (seen, marked) = (Seen::default(), Seen::default());
    let unpolled = within(SOON, client.hold("a".into()).start()).await.unwrap().on_event(seen.observer());
    let beat = within(SOON, async {
        loop {
            let signal = signals.next().await.unwrap();
            if signal.payload.windows(5).any(|field| field == b"alive") {
                break signal;
            }
        }
    });
    let beat = beat.await;
    let polled = within(SOON, client.hold("b".into()).start()).await.unwrap().on_event(marked.observer());
    let last = beat.subject.replace(unpolled.id().as_str(), polled.id().as_str());
    let polled = tokio::spawn(async move { polled.await });

    let headers = beat.headers.unwrap();
    let mut payload = beat.payload.to_vec();
    let worker = payload.windows(6).position(|field| field == b"worker").unwrap() + 7;
    // So few at once that none is dropped on the way; one behind them, on the same subscription, is told to who listens.
    for letter in b'a'..=b'j' {
        for _ in 0..MANY / 10 {
            let (subject, beat) = (beat.subject.clone(), beat.payload.clone());
            stranger.publish_with_headers(subject, headers.clone(), beat).await.unwrap();
        }
        payload[worker..worker + 26].fill(letter);
        let name = String::from_utf8(vec![letter; 26]).unwrap();
        let is_last = |event: &CallEvent| matches!(event, CallEvent::Alive { worker, .. } if *worker == name);
        until("the last one has come", async || {
            // Again each time: the worker's own next heartbeat may have come before anybody read this one.
            let (subject, last) = (last.clone(), payload.clone().into());
            stranger.publish_with_headers(subject, headers.clone(), last).await.unwrap();
            marked.0.lock().unwrap().iter().any(is_last)
        })
        .await;
    }

    office.clerk.let_go();
    within(SOON, unpolled).await.unwrap();
    within(SOON, polled).await.unwrap().unwrap();
    let beats: Vec<_> = seen.take().into_iter().filter(|it| matches!(it, CallEvent::Alive { .. })).collect();
    let Some(CallEvent::Alive { heard: MANY.., .. }) = beats.last() else { panic!("{beats:?}") };
    assert!(beats.len() < 5, "{}", beats.len());
}

#[tokio::test]
async fn a_quick_handler_shows_no_more_than_there_was() {
    let office = Office::open().await;
    let client = office.client().await;
    let seen = Seen::default();
    let call = client.stamp("a".into()).key("order").on_event(seen.observer());
    within(SOON, call).await.unwrap();
    let events = seen.take();
    assert!(
        matches!(
            events[..],
            [
                CallEvent::Sent { number: 1 },
                CallEvent::Accepted { .. },
                CallEvent::Started { attempt: 1, .. },
                CallEvent::Done { attempt: 1 }
            ]
        ),
        "{events:?}"
    );
    within(SOON, client.attach_stamp("order").on_event(seen.observer())).await.unwrap();
    let attached = seen.take();
    assert!(
        matches!(attached[..], [CallEvent::Accepted { sequence: Some(_) }, CallEvent::Done { attempt: 1 }]),
        "{attached:?}"
    );
}

#[tokio::test]
async fn an_observer_of_an_accepted_call_sees_the_rest() {
    let office = Office::open().await;
    let client = office.client().await;
    let seen = Seen::default();
    let call = within(SOON, client.hold("a".into()).start()).await.unwrap();
    office.clerk.let_go();
    within(SOON, call.on_event(seen.observer())).await.unwrap();
    let events = seen.take();
    let [CallEvent::Accepted { .. }, rest @ .., CallEvent::Done { attempt: 1 }] = &events[..] else {
        panic!("{events:?}")
    };
    assert!(
        !rest.iter().any(|event| matches!(event, CallEvent::Sent { .. } | CallEvent::Accepted { .. })),
        "{events:?}"
    );
}
