//! How far a handler is, as its caller and whoever attaches later see it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use requite::{CallEvent, CallEvents, Progress, prelude::*};
use requite_test::Proxy;
use tokio::sync::{Semaphore, watch};

use super::fixture::{SHOP, SOON, connect, info, serve, until, within};

#[derive(Clone, Debug, thiserror::Error, Serialize, Deserialize, CallError)]
#[error("the ink is out")]
#[retry(after = "10ms")]
struct InkOut;

/// Prints pages, and goes on when it is let.
#[derive(Clone)]
struct Printer {
    go_on: Arc<Semaphore>,
    /// When a handler came to the point that the test waits for.
    there: watch::Sender<Option<Instant>>,
}

#[service(name = "printer")]
impl Printer {
    /// Says where it is, waits, says that it is done, waits.
    #[handler]
    async fn print(&self, cx: &Context, pages: u32) {
        cx.progress(Progress::of(pages / 2, pages).message("half"));
        self.go_on.acquire().await.unwrap().forget();
        cx.progress(Progress::of(pages, pages).message("done"));
        self.go_on.acquire().await.unwrap().forget();
    }

    /// Reports each page and blocks its thread all the time, then waits.
    #[handler]
    async fn rush(&self, cx: &Context, pages: u32) {
        for page in 1..=pages {
            cx.progress(Progress::value(&(page, "rushed")));
            std::thread::sleep(Duration::from_millis(1));
        }
        self.go_on.acquire().await.unwrap().forget();
    }

    /// Reports once, and keeps it with a checkpoint.
    #[handler]
    async fn number(&self, cx: &Context) {
        self.there.send_replace(Some(Instant::now()));
        cx.progress(Progress::of(1, 2));
        cx.checkpoint("numbered").await.unwrap();
        self.go_on.acquire().await.unwrap().forget();
    }

    /// Reports once, and each page when it is let: for longer than until the first report is stored. Returns the longest
    /// time that a report took.
    #[handler]
    async fn proof(&self, cx: &Context, pages: u32) -> Duration {
        let mut longest = Duration::ZERO;
        cx.progress(Progress::value(&(0, "")));
        self.go_on.acquire().await.unwrap().forget();
        let text = "x".repeat(4_000);
        for page in 1..=pages {
            let began = Instant::now();
            cx.progress(Progress::value(&(page, &text)));
            longest = longest.max(began.elapsed());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.there.send_replace(Some(Instant::now()));
        self.go_on.acquire().await.unwrap().forget();
        longest
    }

    /// Fails at first.
    #[handler]
    async fn jam(&self, cx: &Context) -> Result<(), InkOut> {
        cx.progress(Progress::of(cx.attempt(), 2));
        self.go_on.acquire().await.unwrap().forget();
        if cx.attempt() == 1 { Err(InkOut) } else { Ok(()) }
    }
}

struct Shop {
    nats: requite_test::NatsServer,
    /// Between the server and the worker.
    proxy: Proxy,
    printer: Printer,
    go_on: Arc<Semaphore>,
    _worker: requite::RunningServer,
}

impl Shop {
    async fn open() -> Self {
        let nats = requite_test::NatsServer::start().await.unwrap();
        let proxy = Proxy::start(([127, 0, 0, 1], nats.port()).into()).await.unwrap();
        let go_on = Arc::new(Semaphore::new(0));
        let printer = Printer { go_on: Arc::clone(&go_on), there: watch::Sender::new(None) };
        let _worker = serve(&proxy.url(), printer.clone()).await;
        Self { nats, proxy, printer, go_on, _worker }
    }

    async fn client(&self) -> PrinterClient {
        PrinterClient::new(connect(&self.nats.url(), SHOP).await)
    }

    /// Waits until the progress of so many calls is stored.
    async fn keeps(&self, calls: usize) {
        until("the progress is stored", async || {
            let stored = info(&self.nats, "rq_OUT_printer").await["state"]["subjects"].clone();
            let subjects = stored.as_object().into_iter().flat_map(|subjects| subjects.keys());
            subjects.filter(|subject| subject.starts_with("rq.pgr.")).count() == calls
        })
        .await;
    }
}

/// The next report, and what came before it.
async fn report(events: &mut CallEvents) -> (Progress, Vec<CallEvent>) {
    let mut before = Vec::new();
    loop {
        match within(SOON, events.next()).await.expect("a report comes before the end") {
            CallEvent::Progress(progress) => return (progress, before),
            event => before.push(event),
        }
    }
}

async fn rest(mut events: CallEvents) -> Vec<CallEvent> {
    let mut all = Vec::new();
    while let Some(event) = within(SOON, events.next()).await {
        all.push(event);
    }
    all
}

#[tokio::test]
async fn events_come_in_order_and_late_watchers_see_the_last_progress() {
    let shop = Shop::open().await;
    let mut call = within(SOON, shop.client().await.print(10).key("flyer").start()).await.unwrap();
    let mut events = call.events();
    let (half, before) = report(&mut events).await;
    assert_eq!((half.fraction(), half.text()), (Some(0.5), Some("half")));
    let [CallEvent::Accepted { .. }, CallEvent::Started { attempt: 1, .. }] = &before[..] else {
        panic!("{before:?}")
    };

    // What is stored is read, and no heartbeat is waited for.
    shop.keeps(1).await;
    let elsewhere = shop.client().await;
    let mut attached = within(SOON, elsewhere.attach_print("flyer").start()).await.unwrap();
    let mut late = attached.events();
    let (seen, before) = report(&mut late).await;
    assert_eq!(seen, half);
    let [CallEvent::Accepted { .. }, CallEvent::Started { attempt: 1, .. }] = &before[..] else {
        panic!("{before:?}")
    };

    shop.go_on.add_permits(1);
    for events in [&mut events, &mut late] {
        let (done, _) = report(events).await;
        assert_eq!((done.fraction(), done.text()), (Some(1.0), Some("done")));
    }
    shop.go_on.add_permits(1);
    for events in [events, late] {
        assert_eq!(rest(events).await.last(), Some(&CallEvent::Done { attempt: 1 }));
    }
    within(SOON, call).await.unwrap();
    within(SOON, attached).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_reports_become_a_few_and_the_last_is_seen_also_of_a_handler_that_blocks() {
    const PAGES: u32 = 1_000;
    let shop = Shop::open().await;
    let began = Instant::now();
    let mut call = within(SOON, shop.client().await.rush(PAGES).start()).await.unwrap();
    let mut events = call.events();
    let (mut seen, mut last) = (0, 0);
    while last < PAGES {
        let (progress, _) = report(&mut events).await;
        let (page, how): (u32, String) = progress.decode().unwrap().unwrap();
        assert!(page > last && how == "rushed", "{page} after {last}");
        (seen, last) = (seen + 1, page);
    }
    let most = began.elapsed().as_millis() / 100 + 2;
    // The first was sent while the handler still blocked.
    assert!((2..=most).contains(&seen), "{seen} of at most {most}");
    shop.go_on.add_permits(1);
    within(SOON, call).await.unwrap();
}

#[tokio::test]
async fn a_new_attempt_is_told_and_its_progress_begins_anew() {
    let shop = Shop::open().await;
    let mut call = within(SOON, shop.client().await.jam().start()).await.unwrap();
    let mut events = call.events();
    assert_eq!(report(&mut events).await.0, Progress::of(1, 2));
    shop.go_on.add_permits(1);
    let (second, before) = report(&mut events).await;
    assert_eq!(second, Progress::of(2, 2));
    assert!(matches!(before.last(), Some(CallEvent::Restarted { attempt: 2, .. })), "{before:?}");
    shop.go_on.add_permits(1);
    assert_eq!(rest(events).await.last(), Some(&CallEvent::Done { attempt: 2 }));
    within(SOON, call).await.unwrap();
}

#[tokio::test]
async fn events_end_with_a_call_that_is_dropped() {
    let shop = Shop::open().await;
    let mut call = within(SOON, shop.client().await.print(10).start()).await.unwrap();
    let mut events = call.events();
    report(&mut events).await;
    drop(call);
    rest(events).await;
}

#[tokio::test]
async fn progress_before_a_checkpoint_is_seen_at_once_by_whoever_attaches() {
    let shop = Shop::open().await;
    let (client, elsewhere) = (shop.client().await, shop.client().await);
    // A machine that is busy may take more than the second after which it is stored anyway.
    for calls in 1..=10 {
        let call = within(SOON, client.number().key(calls.to_string()).start()).await.unwrap();
        shop.keeps(calls).await;
        let mut attached = within(SOON, elsewhere.attach_number(calls.to_string()).start()).await.unwrap();
        let (seen, _) = report(&mut attached.events()).await;
        let reported = shop.printer.there.borrow().expect("it was reported");
        let took = reported.elapsed();
        assert_eq!(seen, Progress::of(1, 2));
        shop.go_on.add_permits(1);
        within(SOON, call).await.unwrap();
        if took < Duration::from_secs(1) {
            return;
        }
    }
    panic!("nobody has seen it within a second");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_reports_on_while_its_worker_hears_nothing_of_the_server() {
    const PAGES: u32 = 1_500;
    let shop = Shop::open().await;
    let mut call = within(SOON, shop.client().await.proof(PAGES).start()).await.unwrap();
    let mut events = call.events();
    report(&mut events).await;
    shop.proxy.freeze();
    shop.go_on.add_permits(1);
    let mut there = shop.printer.there.subscribe();
    within(2 * SOON, there.wait_for(Option::is_some)).await.expect("the printer holds the sender");
    shop.proxy.thaw();
    let mut last = 0;
    while last < PAGES {
        let (progress, _) = report(&mut events).await;
        (last, _) = progress.decode::<(u32, String)>().unwrap().unwrap();
    }
    shop.go_on.add_permits(1);
    // An answer of the server would have taken longer.
    let longest = within(SOON, call).await.unwrap();
    assert!(longest < Duration::from_secs(1), "{longest:?}");
}
