//! How far a handler is, as its caller and whoever attaches later see it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use requite::{CallEvent, CallEvents, Progress, prelude::*};
use tokio::sync::Semaphore;

use super::fixture::{SHOP, SOON, connect, serve, until, within};

#[derive(Clone, Debug, thiserror::Error, Serialize, Deserialize, CallError)]
#[error("the ink is out")]
#[retry(after = "10ms")]
struct InkOut;

/// Prints pages, and goes on when it is let.
#[derive(Clone)]
struct Printer {
    go_on: Arc<Semaphore>,
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
    go_on: Arc<Semaphore>,
    _worker: requite::RunningServer,
}

impl Shop {
    async fn open() -> Self {
        let nats = requite_test::NatsServer::start().await.unwrap();
        let go_on = Arc::new(Semaphore::new(0));
        let _worker = serve(&nats.url(), Printer { go_on: Arc::clone(&go_on) }).await;
        Self { nats, go_on, _worker }
    }

    async fn client(&self) -> PrinterClient {
        PrinterClient::new(connect(&self.nats.url(), SHOP).await)
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
    let [CallEvent::Accepted { sequence: Some(1..) }, CallEvent::Started { attempt: 1, .. }] = &before[..]
    else {
        panic!("{before:?}")
    };

    // What is stored is read, and no heartbeat is waited for.
    let spy = connect(&shop.nats.url(), SHOP).await;
    until("the progress is stored", async || {
        let reading = spy
            .nats()
            .unwrap()
            .request("$JS.API.STREAM.INFO.rq_OUT_printer", r#"{"subjects_filter":"rq.pgr.>"}"#.into());
        let info: serde_json::Value = serde_json::from_slice(&reading.await.unwrap().payload).unwrap();
        info["state"]["subjects"].as_object().is_some_and(|subjects| subjects.len() == 1)
    })
    .await;
    let elsewhere = shop.client().await;
    let mut attached = within(SOON, elsewhere.attach_print("flyer").start()).await.unwrap();
    let mut late = attached.events();
    let (seen, before) = report(&mut late).await;
    assert_eq!(seen, half);
    let [CallEvent::Accepted { sequence: Some(1..) }, CallEvent::Started { attempt: 1, .. }] = &before[..]
    else {
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
