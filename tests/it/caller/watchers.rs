//! Whoever begins to watch a call when much of it has happened: how it stands is told to each of them, and the rest once.

use std::sync::{Arc, Mutex};

use futures_util::StreamExt;
use requite::{CallEvent, CallEvents, Items, Progress, RunningServer, prelude::*};
use requite_test::{Direction, Hold, NatsServer, Proxy};
use tokio::sync::Semaphore;

use super::fixture::{SHOP, SOON, connect, info, serve, until, within};

/// Folds sheets: says how far it is, and goes on when it is let.
#[derive(Clone)]
struct Folder {
    go_on: Arc<Semaphore>,
}

impl Folder {
    async fn work(&self, cx: &Context) {
        cx.progress(Progress::of(1, 2));
        self.go_on.acquire().await.unwrap().forget();
        cx.progress(Progress::of(2, 2));
        self.go_on.acquire().await.unwrap().forget();
    }
}

/// The leases are long, so that no heartbeat tells how far a call is before it is told otherwise.
#[service(name = "folder")]
impl Folder {
    #[handler(lease = "120s")]
    async fn fold(&self, cx: &Context, sheets: u32) -> u32 {
        self.work(cx).await;
        sheets
    }

    /// Takes the sheets one by one, when it has done everything else.
    #[handler(lease = "120s")]
    async fn feed(&self, cx: &Context, mut sheets: Items<u32>) -> u32 {
        self.work(cx).await;
        let mut taken = 0;
        while let Some(Ok(_)) = sheets.next().await {
            taken += 1;
        }
        taken
    }
}

struct Hall {
    nats: NatsServer,
    go_on: Arc<Semaphore>,
    client: FolderClient,
    worker: RunningServer,
}

impl Hall {
    async fn open() -> Self {
        let nats = NatsServer::start().await.unwrap();
        let go_on = Arc::new(Semaphore::new(0));
        let worker = serve(&nats.url(), Folder { go_on: Arc::clone(&go_on) }).await;
        let client = FolderClient::new(connect(&nats.url(), SHOP).await);
        Self { nats, go_on, client, worker }
    }

    /// A client of its own connection, as another process would have.
    async fn elsewhere(&self) -> FolderClient {
        FolderClient::new(connect(&self.nats.url(), SHOP).await)
    }

    async fn keeps_progress(&self) {
        until("the progress is stored", async || {
            let stored = info(&self.nats, "rq_OUT_folder").await["state"]["subjects"].clone();
            stored.as_object().is_some_and(|all| all.keys().any(|subject| subject.starts_with("rq.pgr.")))
        })
        .await;
    }
}

/// An observer that was there from the beginning, and what it has seen.
#[derive(Clone, Default)]
struct First(Arc<Mutex<Vec<CallEvent>>>);

impl First {
    fn observer(&self) -> impl FnMut(&CallEvent) + Send + 'static {
        let seen = Arc::clone(&self.0);
        move |event| seen.lock().unwrap().push(event.clone())
    }

    fn seen(&self) -> Vec<CallEvent> {
        without_beats(self.0.lock().unwrap().iter().cloned())
    }
}

fn without_beats(events: impl IntoIterator<Item = CallEvent>) -> Vec<CallEvent> {
    events.into_iter().filter(|event| !matches!(event, CallEvent::Alive { .. })).collect()
}

fn half() -> CallEvent {
    CallEvent::Progress(Progress::of(1, 2))
}

fn whole() -> CallEvent {
    CallEvent::Progress(Progress::of(2, 2))
}

/// What comes until this progress.
async fn up_to(progress: CallEvent, events: &mut CallEvents) -> Vec<CallEvent> {
    let mut all = Vec::new();
    within(SOON, async {
        while all.last() != Some(&progress) {
            all.push(events.next().await.expect("it comes before the end"));
        }
    })
    .await;
    all
}

async fn rest(events: CallEvents) -> Vec<CallEvent> {
    without_beats(within(SOON, events.collect::<Vec<_>>()).await)
}

/// What an observer is told first. The request's number is not known where a sign of the handler was heard before the
/// acknowledgement.
fn is_how_it_stands(events: &[CallEvent]) -> bool {
    matches!(
        events,
        [CallEvent::Accepted { .. }, CallEvent::Started { attempt: 1, .. }, CallEvent::Progress(_)]
    )
}

/// All of that, while the handler waits at its half.
async fn how_it_stands(events: &mut CallEvents) -> Vec<CallEvent> {
    let stands = without_beats(up_to(half(), events).await);
    assert!(is_how_it_stands(&stands), "{stands:?}");
    stands
}

#[tokio::test]
async fn whoever_watches_second_sees_how_the_call_stands_and_then_the_same_as_the_first() {
    let hall = Hall::open().await;
    let mut call = within(SOON, hall.client.fold(3).start()).await.unwrap();
    let mut first = call.events();
    how_it_stands(&mut first).await;
    // Nothing is heard of this from the worker before it goes on, and it waits.
    let mut second = call.events();
    how_it_stands(&mut second).await;

    hall.go_on.add_permits(1);
    for events in [&mut first, &mut second] {
        assert_eq!(without_beats(up_to(whole(), events).await), [whole()]);
    }
    hall.go_on.add_permits(1);
    for events in [first, second] {
        assert_eq!(rest(events).await, [CallEvent::Done { attempt: 1 }]);
    }
    // Nor does it matter when the call is over.
    let stood = rest(call.events()).await;
    assert!(is_how_it_stands(&stood[..3]), "{stood:?}");
    assert_eq!(stood[2..], [whole(), CallEvent::Done { attempt: 1 }]);
    assert_eq!(within(SOON, call).await.unwrap(), 3);
}

#[tokio::test]
async fn events_of_a_call_that_is_observed_begin_with_how_it_stands() {
    let hall = Hall::open().await;
    let first = First::default();
    let mut call = within(SOON, hall.client.fold(3).on_event(first.observer()).start()).await.unwrap();
    let mut events = call.events();
    let stands = how_it_stands(&mut events).await;
    hall.go_on.add_permits(2);
    let ended = rest(events).await;
    assert_eq!(within(SOON, call).await.unwrap(), 3);
    // Whoever was there first has seen it all, and only once.
    let all = [vec![CallEvent::Sent { number: 1 }], stands, ended].concat();
    assert_eq!(first.seen(), all);
}

#[tokio::test]
async fn observers_of_the_builder_and_of_what_it_started_both_see_the_call() {
    let hall = Hall::open().await;
    let (first, second) = (First::default(), First::default());
    let call = within(SOON, hall.client.fold(3).on_event(first.observer()).start()).await.unwrap();
    hall.go_on.add_permits(2);
    within(SOON, call.on_event(second.observer())).await.unwrap();
    let (first, second) = (first.seen(), second.seen());
    assert_eq!(first[0], CallEvent::Sent { number: 1 });
    assert_eq!(first[1..], second);
    assert!(matches!(second[0], CallEvent::Accepted { .. }), "{second:?}");
    assert_eq!(second.last(), Some(&CallEvent::Done { attempt: 1 }));
}

#[tokio::test]
async fn events_of_a_call_with_streams_begin_with_how_it_stands() {
    let hall = Hall::open().await;
    let first = First::default();
    let opening = hall.client.feed().key("ream").on_event(first.observer()).open();
    let (mut sheets, mut call) = within(SOON, opening).await.unwrap();
    until("the first progress came", async || first.seen().contains(&half())).await;
    let mut events = call.events();
    how_it_stands(&mut events).await;

    // The same for somebody who attaches to it and to its streams.
    hall.keeps_progress().await;
    let client = hall.elsewhere().await;
    let first = First::default();
    let (_sheets, mut attach) =
        within(SOON, client.attach_feed("ream").on_event(first.observer()).open()).await.unwrap();
    until("it is told how the call stands", async || first.seen().contains(&half())).await;
    let mut attached = attach.events();
    how_it_stands(&mut attached).await;

    hall.go_on.add_permits(1);
    for events in [&mut events, &mut attached] {
        assert_eq!(without_beats(up_to(whole(), events).await), [whole()]);
    }
    hall.go_on.add_permits(1);
    within(SOON, sheets.send(1)).await.unwrap();
    within(SOON, sheets.finish()).await.unwrap();
    for events in [events, attached] {
        assert_eq!(rest(events).await, [CallEvent::Done { attempt: 1 }]);
    }
    assert_eq!(within(SOON, call).await.unwrap(), 1);
    assert_eq!(within(SOON, attach).await.unwrap(), 1);
}

#[tokio::test]
async fn events_of_a_call_that_is_made_again_begin_with_how_it_stands() {
    let hall = Hall::open().await;
    let call = within(SOON, hall.client.fold(3).key("leaflet").start()).await.unwrap();
    hall.keeps_progress().await;
    let again = hall.elsewhere().await.fold(3).key("leaflet");
    let mut again = within(SOON, again.start()).await.unwrap();
    let mut events = again.events();
    how_it_stands(&mut events).await;
    hall.go_on.add_permits(2);
    assert_eq!(rest(events).await.last(), Some(&CallEvent::Done { attempt: 1 }));
    assert_eq!(within(SOON, call).await.unwrap(), 3);
    assert_eq!(within(SOON, again).await.unwrap(), 3);
}

#[tokio::test]
async fn events_of_a_call_that_finds_its_outcome_tell_that_it_is_done() {
    let hall = Hall::open().await;
    hall.go_on.add_permits(2);
    assert_eq!(within(SOON, hall.client.fold(3).key("leaflet")).await.unwrap(), 3);
    let elsewhere = hall.elsewhere().await;
    for client in [&hall.client, &elsewhere] {
        let mut call = within(SOON, client.fold(3).key("leaflet").start()).await.unwrap();
        for _ in 0..2 {
            let events = rest(call.events()).await;
            assert!(
                matches!(
                    events[..],
                    [CallEvent::Accepted { sequence: Some(1..) }, CallEvent::Done { attempt: 1 }]
                ),
                "{events:?}"
            );
        }
        assert_eq!(within(SOON, call).await.unwrap(), 3);
    }
}

/// What the server sends of the acknowledgement and the outcome is here at once, and the outcome may be looked at first.
#[tokio::test]
async fn events_of_a_call_whose_outcome_comes_with_its_acknowledgement_tell_that_it_is_done() {
    let hall = Hall::open().await;
    let proxy = Proxy::start_reading(([127, 0, 0, 1], hall.nats.port()).into()).await.unwrap();
    let client = FolderClient::new(connect(&proxy.url(), SHOP).await);
    hall.go_on.add_permits(4);
    within(SOON, client.fold(1)).await.unwrap();
    until("the outcome is counted", async || hall.worker.stats().outcomes == 1).await;
    let is_request = |message: &[u8]| message.starts_with(b"HPUB rq.req.folder.fold.");
    let trap = proxy.trap(Direction::ToServer, Hold::After, is_request);
    let starting = tokio::spawn(client.fold(3).start());
    within(SOON, trap.sprung()).await;
    until("the second outcome is counted", async || hall.worker.stats().outcomes == 2).await;
    proxy.thaw();
    let mut call = within(SOON, starting).await.unwrap().unwrap();
    let events = rest(call.events()).await;
    assert!(matches!(events[0], CallEvent::Accepted { .. }), "{events:?}");
    assert_eq!(events.last(), Some(&CallEvent::Done { attempt: 1 }));
    assert_eq!(within(SOON, call).await.unwrap(), 3);
}
