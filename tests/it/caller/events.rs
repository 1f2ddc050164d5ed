//! The life of a call as its caller watches it.

use std::sync::{Arc, Mutex};

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
