//! Streams through connections that break again and again, at the caller and at the worker: no gap, no repeat, in order, and
//! never more ahead than the credit.

use std::sync::atomic::Ordering;

use requite::{Accepted, Items, RunningServer, Server, Sink};
use requite_test::{NatsServer, Proxy};

use super::fixture::{Belt, BeltClient};
use crate::caller::fixture::{SHOP, SOON, connect, within};

const LAST: u64 = 100_000;
/// Between two cuts: there are 24.
const ITEMS_A_CUT: u64 = 4_000;
/// What may be sent and not read.
const CREDIT: u64 = 16 * 1024;

/// Caller and worker behind a network each.
struct Line {
    belt: Belt,
    networks: [Proxy; 2],
    client: BeltClient,
    _worker: RunningServer,
    _nats: NatsServer,
    cuts: usize,
}

impl Line {
    async fn open() -> Self {
        let (nats, belt) = (NatsServer::start().await.unwrap(), Belt::default());
        let server = ([127, 0, 0, 1], nats.port()).into();
        let networks = [Proxy::start(server).await.unwrap(), Proxy::start(server).await.unwrap()];
        let client = BeltClient::new(connect(&networks[0].url(), SHOP).await);
        let office = connect(&networks[1].url(), "office").await;
        let worker = Server::new(&office).serve(belt.clone()).start().await.unwrap();
        Self { belt, networks, client, _worker: worker, _nats: nats, cuts: 0 }
    }

    /// Breaks the connections of one side, after so many items.
    async fn cut(&mut self, items: u64) {
        if items.is_multiple_of(ITEMS_A_CUT) && items < LAST {
            let network = &self.networks[self.cuts % 2];
            network.cut().await;
            network.heal().await.unwrap();
            self.cuts += 1;
        }
    }

    async fn reads(&mut self, mut items: Items<u64>, call: Accepted<(), requite::NoError>) {
        for wanted in 1..=LAST {
            assert_eq!(within(SOON * 2, items.next()).await, Some(Ok(wanted)));
            let ahead = self.belt.moved.load(Ordering::SeqCst) - wanted;
            assert!(ahead <= CREDIT + 1, "{ahead} ahead");
            self.cut(wanted).await;
        }
        assert_eq!(within(SOON * 2, items.next()).await, None);
        within(SOON, call).await.unwrap();
        assert!(self.cuts >= 20);
    }

    async fn sends<E: requite::HandlerError + std::fmt::Debug>(
        &mut self,
        mut numbers: Sink<u64>,
        call: Accepted<u64, E>,
    ) {
        for number in 1..=LAST {
            within(SOON * 2, numbers.send(number)).await.unwrap();
            let ahead = number - self.belt.moved.load(Ordering::SeqCst);
            assert!(ahead <= 2 * CREDIT, "{ahead} ahead");
            self.cut(number).await;
        }
        within(SOON * 2, numbers.finish()).await.unwrap();
        assert_eq!(within(SOON, call).await.unwrap(), LAST * (LAST + 1) / 2);
        assert!(self.cuts >= 20);
    }

    async fn talks<E: requite::HandlerError + std::fmt::Debug>(
        &mut self,
        (mut numbers, mut doubles, call): (Sink<u64>, Items<u64>, Accepted<u64, E>),
    ) {
        let sending = tokio::spawn(async move {
            for number in 1..=LAST {
                numbers.send(number).await.unwrap();
            }
            numbers.finish().await.unwrap();
        });
        for wanted in 1..=LAST {
            assert_eq!(within(SOON * 2, doubles.next()).await, Some(Ok(wanted * 2)));
            self.cut(wanted).await;
        }
        assert_eq!(within(SOON * 2, doubles.next()).await, None);
        within(SOON, sending).await.unwrap();
        assert_eq!(within(SOON, call).await.unwrap(), LAST);
        assert!(self.cuts >= 20);
    }
}

#[tokio::test]
async fn a_server_stream_goes_on_behind_every_cut() {
    let mut line = Line::open().await;
    let (items, call) = within(SOON, line.client.count_to(LAST).open()).await.unwrap();
    line.reads(items, call).await;
}

#[tokio::test]
async fn a_server_stream_that_is_not_stored_goes_on_behind_every_cut() {
    let mut line = Line::open().await;
    let (items, call) = within(SOON, line.client.count_to_unstored(LAST).open()).await.unwrap();
    line.reads(items, call).await;
}

#[tokio::test]
async fn a_client_stream_goes_on_behind_every_cut() {
    let mut line = Line::open().await;
    let (numbers, call) = within(SOON, line.client.sum().open()).await.unwrap();
    line.sends(numbers, call).await;
}

#[tokio::test]
async fn a_client_stream_that_is_not_stored_goes_on_behind_every_cut() {
    let mut line = Line::open().await;
    let (numbers, call) = within(SOON, line.client.sum_unstored().open()).await.unwrap();
    line.sends(numbers, call).await;
}

#[tokio::test]
async fn a_talk_goes_on_behind_every_cut() {
    let mut line = Line::open().await;
    let talk = within(SOON, line.client.double().open()).await.unwrap();
    line.talks(talk).await;
}

#[tokio::test]
async fn a_talk_that_is_not_stored_goes_on_behind_every_cut() {
    let mut line = Line::open().await;
    let talk = within(SOON, line.client.double_unstored().open()).await.unwrap();
    line.talks(talk).await;
}
