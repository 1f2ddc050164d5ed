//! Streams through connections that break again and again, at the caller, at the worker or at both, where and how chance has
//! it: no gap, no repeat, in order, and never more ahead than the credit.

use std::{
    future::pending,
    ops::Range,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::select_all;
use requite::{Accepted, Items, RunningServer, Server, Sink};
use requite_test::{Direction, Hold, NatsServer, Proxy};
use tests::random::Random;

use super::fixture::{Belt, BeltClient};
use crate::caller::fixture::{SHOP, SOON, connect, within};

const LAST: u64 = 100_000;
/// Between two cuts.
const ITEMS_A_CUT: Range<u64> = 2_500..4_500;
/// So many items later there is one that has waited for a frame.
const LATE: u64 = 2_000;
const CUTS: u64 = (LAST - LATE) / ITEMS_A_CUT.end;
/// For how many milliseconds nothing passes.
const OUTAGE: Range<u64> = 0..200;
/// What may be sent and not read.
const CREDIT: u64 = 16 * 1024;

/// How connections are cut.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// At once, and there are none for a while.
    Refused,
    /// At once, and on new ones nothing arrives for a while.
    Mute,
    /// When the next frame is on its way, if one is soon. It is lost, or what comes behind it; nothing arrives for a while
    /// before.
    Lost(Hold),
}

/// The next cut, the networks that it strikes, and for how long.
#[derive(Clone, Copy, Debug)]
struct Turn {
    cut: Cut,
    sides: &'static [usize],
    outage: Duration,
}

/// A cut that comes with the next frame, or behind this item.
struct Trapped {
    turn: Turn,
    late: u64,
    sprung: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// Where and how connections break.
struct Weather {
    seed: u64,
    random: Random,
    /// Behind which item they do next.
    next: u64,
    /// What waits for a frame.
    trap: Option<Trapped>,
    cuts: u64,
    last: Option<Turn>,
}

impl Weather {
    /// Of this seed, unless another one is asked for.
    fn new(seed: u64) -> Self {
        let asked = std::env::var("REQUITE_SEED").ok().map(|text| text.parse().expect("a number"));
        let seed = asked.unwrap_or(seed);
        let mut random = Random::new(seed);
        let next = random.within(ITEMS_A_CUT);
        Self { seed, random, next, trap: None, cuts: 0, last: None }
    }

    fn turns(&mut self) -> Turn {
        const SIDES: [&[usize]; 3] = [&[0], &[1], &[0, 1]];
        const CUTS: [Cut; 4] = [Cut::Refused, Cut::Mute, Cut::Lost(Hold::Before), Cut::Lost(Hold::After)];
        self.next += self.random.within(ITEMS_A_CUT);
        let cut = *self.random.one_of(&CUTS).expect("there are four");
        let sides = *self.random.one_of(&SIDES).expect("there are three");
        Turn { cut, sides, outage: Duration::from_millis(self.random.within(OUTAGE)) }
    }

    /// When a frame is on its way that was waited for.
    async fn springs(&mut self) -> Turn {
        let Some(Trapped { turn, sprung, .. }) = &mut self.trap else { return pending().await };
        sprung.await;
        let turn = *turn;
        self.trap = None;
        turn
    }
}

impl Drop for Weather {
    #[allow(clippy::print_stdout)] // it is shown for a test that failed
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!(
                "REQUITE_SEED={}, behind {} cuts, of which the last was {:?}",
                self.seed, self.cuts, self.last
            );
        }
    }
}

fn is_frame(message: &[u8]) -> bool {
    message.len() > 1_000
        && [&b"PUB"[..], b"HPUB", b"MSG", b"HMSG"].iter().any(|verb| message.starts_with(verb))
}

/// Caller and worker behind a network each.
struct Line {
    belt: Belt,
    networks: [Proxy; 2],
    client: BeltClient,
    _worker: RunningServer,
    _nats: NatsServer,
    weather: Weather,
}

impl Line {
    async fn open(seed: u64) -> Self {
        let (nats, belt) = (NatsServer::start().await.unwrap(), Belt::default());
        let server = ([127, 0, 0, 1], nats.port()).into();
        let networks =
            [Proxy::start_reading(server).await.unwrap(), Proxy::start_reading(server).await.unwrap()];
        let client = BeltClient::new(connect(&networks[0].url(), SHOP).await);
        let office = connect(&networks[1].url(), "office").await;
        let worker = Server::new(&office).serve(belt.clone()).start().await.unwrap();
        let weather = Weather::new(seed);
        Self { belt, networks, client, _worker: worker, _nats: nats, weather }
    }

    /// Breaks connections if it is time for that, behind so many items.
    async fn weather(&mut self, items: u64) {
        if let Some(Trapped { turn, .. }) = self.weather.trap.take_if(|trapped| items >= trapped.late) {
            return self.strike(turn).await;
        }
        if items < self.weather.next || items == LAST || self.weather.trap.is_some() {
            return;
        }
        let turn = self.weather.turns();
        let Cut::Lost(hold) = turn.cut else {
            return self.strike(turn).await;
        };
        let traps = turn.sides.iter().flat_map(|side| {
            [Direction::ToServer, Direction::ToClient]
                .map(|direction| Box::pin(self.networks[*side].trap(direction, hold, is_frame).sprung()))
        });
        let sprung = select_all(traps);
        let sprung = Box::pin(async move { drop(sprung.await) });
        self.weather.trap = Some(Trapped { turn, late: items + LATE, sprung });
    }

    async fn strike(&mut self, turn: Turn) {
        self.weather.cuts += 1;
        self.weather.last = Some(turn);
        let Turn { cut, sides, outage } = turn;
        let struck = || sides.iter().map(|side| &self.networks[*side]);
        if let Cut::Lost(_) = cut {
            struck().for_each(Proxy::freeze);
            tokio::time::sleep(outage).await;
        }
        for network in struck() {
            network.cut().await;
            network.thaw();
        }
        match cut {
            Cut::Refused => tokio::time::sleep(outage).await,
            Cut::Mute => struck().for_each(Proxy::freeze),
            Cut::Lost(_) => {}
        }
        for network in struck() {
            network.heal().await.unwrap();
        }
        if let Cut::Mute = cut {
            tokio::time::sleep(outage).await;
            struck().for_each(Proxy::thaw);
        }
    }

    /// What comes of one step, whatever breaks meanwhile.
    #[track_caller]
    fn through<T>(&mut self, step: impl Future<Output = T>) -> impl Future<Output = T> {
        within(SOON * 2, async {
            let mut step = pin!(step);
            loop {
                tokio::select! {
                    biased;
                    turn = self.weather.springs() => self.strike(turn).await,
                    ended = &mut step => return ended,
                }
            }
        })
    }

    fn moved(&self) -> u64 {
        self.belt.moved.load(Ordering::SeqCst)
    }

    async fn reads(&mut self, mut items: Items<u64>, call: Accepted<(), requite::NoError>) {
        for wanted in 1..=LAST {
            assert_eq!(self.through(items.next()).await, Some(Ok(wanted)));
            let ahead = self.moved() - wanted;
            assert!(ahead <= CREDIT + 1, "{ahead} ahead");
            self.weather(wanted).await;
        }
        assert_eq!(self.through(items.next()).await, None);
        self.through(call.into_future()).await.unwrap();
        assert!(self.weather.cuts >= CUTS);
    }

    async fn sends<E: requite::HandlerError + std::fmt::Debug>(
        &mut self,
        mut numbers: Sink<u64>,
        call: Accepted<u64, E>,
    ) {
        for number in 1..=LAST {
            self.through(numbers.send(number)).await.unwrap();
            let ahead = number - self.moved();
            // One has been read and is not counted yet.
            assert!(ahead <= CREDIT + 1, "{ahead} ahead");
            self.weather(number).await;
        }
        self.through(numbers.finish()).await.unwrap();
        assert_eq!(self.through(call.into_future()).await.unwrap(), LAST * (LAST + 1) / 2);
        assert!(self.weather.cuts >= CUTS);
    }

    async fn talks<E: requite::HandlerError + std::fmt::Debug>(
        &mut self,
        (mut numbers, mut doubles, call): (Sink<u64>, Items<u64>, Accepted<u64, E>),
    ) {
        let sent = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&sent);
        let sending = tokio::spawn(async move {
            for number in 1..=LAST {
                numbers.send(number).await.unwrap();
                counted.store(number, Ordering::SeqCst);
            }
            numbers.finish().await.unwrap();
        });
        for wanted in 1..=LAST {
            assert_eq!(self.through(doubles.next()).await, Some(Ok(wanted * 2)));
            let ahead = sent.load(Ordering::SeqCst).saturating_sub(wanted);
            // As many each way, and one in the handler's hand.
            assert!(ahead <= 2 * CREDIT + 1, "{ahead} ahead");
            self.weather(wanted).await;
        }
        assert_eq!(self.through(doubles.next()).await, None);
        self.through(sending).await.unwrap();
        assert_eq!(self.through(call.into_future()).await.unwrap(), LAST);
        assert!(self.weather.cuts >= CUTS);
    }
}

#[tokio::test]
async fn a_server_stream_goes_on_behind_every_cut() {
    let mut line = Line::open(1).await;
    let (items, call) = within(SOON, line.client.count_to(LAST).open()).await.unwrap();
    line.reads(items, call).await;
}

#[tokio::test]
async fn a_server_stream_that_is_not_stored_goes_on_behind_every_cut() {
    let mut line = Line::open(2).await;
    let (items, call) = within(SOON, line.client.count_to_unstored(LAST).open()).await.unwrap();
    line.reads(items, call).await;
}

#[tokio::test]
async fn a_client_stream_goes_on_behind_every_cut() {
    let mut line = Line::open(3).await;
    let (numbers, call) = within(SOON, line.client.sum().open()).await.unwrap();
    line.sends(numbers, call).await;
}

#[tokio::test]
async fn a_client_stream_that_is_not_stored_goes_on_behind_every_cut() {
    let mut line = Line::open(4).await;
    let (numbers, call) = within(SOON, line.client.sum_unstored().open()).await.unwrap();
    line.sends(numbers, call).await;
}

#[tokio::test]
async fn a_talk_goes_on_behind_every_cut() {
    let mut line = Line::open(5).await;
    let talk = within(SOON, line.client.double().open()).await.unwrap();
    line.talks(talk).await;
}

#[tokio::test]
async fn a_talk_that_is_not_stored_goes_on_behind_every_cut() {
    let mut line = Line::open(6).await;
    let talk = within(SOON, line.client.double_unstored().open()).await.unwrap();
    line.talks(talk).await;
}
