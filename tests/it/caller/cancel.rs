//! Calls that are cancelled: before they start, while they run, at their end and after it.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures_util::StreamExt;
use requite::{CallError, CancelAnswer, RunningServer, async_nats, prelude::*};
use requite_test::{NatsCluster, NatsServer};
use tokio::sync::watch;

use super::fixture::{SHOP, SOON, connect, serve, stored, until, within};

#[derive(Clone, Debug, thiserror::Error, Serialize, Deserialize, CallError)]
#[error("the stone is hot")]
#[retry(after = "2s")]
struct Hot;

/// Grinds, and does with a cancellation as it is told to.
#[derive(Clone)]
struct Mill {
    runs: Arc<AtomicU32>,
    gate: watch::Sender<bool>,
    dropped: Arc<AtomicU32>,
    /// For calls that handlers make.
    other: Arc<Mutex<Option<MillClient>>>,
    /// How often each request was run that is raced.
    raced: Arc<Mutex<HashMap<String, u32>>>,
}

struct CountsDrop(Arc<AtomicU32>);

impl Drop for CountsDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Mill {
    fn new() -> Self {
        let (gate, _) = watch::channel(false);
        Self {
            runs: Arc::default(),
            gate,
            dropped: Arc::default(),
            other: Arc::default(),
            raced: Arc::default(),
        }
    }

    fn runs(&self) -> u32 {
        self.runs.load(Ordering::SeqCst)
    }

    async fn open(&self) {
        let mut gate = self.gate.subscribe();
        gate.wait_for(|open| *open).await.expect("the mill holds the sender");
    }
}

#[service(name = "mill")]
impl Mill {
    /// One at a time, when the test lets it.
    #[handler(concurrency = 1)]
    async fn queue(&self, sack: u32) -> u32 {
        self.runs.fetch_add(1, Ordering::SeqCst);
        self.open().await;
        sack
    }

    /// Ends with what there is when it is told.
    #[handler]
    async fn heed(&self, cx: &Context, sacks: u32) -> u32 {
        self.runs.fetch_add(1, Ordering::SeqCst);
        tokio::select! {
            () = cx.cancelled() => sacks / 2,
            () = self.open() => sacks,
        }
    }

    /// Blocks its thread, and looks up now and then.
    #[handler]
    async fn spin(&self, cx: &Context) -> bool {
        self.runs.fetch_add(1, Ordering::SeqCst);
        while !cx.is_cancelled() && !*self.gate.borrow() {
            std::thread::sleep(Duration::from_millis(10));
        }
        cx.is_cancelled()
    }

    /// Blocks its thread until the test lets it, whatever it is told.
    #[handler(lease = "20s", kill_after = "200ms")]
    async fn block(&self) {
        self.runs.fetch_add(1, Ordering::SeqCst);
        while !*self.gate.borrow() {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Goes on whatever it is told.
    #[handler(kill_after = "200ms")]
    async fn ignore(&self) {
        self.runs.fetch_add(1, Ordering::SeqCst);
        let _counts = CountsDrop(Arc::clone(&self.dropped));
        std::future::pending::<()>().await;
    }

    /// Fails, and would be tried again after a while.
    #[handler]
    async fn fail(&self) -> Result<(), Hot> {
        self.runs.fetch_add(1, Ordering::SeqCst);
        Err(Hot)
    }

    /// Has the other mill do it, which ends with this.
    #[handler]
    async fn pass_on(&self) -> String {
        let other = self.other.lock().unwrap().clone().expect("the test sets it");
        match other.heed(10).cascade().await {
            Ok(sacks) => format!("the other ground {sacks}"),
            Err(error) => error.to_string(),
        }
    }

    /// Takes some microseconds, and gives up when it is told.
    #[handler]
    async fn race(&self, cx: &Context, micros: u64) -> Result<u64, Hot> {
        *self.raced.lock().unwrap().entry(cx.id().to_owned()).or_default() += 1;
        tokio::select! {
            () = cx.cancelled() => Err(Hot),
            () = tokio::time::sleep(Duration::from_micros(micros)) => Ok(micros),
        }
    }
}

struct Town {
    nats: NatsServer,
    mill: Mill,
    worker: RunningServer,
    client: MillClient,
}

impl Town {
    async fn open() -> Self {
        let (nats, mill) = (NatsServer::start().await.unwrap(), Mill::new());
        let worker = serve(&nats.url(), mill.clone()).await;
        let client = MillClient::new(connect(&nats.url(), SHOP).await);
        *mill.other.lock().unwrap() = Some(client.clone());
        Self { nats, mill, worker, client }
    }

    async fn has_begun(&self, runs: u32) {
        until("handlers run", async || self.mill.runs() >= runs).await;
    }
}

fn may_have_run<T: std::fmt::Debug, E: std::fmt::Debug>(answer: Result<T, requite::CallError<E>>) -> bool {
    match answer {
        Err(CallError::Cancelled(cancelled)) => cancelled.may_have_run,
        other => panic!("not cancelled: {other:?}"),
    }
}

#[tokio::test]
async fn what_waits_for_a_slot_is_cancelled_and_never_runs() {
    let town = Town::open().await;
    let running = within(SOON, town.client.queue(1).start()).await.unwrap();
    town.has_begun(1).await;
    let waiting = within(SOON, town.client.queue(2).start()).await.unwrap();
    assert_eq!(within(SOON, waiting.cancel()).await, Ok(CancelAnswer::Signalled));
    assert_eq!(within(SOON, waiting.cancel()).await, Ok(CancelAnswer::Signalled));
    let id = waiting.id().clone();
    town.mill.gate.send_replace(true);
    assert!(!may_have_run(within(SOON, waiting).await));
    assert_eq!(within(SOON, running).await.unwrap(), 1);
    assert_eq!(town.mill.runs(), 1);
    // Also by id, and after the end.
    assert_eq!(within(SOON, town.client.cancel(&id)).await, Ok(CancelAnswer::CancelledBeforeStart));
}

#[tokio::test]
async fn what_no_worker_is_there_for_is_cancelled_and_never_runs() {
    let town = Town::open().await;
    town.worker.shutdown().await;
    let by_id = within(SOON, town.client.heed(1).start()).await.unwrap();
    let by_key = within(SOON, town.client.heed(2).key("sack").start()).await.unwrap();
    assert_eq!(within(SOON, by_id.cancel()).await, Ok(CancelAnswer::Signalled));
    assert_eq!(within(SOON, town.client.attach_heed("sack").cancel()).await, Ok(CancelAnswer::Signalled));
    let _worker = serve(&town.nats.url(), town.mill.clone()).await;
    // A server that was killed would have forgotten who had them, so no worker can say for sure that none had.
    may_have_run(within(SOON, by_id).await);
    may_have_run(within(SOON, by_key).await);
    assert_eq!(town.mill.runs(), 0);
}

/// Several servers do not forget who had a request, so there it is known that nobody had.
#[tokio::test(flavor = "multi_thread")]
async fn what_no_worker_is_there_for_on_three_servers_has_certainly_never_run() {
    let (cluster, mill) = (NatsCluster::start(3).await.unwrap(), Mill::new());
    let client = connect(&cluster.url(0), SHOP).await;
    let server = || Server::new(&client).serve(mill.clone()).replicas(3);
    within(SOON * 3, server().prepare()).await.unwrap();
    let caller = MillClient::new(client.clone());
    let call = within(SOON * 3, caller.heed(1).start()).await.unwrap();
    let id = call.id().clone();
    assert_eq!(within(SOON, call.cancel()).await, Ok(CancelAnswer::Signalled));
    let _worker = within(SOON * 3, server().start()).await.unwrap();
    assert!(!may_have_run(within(SOON * 3, call).await));
    assert_eq!(mill.runs(), 0);
    assert_eq!(within(SOON, caller.cancel(&id)).await, Ok(CancelAnswer::CancelledBeforeStart));
}

#[tokio::test]
async fn a_handler_that_runs_is_told_and_may_end_with_a_value() {
    let town = Town::open().await;
    let call = within(SOON, town.client.heed(10).start()).await.unwrap();
    town.has_begun(1).await;
    let answer = within(SOON, call.cancel()).await.unwrap();
    // The value may be stored before the caller looks.
    assert!([CancelAnswer::Signalled, CancelAnswer::AlreadyDone].contains(&answer), "{answer:?}");
    let id = call.id().clone();
    assert_eq!(within(SOON, call).await.unwrap(), 5);
    assert_eq!(within(SOON, town.client.cancel(&id)).await, Ok(CancelAnswer::AlreadyDone));
}

/// It is given nothing more that asks to cancel.
#[tokio::test]
async fn a_handler_is_told_while_its_only_worker_stops() {
    let Town { nats: _nats, mill, worker, client } = Town::open().await;
    let call = within(SOON, client.heed(10).start()).await.unwrap();
    until("the handler runs", async || mill.runs() == 1).await;
    let mut stops = Box::pin(worker.shutdown());
    assert!(futures_util::poll!(&mut stops).is_pending());
    let stops = tokio::spawn(stops);
    within(SOON, call.cancel()).await.unwrap();
    assert_eq!(within(SOON, call).await.unwrap(), 5);
    within(SOON, stops).await.unwrap();
}

#[tokio::test]
async fn a_handler_is_told_where_its_only_worker_was_dropped() {
    let Town { nats: _nats, mill, worker, client } = Town::open().await;
    let call = within(SOON, client.heed(10).start()).await.unwrap();
    until("the handler runs", async || mill.runs() == 1).await;
    drop(worker);
    within(SOON, call.cancel()).await.unwrap();
    assert_eq!(within(SOON, call).await.unwrap(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_blocks_its_thread_is_told() {
    let town = Town::open().await;
    let call = within(SOON, town.client.spin().start()).await.unwrap();
    town.has_begun(1).await;
    within(SOON, call.cancel()).await.unwrap();
    assert!(within(SOON, call).await.unwrap());
}

#[tokio::test]
async fn a_handler_that_goes_on_is_dropped() {
    let town = Town::open().await;
    let call = within(SOON, town.client.ignore().start()).await.unwrap();
    town.has_begun(1).await;
    assert_eq!(within(SOON, call.cancel()).await, Ok(CancelAnswer::Signalled));
    assert!(may_have_run(within(SOON, call).await));
    assert_eq!((town.mill.runs(), town.mill.dropped.load(Ordering::SeqCst)), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_blocks_its_thread_and_goes_on_is_ended_without_it() {
    let town = Town::open().await;
    let call = within(SOON, town.client.block().start()).await.unwrap();
    town.has_begun(1).await;
    assert_eq!(within(SOON, call.cancel()).await, Ok(CancelAnswer::Signalled));
    assert!(may_have_run(within(SOON, call).await));
    town.mill.gate.send_replace(true);
}

#[tokio::test]
async fn what_waits_for_another_attempt_gets_none() {
    let town = Town::open().await;
    let call = within(SOON, town.client.fail().start()).await.unwrap();
    until("the request is released", async || town.worker.stats().handed_over > 0).await;
    assert_eq!(within(SOON, call.cancel()).await, Ok(CancelAnswer::Signalled));
    assert!(may_have_run(within(SOON, call).await));
    assert_eq!(town.mill.runs(), 1);
}

/// The server's own answers can be aimed at any subject, past the permissions of whoever asks.
#[tokio::test]
async fn what_the_server_was_made_to_publish_cancels_nothing() {
    let town = Town::open().await;
    let running = within(SOON, town.client.heed(10).start()).await.unwrap();
    let _busy = within(SOON, town.client.queue(1).start()).await.unwrap();
    town.has_begun(2).await;
    let queued = within(SOON, town.client.queue(2).start()).await.unwrap();
    let stranger = connect(&town.nats.url(), "stranger").await;
    let nats = stranger.nats().unwrap();
    for id in [running.id(), queued.id()] {
        let cancel = format!("rq.req.mill.-cancel.shop.{id}");
        // An acknowledgement, and somebody else's wish as it is stored.
        let own = "rq.req.mill.-cancel.stranger.k.a";
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("Rq-V", "1");
        headers.insert("Rq-Kind", "cancel");
        headers.insert("Nats-Stream", "rq_REQ_mill");
        nats.publish_with_reply(own, cancel.clone(), "".into()).await.unwrap();
        nats.publish_with_headers(cancel, headers, "".into()).await.unwrap();
    }
    nats.flush().await.unwrap();
    until("they are buried", async || town.worker.stats().dead_letters >= 3).await;
    town.mill.gate.send_replace(true);
    assert_eq!(within(SOON, running).await.unwrap(), 10);
    assert_eq!(within(SOON, queued).await.unwrap(), 2);
}

#[tokio::test]
async fn a_call_that_is_dropped_is_cancelled_if_it_asked_for_that() {
    let town = Town::open().await;
    let spy = connect(&town.nats.url(), "spy").await;
    let mut cancels = spy.nats().unwrap().subscribe("rq.req.mill.-cancel.>").await.unwrap();
    spy.nats().unwrap().flush().await.unwrap();
    let goes_on = within(SOON, town.client.ignore().start()).await.unwrap();
    let ends = within(SOON, town.client.ignore().cancel_on_drop().start()).await.unwrap();
    town.has_begun(2).await;
    let cancelled = format!("rq.req.mill.-cancel.{SHOP}.{}", ends.id());
    // What the first one asked for would be heard first.
    drop(goes_on);
    drop(ends);
    assert_eq!(within(SOON, cancels.next()).await.unwrap().subject.as_str(), cancelled);
    until("the handler is dropped", async || town.mill.dropped.load(Ordering::SeqCst) == 1).await;
}

#[tokio::test]
async fn a_handlers_own_calls_are_cancelled_with_it_if_they_asked_for_that() {
    let town = Town::open().await;
    let call = within(SOON, town.client.pass_on().start()).await.unwrap();
    town.has_begun(1).await;
    within(SOON, call.cancel()).await.unwrap();
    assert_eq!(within(SOON, call).await.unwrap(), "the other ground 5");
}

/// A call that was cancelled at its end, or about then.
struct Race {
    id: String,
    cancelled: CancelAnswer,
    answer: Result<u64, CallError<Hot>>,
}

impl Race {
    async fn run(town: &Town, n: u64, round: u64) -> Self {
        // More than there are slots; every other one runs until it is cancelled.
        let micros = if n.is_multiple_of(2) { n * 500 } else { 2_000_000 };
        let call = town.client.race(micros).start().await.unwrap();
        let id = call.id().clone();
        tokio::time::sleep(Duration::from_micros((n * 7 + round) % 20 * 500)).await;
        let (cancelled, answer) = tokio::join!(town.client.cancel(&id), call);
        let cancelled = cancelled.unwrap();
        let ended = match (cancelled, &answer) {
            (CancelAnswer::CancelledBeforeStart, Err(CallError::Cancelled(it))) => !it.may_have_run,
            (CancelAnswer::Signalled, Err(CallError::Cancelled(it))) => it.may_have_run,
            (CancelAnswer::Signalled | CancelAnswer::AlreadyDone, Ok(_)) => true,
            _ => false,
        };
        assert!(ended, "{cancelled:?} and {answer:?}");
        // Whoever asks later is told the same.
        assert_eq!(
            answer.is_ok(),
            town.client.cancel(&id).await == Ok(CancelAnswer::AlreadyDone),
            "{answer:?}"
        );
        Self { id: id.to_string(), cancelled, answer }
    }
}

/// The ids of the outcomes that were stored, each as often as one was.
async fn outcomes(spy: &async_nats::Client, records: &mut async_nats::Subscriber) -> Vec<String> {
    let inbox = format!("rq.in.{SHOP}.mill.");
    let end = format!("{inbox}the.end");
    // What the server sent before this is heard before it.
    spy.publish(end.clone(), "".into()).await.unwrap();
    let mut ids = Vec::new();
    loop {
        let record = within(SOON, records.next()).await.unwrap();
        if record.subject.as_str() == end {
            return ids;
        }
        if record.headers.unwrap().get("Rq-Kind").unwrap().as_str() == "outcome" {
            ids.push(record.subject.strip_prefix(&inbox).unwrap().to_owned());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_races_with_the_outcome_end_in_one_result_each() {
    let town = Town::open().await;
    let spy = async_nats::connect(town.nats.url()).await.unwrap();
    let mut records = spy.subscribe(format!("rq.in.{SHOP}.mill.*.*")).await.unwrap();
    spy.flush().await.unwrap();
    let mut races = Vec::new();
    for round in 0..50 {
        let calls = (0..20).map(|n| Race::run(&town, n, round));
        races.extend(within(SOON * 3, futures_util::future::join_all(calls)).await);
    }
    until("nothing is left to do", async || stored(&town.nats, "rq_REQ_mill").await == 0).await;

    let (mut values, mut ran, mut never_ran) = (0, 0, 0);
    let raced = town.mill.raced.lock().unwrap().clone();
    let mut outcomes = outcomes(&spy, &mut records).await;
    outcomes.sort_unstable();
    let mut ids = Vec::new();
    for Race { id, cancelled, answer } in races {
        let runs = raced.get(&id).copied().unwrap_or_default();
        assert_eq!(runs, u32::from(cancelled != CancelAnswer::CancelledBeforeStart), "{id}: {answer:?}");
        ids.push(id);
        if answer.is_ok() {
            values += 1;
        } else if may_have_run(answer) {
            ran += 1;
        } else {
            never_ran += 1;
        }
    }
    ids.sort_unstable();
    assert!(outcomes == ids, "{} outcomes of {} requests", outcomes.len(), ids.len());
    println!("{values} values, {ran} cancelled while they ran, {never_ran} before");
    assert!(values > 0 && ran > 0 && never_ran > 0);
    assert_eq!((values + ran + never_ran, town.worker.stats().redeliveries), (1_000, 0));
}
