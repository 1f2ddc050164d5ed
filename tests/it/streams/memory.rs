//! Streams of hundreds of megabytes past a reader that is slow: the process of the writer, and that of the reader, grow by
//! little more than the credit.

use std::{path::Path, process::Stdio};

use futures_util::{FutureExt, StreamExt};
use requite::{Accepted, HandlerError, Items, NoError, Sink, async_nats, prelude::*};
use requite_test::{NatsServer, memory_bytes};
use serde_bytes::ByteBuf;
use tempfile::TempDir;
use tests::{
    dam::{BLOCK, DamClient, ITEM, block},
    entry::{Event, Life},
    ledger::Ledger,
    process::Process,
    role::Role,
};
use tokio::sync::watch;

use crate::caller::fixture::{SHOP, SOON, connect, until, within};

/// How often the reader stops.
const STOPS: u32 = 8;
/// How much it reads in between: many times what may be unread.
const STRETCH: u32 = 512;
const COUNT: u64 = STOPS as u64 * STRETCH as u64;
/// What a process may grow by. It is many times the credit, for frames on their way, buffers of the connections and what the
/// allocator keeps; of what flows it is an eighth.
const MOST: u64 = 32 << 20;
const _: () = assert!(COUNT * ITEM > 8 * MOST);

/// How much a reader has let its writer send.
#[derive(Deserialize)]
struct Credit {
    bytes: u64,
}

/// A dam in a process of its own, how large that is, and somebody who hears what its readers, or its callers, allow.
struct Valley {
    _nats: NatsServer,
    _folder: TempDir,
    process: Process,
    /// Before anything flowed.
    before: u64,
    grown: u64,
    client: DamClient,
    allowed: async_nats::Subscriber,
    limit: u64,
}

impl Valley {
    /// Hears the credit that `readers` give: callers on `ctl`, workers on `sig`.
    async fn open(readers: &str) -> Self {
        let nats = NatsServer::start().await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::at(folder.path().join("ledger"));
        let role = Role::Worker {
            url: nats.url(),
            namespace: "rq".into(),
            service: "dam".into(),
            name: "dam".into(),
            ledger: ledger.path().to_string_lossy().into_owned(),
            drain: SOON,
        };
        let program = Path::new(env!("CARGO_BIN_EXE_mill-process"));
        let process = Process::start(program, &role, Stdio::inherit()).unwrap();
        let is_start = |event: &Event| matches!(event, Event::Worker { life: Life::Started, .. });
        until("the dam is there", async || ledger.entries().iter().any(|it| is_start(&it.event))).await;
        let client = DamClient::new(connect(&nats.url(), SHOP).await);
        let spy = async_nats::connect(nats.url()).await.unwrap();
        let allowed = spy.subscribe(format!("rq.{readers}.dam.{SHOP}.*.*.credit")).await.unwrap();
        spy.flush().await.unwrap();
        // With the first call, what every call needs is there.
        assert_eq!(within(SOON, client.moved()).await.unwrap(), 0);
        let before = memory_bytes(process.pid()).unwrap();
        Self { _nats: nats, _folder: folder, process, before, grown: 0, client, allowed, limit: 0 }
    }

    fn look(&mut self) {
        let grown = memory_bytes(self.process.pid()).unwrap().saturating_sub(self.before);
        self.grown = self.grown.max(grown);
        assert!(grown <= MOST, "{grown} bytes more in memory");
    }

    /// Waits until a writer whose reader has so many items may send no more of them, or has no more.
    async fn is_held_up(&mut self, read: u32, sent: impl AsyncFn(&DamClient) -> u64) {
        let client = self.client.clone();
        until("the writer waits for credit", async || {
            self.look();
            while let Some(Some(credit)) = self.allowed.next().now_or_never() {
                let credit: Credit = rmp_serde::from_slice(&credit.payload).unwrap();
                self.limit = self.limit.max(credit.bytes);
            }
            let sent = sent(&client).await;
            sent == COUNT || (self.limit > u64::from(read) * ITEM && sent * ITEM >= self.limit)
        })
        .await;
        self.look();
    }

    /// Waits until a handler has taken so many items. Each of them has its own limit: how long all of them take says nothing.
    async fn takes(&mut self, items: u64) {
        let (client, mut taken) = (self.client.clone(), 0);
        while taken < items {
            let before = taken;
            until("more is taken", async || {
                self.look();
                taken = within(SOON, client.moved()).await.unwrap();
                taken > before
            })
            .await;
        }
        assert_eq!(taken, items);
    }

    /// Reads all of a handler's items, and stops now and then until the handler cannot go on; by how many bytes its process
    /// has grown meanwhile.
    async fn reads<E: HandlerError + std::fmt::Debug>(
        mut self,
        (mut blocks, call): (Items<ByteBuf>, Accepted<(), E>),
    ) -> u64 {
        for stop in 0..STOPS {
            self.is_held_up(stop * STRETCH, async |client| within(SOON, client.moved()).await.unwrap()).await;
            for _ in 0..STRETCH {
                assert_eq!(within(SOON, blocks.next()).await.unwrap().unwrap().len(), BLOCK);
                self.look();
            }
        }
        assert_eq!(within(SOON, blocks.next()).await, None);
        within(SOON, call).await.unwrap();
        self.grown
    }

    /// Sends all that a handler takes, which stops now and then until this side cannot go on; by how many bytes the handler's
    /// process has grown meanwhile.
    async fn sends(mut self, (mut blocks, call): (Sink<ByteBuf>, Accepted<u64, NoError>)) -> u64 {
        let (sent, sees) = watch::channel(0);
        let sending = tokio::spawn(async move {
            for _ in 0..COUNT {
                blocks.send(block()).await.unwrap();
                sent.send_modify(|sent| *sent += 1);
            }
            blocks.finish().await.unwrap();
        });
        for stop in 0..STOPS {
            self.is_held_up(stop * STRETCH, async |_| *sees.borrow()).await;
            within(SOON, self.client.let_in(STRETCH)).await.unwrap();
            self.takes(u64::from((stop + 1) * STRETCH)).await;
        }
        // To see that there is no more.
        within(SOON, self.client.let_in(1)).await.unwrap();
        within(SOON, sending).await.unwrap();
        assert_eq!(within(SOON, call).await.unwrap(), COUNT);
        self.grown
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_with_a_slow_reader_holds_little_more_than_the_credit_in_memory() {
    let valley = Valley::open("ctl").await;
    let open = valley.client.drain(COUNT).open();
    let grown = valley.reads(within(SOON, open).await.unwrap()).await;
    println!("{grown} bytes more in memory at most");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_stores_nothing_holds_little_more_than_the_credit_in_memory() {
    let valley = Valley::open("ctl").await;
    let open = valley.client.drain_unstored(COUNT).open();
    let grown = valley.reads(within(SOON, open).await.unwrap()).await;
    println!("{grown} bytes more in memory at most");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_reads_slowly_holds_little_more_than_the_credit_in_memory() {
    let valley = Valley::open("sig").await;
    let open = valley.client.fill().open();
    let grown = valley.sends(within(SOON, open).await.unwrap()).await;
    println!("{grown} bytes more in memory at most");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_reads_slowly_what_is_not_stored_holds_little_more_than_the_credit_in_memory() {
    let valley = Valley::open("sig").await;
    let open = valley.client.fill_unstored().open();
    let grown = valley.sends(within(SOON, open).await.unwrap()).await;
    println!("{grown} bytes more in memory at most");
}
