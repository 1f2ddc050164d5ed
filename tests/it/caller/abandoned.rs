//! Calls that nobody waits for any more: dropped by their caller, or made by a handler that is gone.

use std::{
    future::IntoFuture,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures_util::StreamExt;
use requite::{CallError, Items, Reason, Rejected, RunningServer, Unknown, Why, prelude::*};
use requite_test::NatsServer;
use tokio::sync::watch;

use super::fixture::{SHOP, SOON, connect, serve, until, within};

const KILL_AFTER: Duration = Duration::from_millis(700);

/// What the test sees of the handlers.
#[derive(Clone, Debug, Default)]
struct Log {
    begun: u32,
    hauled: u32,
    /// When a handler was told that its request is cancelled.
    told: Vec<Instant>,
    /// When the future of a handler was dropped before its end.
    dropped: Vec<Instant>,
}

/// Digs, in one place or in several.
#[derive(Clone)]
struct Quarry {
    log: watch::Sender<Log>,
    gate: watch::Sender<bool>,
    /// For calls that handlers make.
    other: Arc<Mutex<Option<QuarryClient>>>,
}

impl Quarry {
    fn new() -> Self {
        Self { log: watch::Sender::default(), gate: watch::Sender::new(false), other: Arc::default() }
    }

    fn note(&self, note: impl FnOnce(&mut Log)) {
        self.log.send_modify(note);
    }

    fn log(&self) -> Log {
        self.log.borrow().clone()
    }

    fn other(&self) -> QuarryClient {
        self.other.lock().unwrap().clone().expect("the test sets it")
    }

    async fn open(&self) {
        let mut gate = self.gate.subscribe();
        gate.wait_for(|open| *open).await.expect("the quarry holds the sender");
    }

    /// Goes on whatever it is told.
    async fn go_on(&self, cx: &Context) {
        let _notes = NotesDrop(self.log.clone());
        self.note(|log| log.begun += 1);
        cx.cancelled().await;
        self.note(|log| log.told.push(Instant::now()));
        std::future::pending().await
    }
}

struct NotesDrop(watch::Sender<Log>);

impl Drop for NotesDrop {
    fn drop(&mut self) {
        self.0.send_modify(|log| log.dropped.push(Instant::now()));
    }
}

#[service(name = "quarry")]
impl Quarry {
    /// Until the test lets it, or it is told to end.
    #[handler]
    async fn dig(&self, cx: &Context, stones: u32) -> u32 {
        self.note(|log| log.begun += 1);
        tokio::select! {
            () = cx.cancelled() => {
                self.note(|log| log.told.push(Instant::now()));
                0
            }
            () = self.open() => stones,
        }
    }

    /// Until it is told to end, however many loads there are.
    #[handler]
    async fn haul(&self, cx: &Context, mut loads: Items<u32>) -> u32 {
        self.note(|log| log.begun += 1);
        let mut ended = false;
        loop {
            tokio::select! {
                () = cx.cancelled() => {
                    self.note(|log| log.told.push(Instant::now()));
                    return self.log().hauled;
                }
                load = loads.next(), if !ended => match load {
                    Some(Ok(_)) => self.note(|log| log.hauled += 1),
                    Some(Err(_)) | None => ended = true,
                }
            }
        }
    }

    #[handler(kill_after = "700ms")]
    async fn go_on_digging(&self, cx: &Context) {
        self.go_on(cx).await
    }

    /// Has another dig under a key, whether this ends or not.
    #[handler(kill_after = "700ms")]
    async fn have_dug(&self, cx: &Context) {
        let digging = self.other().dig(5).key("stones").start().await.unwrap();
        self.go_on(cx).await;
        drop(digging);
    }

    /// Has another dig who ends with this.
    #[handler(kill_after = "700ms")]
    async fn have_dug_until_killed(&self, cx: &Context) {
        let digging = self.other().dig(5).key("stones").cascade().start().await.unwrap();
        self.go_on(cx).await;
        drop(digging);
    }

    /// The same, and takes longer than it may.
    #[handler(max_run = "1s")]
    async fn have_dug_for_too_long(&self, cx: &Context) -> u32 {
        let digging = self.other().dig(5).key("stones").cascade().into_future();
        tokio::select! {
            stones = digging => stones.unwrap(),
            () = self.go_on(cx) => unreachable!("it never ends"),
        }
    }

    /// One at a time, when the test lets it.
    #[handler(concurrency = 1)]
    async fn sieve(&self, stones: u32) -> u32 {
        self.note(|log| log.begun += 1);
        self.open().await;
        stones
    }
}

/// The same methods by name, with requests that they cannot read.
#[service(name = "quarry")]
#[allow(dead_code, reason = "only its client is used")]
trait Misread {
    #[handler(concurrency = 1)]
    async fn sieve(&self, stones: String) -> u32;
}

struct Valley {
    nats: NatsServer,
    quarry: Quarry,
    client: QuarryClient,
    _worker: RunningServer,
}

impl Valley {
    async fn open() -> Self {
        let (nats, quarry) = (NatsServer::start().await.unwrap(), Quarry::new());
        let _worker = serve(&nats.url(), quarry.clone()).await;
        let client = QuarryClient::new(connect(&nats.url(), SHOP).await);
        *quarry.other.lock().unwrap() = Some(client.clone());
        Self { nats, quarry, client, _worker }
    }

    async fn has(&self, what: &str, holds: impl Fn(&Log) -> bool) -> Log {
        until(what, async || holds(&self.quarry.log())).await;
        self.quarry.log()
    }
}

fn is_cancelled<T, E>(answer: &Result<T, CallError<E>>) -> bool {
    matches!(answer, Err(CallError::Cancelled(cancelled)) if cancelled.may_have_run)
}

#[tokio::test]
async fn a_call_that_runs_out_of_time_is_cancelled_if_it_asked_for_that() {
    let valley = Valley::open().await;
    let call = valley.client.dig(1).cancel_on_drop();
    tokio::select! {
        answer = call.into_future() => panic!("{answer:?}"),
        _ = valley.has("the handler runs", |log| log.begun == 1) => {}
    }
    let log = valley.has("the handler is told", |log| log.told.len() == 1).await;
    assert_eq!(log.begun, 1);
}

#[tokio::test]
async fn a_call_with_streams_is_cancelled_when_the_last_of_it_is_dropped() {
    let valley = Valley::open().await;
    let opening = valley.client.haul().cancel_on_drop().open();
    let (mut loads, call) = within(SOON, opening).await.unwrap();
    valley.has("the handler runs", |log| log.begun == 1).await;
    // Its stream keeps it going.
    drop(call);
    within(SOON, loads.send(1)).await.unwrap();
    within(SOON, loads.flush()).await.unwrap();
    let log = valley.has("the load is there", |log| log.hauled == 1).await;
    assert!(log.told.is_empty(), "{log:?}");
    drop(loads);
    valley.has("the handler is told", |log| log.told.len() == 1).await;
}

#[tokio::test]
async fn a_handlers_own_call_goes_on_without_it_if_it_asked_for_nothing_else() {
    let valley = Valley::open().await;
    let spy = connect(&valley.nats.url(), "spy").await;
    let mut cancels = spy.nats().unwrap().subscribe("rq.req.quarry.-cancel.>").await.unwrap();
    spy.nats().unwrap().flush().await.unwrap();
    let parent = within(SOON, valley.client.have_dug().start()).await.unwrap();
    valley.has("both run", |log| log.begun == 2).await;
    let id = parent.id().clone();
    within(SOON, parent.cancel()).await.unwrap();
    let answer = within(SOON, parent).await;
    assert!(is_cancelled(&answer), "{answer:?}");
    // The child's would have come in between.
    let other = within(SOON, valley.client.dig(2).start()).await.unwrap();
    within(SOON, other.cancel()).await.unwrap();
    for id in [&id, other.id()] {
        let cancelled = within(SOON, cancels.next()).await.unwrap().subject;
        assert_eq!(cancelled.as_str(), format!("rq.req.quarry.-cancel.{SHOP}.{id}"));
    }
    within(SOON, other).await.unwrap();
    valley.quarry.gate.send_replace(true);
    assert_eq!(within(SOON, valley.client.attach_dig("stones")).await.unwrap(), 5);
    let log = valley.quarry.log();
    assert_eq!((log.begun, log.told.len(), log.dropped.len()), (3, 2, 1), "{log:?}");
}

#[tokio::test]
async fn a_handlers_own_call_ends_with_it_when_it_is_killed() {
    let valley = Valley::open().await;
    let parent = within(SOON, valley.client.have_dug_until_killed().start()).await.unwrap();
    valley.has("both run", |log| log.begun == 2).await;
    within(SOON, parent.cancel()).await.unwrap();
    let answer = within(SOON, parent).await;
    assert!(is_cancelled(&answer), "{answer:?}");
    // It had ended with what there was when it was told.
    assert_eq!(within(SOON, valley.client.attach_dig("stones")).await.unwrap(), 0);
    let log = valley.quarry.log();
    assert_eq!((log.begun, log.told.len(), log.dropped.len()), (2, 2, 1), "{log:?}");
}

#[tokio::test]
async fn a_handlers_own_call_ends_with_it_when_it_takes_too_long() {
    let valley = Valley::open().await;
    match within(SOON, valley.client.have_dug_for_too_long()).await {
        Err(CallError::Aborted(aborted)) => assert_eq!(aborted.reason, Reason::TimedOut),
        other => panic!("{other:?}"),
    }
    assert_eq!(within(SOON, valley.client.attach_dig("stones")).await.unwrap(), 0);
    let log = valley.quarry.log();
    assert_eq!((log.begun, log.told.len(), log.dropped.len()), (2, 1, 1), "{log:?}");
}

#[tokio::test]
async fn a_handler_that_is_told_to_end_has_its_time_for_that() {
    let valley = Valley::open().await;
    let call = within(SOON, valley.client.go_on_digging().start()).await.unwrap();
    valley.has("the handler runs", |log| log.begun == 1).await;
    within(SOON, call.cancel()).await.unwrap();
    let answer = within(SOON, call).await;
    assert!(is_cancelled(&answer), "{answer:?}");
    let log = valley.quarry.log();
    let took = log.dropped[0].duration_since(log.told[0]);
    // Its clock and the handler's own look at theirs within the same turn, in either order.
    assert!(took + Duration::from_millis(5) >= KILL_AFTER, "{took:?}");
}

/// Also what could not have run is judged by its deadline first: nobody looks at the request of one that is over.
#[tokio::test]
async fn what_has_expired_and_cannot_be_read_has_expired() {
    let valley = Valley::open().await;
    let misread = MisreadClient::new(valley.client.client().clone());
    let busy = within(SOON, valley.client.sieve(1).start()).await.unwrap();
    valley.has("the handler runs", |log| log.begun == 1).await;
    let in_time = within(SOON, misread.sieve("in time".into()).start()).await.unwrap();
    let deadline = Duration::from_millis(300);
    let late = within(SOON, misread.sieve("late".into()).deadline(deadline)).await;
    let Err(CallError::Unknown(Unknown { id, why: Why::DeadlinePassed, .. })) = late else {
        panic!("{late:?}")
    };
    // It counts from when the request was stored, which may have been a moment ago.
    tokio::time::sleep(deadline * 2).await;
    valley.quarry.gate.send_replace(true);
    assert_eq!(within(SOON, busy).await.unwrap(), 1);
    let late = within(SOON, misread.attach_sieve("").id(id)).await;
    assert!(matches!(late, Err(CallError::Rejected(Rejected::Expired))), "{late:?}");
    let in_time = within(SOON, in_time).await;
    assert!(matches!(in_time, Err(CallError::Rejected(Rejected::Undecodable { .. }))), "{in_time:?}");
    assert_eq!(valley.quarry.log().begun, 1);
}
