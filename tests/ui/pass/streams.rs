//! Every form of a stream: in an impl, in a contract and in free functions.

#![deny(warnings, clippy::all, missing_docs, unreachable_pub)]

use futures_util::{Stream, stream};
use requite::{Attach, Bidirectional, Call, ClientStream, Items, NoError, ServerStream, Sink, prelude::*};

#[derive(Serialize, Deserialize)]
struct Entry {
    cents: u64,
}

#[derive(Debug, thiserror::Error, Serialize, Deserialize, CallError)]
#[error("the ledger is closed")]
struct Closed;

struct Ledger {
    entries: Vec<u64>,
}

#[service]
impl Ledger {
    /// What was booked.
    #[handler(idle = "5m")]
    fn entries(&self, cx: &Context, account: u64) -> impl Stream<Item = Result<Entry, Closed>> {
        let _ = cx;
        stream::iter(self.entries.iter().map(move |cents| Ok(Entry { cents: cents + account })))
    }

    #[handler(volatile)]
    fn ticks(&self) -> impl Send + Stream<Item = u64> {
        stream::iter([1, 2, 3])
    }

    #[handler]
    fn echo(&self, items: Items<Entry>) -> impl Stream<Item = u64> + use<> {
        let _ = items;
        stream::empty()
    }

    #[handler]
    async fn export(&self, cx: &Context, _account: u64, mut sink: Sink<Entry>) -> Result<u64, Closed> {
        let (_cx, _sink) = (cx, &mut sink);
        Err(Closed)
    }

    #[handler(volatile = false, lease = "6s", idle = "3s")]
    async fn import(&self, account: u64, _: Items<Entry>) -> u64 {
        account
    }

    #[handler]
    async fn convert(&self, _items: requite::Items<Entry>, _sink: requite::Sink<Vec<u8>>) {}

    #[cfg(any())]
    #[handler]
    fn left_out(&self) -> impl Stream<Item = NoSuchType> {}
}

/// The same as a contract.
#[service]
trait Journal: Send {
    /// What was booked.
    #[handler]
    fn entries(&self, cx: &Context, account: u64) -> impl Stream<Item = Result<Entry, Closed>>;

    #[handler]
    fn ticks(&self) -> impl Stream<Item = u64> + Send;

    #[handler]
    async fn import(&self, items: Items<Entry>) -> Result<u64, Closed>;

    #[handler]
    async fn convert(&self, cx: &Context, account: u64, items: Items<Entry>, sink: Sink<u64>);
}

impl Journal for Ledger {
    fn entries(&self, _cx: &Context, account: u64) -> impl Stream<Item = Result<Entry, Closed>> {
        stream::iter(self.entries.iter().map(move |cents| Ok(Entry { cents: cents + account })))
    }

    fn ticks(&self) -> impl Stream<Item = u64> {
        stream::empty()
    }

    async fn import(&self, _items: Items<Entry>) -> Result<u64, Closed> {
        Err(Closed)
    }

    async fn convert(&self, _cx: &Context, _account: u64, _items: Items<Entry>, _sink: Sink<u64>) {}
}

/// Counts.
#[service]
#[handler(volatile, idle = "15s")]
fn count_up(cx: &Context, from: u64) -> impl Stream<Item = u64> {
    stream::iter([from, u64::from(cx.attempt())])
}

#[service]
async fn book_all(_entries: Items<Entry>) -> Result<u64, NoError> {
    Ok(7)
}

/// Names that the expansion has as well.
mod names {
    use futures_util::stream::{Empty, empty};
    use requite::prelude::*;

    #[service]
    fn stream(items: requite::Items<u64>) -> impl futures_util::Stream<Item = Result<u64, requite::NoError>> {
        let _ = items;
        let items: Empty<_> = empty();
        items
    }

    #[service]
    async fn items(sink: u64, items: requite::Items<u64>) -> u64 {
        let _ = items;
        sink
    }

    #[service]
    async fn sink(items: requite::Items<u64>, sink: requite::Sink<u64>) {
        let _ = (items, sink);
    }

    pub(super) fn definitions() -> [requite::ServiceDefinition; 3] {
        use requite::Service as S;
        [S::definition(Stream), S::definition(Items), S::definition(Sink)]
    }
}

fn calls(ledger: LedgerClient, journal: JournalClient, count_up: CountUpClient, book_all: BookAllClient) {
    let _: Call<(), Closed, ServerStream<Entry>> = ledger.entries(7);
    let _: Call<(), NoError, ServerStream<u64>> = ledger.ticks();
    let _: Call<(), NoError, Bidirectional<Entry, u64>> = ledger.echo();
    let _: Call<u64, Closed, ServerStream<Entry>> = ledger.export(7);
    let _: Call<u64, NoError, ClientStream<Entry>> = ledger.import(7);
    let _: Call<(), NoError, Bidirectional<Entry, Vec<u8>>> = ledger.convert();
    let _: Attach<u64, Closed, ServerStream<Entry>> = ledger.attach_export("key");
    let _: Attach<u64, NoError, ClientStream<Entry>> = ledger.attach_import("key");
    let _: Attach<(), NoError, Bidirectional<Entry, Vec<u8>>> = ledger.attach_convert("key");

    let _: Call<(), Closed, ServerStream<Entry>> = journal.entries(7);
    let _: Call<(), NoError, ServerStream<u64>> = journal.ticks();
    let _: Call<u64, Closed, ClientStream<Entry>> = journal.import();
    let _: Call<(), NoError, Bidirectional<Entry, u64>> = journal.convert(7);

    let _: Call<(), NoError, ServerStream<u64>> = count_up.count_up(7);
    let _: Call<u64, NoError, ClientStream<Entry>> = book_all.book_all();
}

fn main() {
    let _definition = requite::Service::definition(Ledger { entries: vec![1, 2] });
    let _contract = Ledger { entries: Vec::new() }.into_service();
    let _functions = (CountUp, BookAll, names::definitions());
    let _ = calls;
}
