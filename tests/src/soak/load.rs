//! Random calls from two processes of one caller's name, plain ones and such with streams or checkpoints, of which some
//! are cancelled, some given up, and some read in part only. One of the processes is killed now and then, and what it had
//! asked for is asked for again, like what was given up.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::{
    caller::{Order, What},
    entry::Event,
    faults::{Place, Stage},
    mill::{Job, Steps, Work},
    process::Process,
    random::Random,
    stream::Pour,
};

/// How many calls with a key are remembered, to be made again.
const REMEMBERED: usize = 200;
/// How many of them are asked for again when their process is killed.
const ASKED_AGAIN: usize = 20;
/// Longer than the drain that follows, so that only what is meant to run out of time does.
const DEADLINE: Duration = Duration::from_secs(180);
/// How long a call waits that only attaches.
const ATTACHED: Duration = Duration::from_secs(20);
/// One of so many calls is cancelled, and one of so many given up.
const CANCELLED: u64 = 12;
const GIVEN_UP: u64 = 10;
/// At random within one of these times, in milliseconds: most calls take no longer than the first, and few than the last.
const WITHIN: [u64; 3] = [20, 300, 3_000];
/// A stream has fewer items than this; a writer may send as many before it hears of a reader.
const ITEMS: u64 = 3_000;
/// One of so many streams is left by its reader. It has between this and twice as many items, and longer pauses: most
/// writers are still at work when they stop for that.
const LEFT: u64 = 3;
/// Between two kills of a caller, in seconds.
const KILL_EVERY: u64 = 25;

pub(super) struct Load {
    place: Place,
    random: Random,
    rate: u64,
    steady: Process,
    mortal: Process,
    calls: u64,
    keyed: VecDeque<Order>,
    /// The newest of those with a key.
    given_up: VecDeque<Order>,
    killed: u64,
}

impl Load {
    pub(super) fn start(stage: &Stage, random: Random, rate: u64) -> anyhow::Result<Self> {
        let place = stage.place(&stage.servers.urls());
        let (steady, mortal) = (place.start_caller()?, place.start_caller()?);
        let (keyed, given_up) = (VecDeque::new(), VecDeque::new());
        Ok(Self { place, random, rate, steady, mortal, calls: 0, keyed, given_up, killed: 0 })
    }

    /// The process that is never killed.
    pub(super) fn steady(&self) -> u32 {
        self.steady.pid()
    }

    /// What was struck, and how often.
    pub(super) fn struck(&self) -> [(&'static str, u64); 1] {
        [("callers killed", self.killed)]
    }

    pub(super) async fn go_on(&mut self, until: Instant) -> anyhow::Result<()> {
        let mut kill_at = Instant::now() + Duration::from_secs(KILL_EVERY);
        while Instant::now() < until {
            if Instant::now() >= kill_at {
                self.kill_one().await?;
                kill_at += Duration::from_secs(KILL_EVERY);
            }
            let order = self.order();
            let process = if self.random.within(0..2) == 0 { &mut self.steady } else { &mut self.mortal };
            process.tell(&order).await?;
            let mean = 1_000_000 / self.rate;
            tokio::time::sleep(Duration::from_micros(self.random.within(0..2 * mean))).await;
        }
        Ok(())
    }

    /// Kills a caller; another one asks for what it may have been waiting for.
    async fn kill_one(&mut self) -> anyhow::Result<()> {
        let next = self.place.start_caller()?;
        let killed = std::mem::replace(&mut self.mortal, next);
        self.place.ledger.write(Event::CallerKilled { pid: killed.pid() });
        killed.kill().await?;
        self.killed += 1;
        let again: Vec<Order> = self.keyed.iter().rev().take(ASKED_AGAIN).cloned().collect();
        for order in again {
            let order = self.again(order);
            self.mortal.tell(&order).await?;
        }
        Ok(())
    }

    fn call(&mut self) -> String {
        self.calls += 1;
        format!("call {}", self.calls)
    }

    fn order(&mut self) -> Order {
        let mut order = match self.random.within(0..5) {
            0 => self.long_one(),
            _ => self.plain_one(),
        };
        if self.random.within(0..CANCELLED) == 0 {
            order.cancel = Some(self.moment());
        }
        if self.random.within(0..GIVEN_UP) == 0 {
            order.gives_up = Some(self.moment());
            if matches!(order.what, What::Run(_, Some(_))) {
                remember(&mut self.given_up, &order);
            }
        }
        order
    }

    fn moment(&mut self) -> Duration {
        let most = *self.random.one_of(&WITHIN).expect("there are some");
        Duration::from_millis(self.random.within(0..most))
    }

    /// With streams or with checkpoints, or one that waits to be cancelled.
    fn long_one(&mut self) -> Order {
        let keyed = self.random.within(0..2) == 0;
        let fails = u32::from(self.random.within(0..4) == 0);
        match self.random.within(0..7) {
            0 => self.stream("resume", fails, keyed),
            1 => self.stream("anew", fails, keyed),
            // Nobody else can read what is not stored.
            2 => self.stream("loose", fails, false),
            3 => self.stream("fill", fails, keyed),
            4 => self.stream("trade", fails, keyed),
            5 => {
                let count = u32::try_from(self.random.within(1..12)).unwrap_or(1);
                let steps = Steps { count, millis: self.random.within(1..600), fails, gate: false };
                self.run(self.place.kind.method(), Work::Steps(steps), keyed)
            }
            _ => {
                let millis = self.random.within(500..5_000);
                self.run(self.place.kind.method(), Work::Heed(millis), keyed)
            }
        }
    }

    fn stream(&mut self, method: &str, fails: u32, keyed: bool) -> Order {
        let leaves = self.random.within(0..LEFT) == 0;
        let (items, pause) = if leaves { (ITEMS..2 * ITEMS, 0..100) } else { (1..ITEMS, 0..40) };
        let (items, pause) = (self.random.within(items), self.random.within(pause));
        let mut order = self.run(method, Work::Pour(Pour { items, pause, gate: false, fails }), keyed);
        if leaves {
            order.leaves = Some(self.random.within(1..ITEMS / 2));
        }
        order
    }

    fn plain_one(&mut self) -> Order {
        let plain = self.place.kind.method();
        let moment = self.random.within(0..50);
        match self.random.within(0..100) {
            0..45 => self.run(plain, Work::Wait(moment), false),
            45..58 => self.run(plain, Work::Wait(moment), true),
            58..66 => self.run("fenced", Work::Wait(moment), true),
            66..72 => self.run("once", Work::Wait(moment), true),
            72..76 => self.run(plain, Work::FailUpTo(1), true),
            76..78 => self.run(plain, Work::Panic, false),
            78..80 => self.run(plain, Work::Refuse, false),
            // Longer than a lease of the mill.
            80..83 => {
                let long = Work::Wait(self.random.within(2_000..12_000));
                let keyed = self.random.within(0..2) == 0;
                self.run(plain, long, keyed)
            }
            83..85 => {
                let mut order = self.run(plain, Work::Wait(1_000), false);
                order.deadline = Duration::from_millis(self.random.within(5..300));
                order
            }
            known => {
                let orders = if known < 93 { &mut self.keyed } else { &mut self.given_up };
                match self.random.one_of(orders.make_contiguous()).cloned() {
                    Some(order) => self.again(order),
                    None => self.run(plain, Work::Wait(moment), true),
                }
            }
        }
    }

    fn run(&mut self, method: &str, work: Work, keyed: bool) -> Order {
        let call = self.call();
        let job = Job { name: format!("job of {call}"), work };
        let what = What::Run(job, keyed.then(|| format!("key of {call}")));
        let order = Order::new(call, method, what, DEADLINE);
        if keyed {
            remember(&mut self.keyed, &order);
        }
        order
    }

    /// An earlier call once more: as it was, only attached to, or, by mistake, with another job.
    fn again(&mut self, mut order: Order) -> Order {
        order = Order::new(self.call(), &order.method, order.what, order.deadline);
        // Who attaches to a stream that it is to send does not know what to send.
        let sends = matches!(&*order.method, "fill" | "trade");
        order.what = match (order.what, self.random.within(0..20)) {
            (What::Run(_, Some(key)), 0..8) if !sends => {
                // It may never have been published.
                order.deadline = ATTACHED;
                What::AttachKey(key)
            }
            (What::Run(job, key), 8) => What::Run(Job { name: format!("not {}", job.name), ..job }, key),
            (what, _) => what,
        };
        order
    }
}

fn remember(orders: &mut VecDeque<Order>, order: &Order) {
    orders.push_back(order.clone());
    orders.drain(..orders.len().saturating_sub(REMEMBERED));
}
