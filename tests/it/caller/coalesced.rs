//! Reports by the hundred thousand, as the wire sees them: ten signals a second, and one write.

use std::time::Instant;

use futures_util::{FutureExt, StreamExt};
use requite::{Progress, async_nats, prelude::*};
use requite_test::NatsServer;
use tokio::sync::watch;

use super::fixture::{SHOP, SOON, connect, serve, until, within};

/// So many at least, however fast this machine is.
const REPORTS: u64 = 200_000;
/// So many signals, and so many writes, have to be seen before the handler may end.
const SEEN: usize = 2;

/// What a signal, and what is stored, have in common: the newest report.
#[derive(Deserialize)]
struct Report {
    number: u64,
}

#[derive(Deserialize)]
struct Signal {
    kind: String,
    progress: Option<Report>,
}

#[derive(Deserialize)]
struct Stored {
    report: Report,
}

/// Reports without a pause, until it is told to end.
struct Press {
    ends: watch::Receiver<bool>,
}

#[service(name = "press")]
impl Press {
    /// Returns how many reports there were.
    #[handler]
    async fn roll(&self, cx: &Context) -> u64 {
        let mut reports = 0;
        while reports < REPORTS || !*self.ends.borrow() {
            reports += 1;
            cx.progress(Progress::of(reports, REPORTS));
            if reports.is_multiple_of(1_000) {
                tokio::task::yield_now().await;
            }
        }
        reports
    }
}

/// The numbers of the reports in what has come by now.
fn numbers(messages: &mut async_nats::Subscriber, number: impl Fn(&[u8]) -> Option<u64>) -> Vec<u64> {
    let come = std::iter::from_fn(|| messages.next().now_or_never().flatten());
    come.filter_map(|it| number(&it.payload)).collect()
}

fn of_signal(payload: &[u8]) -> Option<u64> {
    let signal: Signal = rmp_serde::from_slice(payload).unwrap();
    let progress = signal.progress.filter(|_| signal.kind == "progress");
    progress.map(|report| report.number)
}

fn of_write(payload: &[u8]) -> Option<u64> {
    Some(rmp_serde::from_slice::<Stored>(payload).unwrap().report.number)
}

/// The number of the report that is stored.
async fn stored(nats: &NatsServer) -> Option<u64> {
    let subject = format!("rq.pgr.press.{SHOP}.*.*");
    let question = serde_json::json!({ "last_by_subj": subject }).to_string();
    let answer = nats.ask("$JS.API.STREAM.MSG.GET.rq_OUT_press", question).await.unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
    let data = answer["message"]["data"].as_str()?;
    of_write(&data_encoding::BASE64.decode(data.as_bytes()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_thousands_of_reports_are_ten_signals_and_one_write_a_second() {
    let nats = NatsServer::start().await.unwrap();
    let (end, ends) = watch::channel(false);
    let _worker = serve(&nats.url(), Press { ends }).await;
    let client = PressClient::new(connect(&nats.url(), SHOP).await);
    let spy = async_nats::connect(nats.url()).await.unwrap();
    let mut signals = spy.subscribe(format!("rq.sig.press.{SHOP}.*.*")).await.unwrap();
    // What is refused is heard there as well: so no more is stored than this.
    let mut writes = spy.subscribe(format!("rq.put.*.pgr.press.{SHOP}.*.*")).await.unwrap();
    spy.flush().await.unwrap();

    let began = Instant::now();
    let call = within(SOON, client.roll().start()).await.unwrap();
    let (mut signalled, mut written) = (Vec::new(), Vec::new());
    until("there are signals and writes", async || {
        signalled.extend(numbers(&mut signals, of_signal));
        written.extend(numbers(&mut writes, of_write));
        signalled.len() >= SEEN && written.len() >= SEEN
    })
    .await;
    until("a later one takes the place of the first", async || stored(&nats).await > Some(written[0])).await;
    end.send_replace(true);
    let reports = within(SOON, call).await.unwrap();
    // What the server sent before this answer is here when the answer is.
    spy.request("$JS.API.INFO", "".into()).await.unwrap();
    signalled.extend(numbers(&mut signals, of_signal));
    written.extend(numbers(&mut writes, of_write));
    // From before the first to behind the last: whatever is late, there can only be fewer.
    let took = began.elapsed();

    println!("{reports} reports in {took:?}: {} signals, {} writes", signalled.len(), written.len());
    assert!(reports >= REPORTS, "{reports}");
    assert!(signalled.len() as u128 <= took.as_millis() / 100 + 1, "{} in {took:?}", signalled.len());
    // The first one comes a second after the first report.
    assert!(written.len() as u64 <= took.as_secs(), "{} in {took:?}", written.len());
    // Each with the newest report, which is another one than before.
    for numbers in [&signalled, &written] {
        assert!(numbers.is_sorted_by(|before, behind| before < behind), "{numbers:?}");
    }
}
