//! What a seed decides before anything runs: who is there, who calls what and how, what goes wrong and when.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    broker::simulated::{Election, Random},
    planted::{Bug, is_planted},
    protocol::time::MIN_LEASE_REPLICATED,
    service::Method,
};

mod job;

pub(super) use job::{End, ITEMS, Item, Job, Step};

pub(super) const SERVICE: &str = "jobs";
/// Faults begin, and calls are made, within this time.
const WINDOW: Duration = Duration::from_secs(60);
/// Longer than any run: within it an outcome is there to be found, and nothing may start again.
const RETENTION: Duration = Duration::from_secs(2 * 60 * 60);
/// The deadline of calls that are in no hurry; the run is over before.
pub(super) const PATIENT: Duration = Duration::from_secs(60 * 60);

const METHODS: [Method; 6] = [
    method("usual", 30, 5),
    method("quick", 6, 3),
    method("single", 6, 1),
    Method { fenced: true, ..method("fenced", 6, 2) },
    Method { once: true, ..method("once", 6, 1) },
    Method { fenced: true, ..method("guarded", 30, 3) },
];

const fn method(name: &'static str, lease: u64, attempts: u32) -> Method {
    let lease = Duration::from_secs(lease);
    let kill_after = Duration::from_secs(3);
    Method {
        lease,
        attempts,
        kill_after,
        concurrency: 4,
        retention: Some(RETENTION),
        ..Method::new(SERVICE, name)
    }
}

/// How a caller goes about a call.
#[derive(Clone, Debug)]
pub(super) enum Manner {
    Wait,
    RequireWorker,
    /// Drops the call and makes it again, so many times, and then waits.
    Impatient {
        patience: Vec<Duration>,
    },
    /// Drops the call once it is accepted; a process of the same caller attaches to it later.
    Attach {
        after: Duration,
        by: usize,
    },
}

/// A call that is going to be made.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) at: Duration,
    /// The process that makes it.
    pub(super) by: usize,
    pub(super) method: Method,
    pub(super) key: Option<String>,
    pub(super) job: Job,
    pub(super) manner: Manner,
    pub(super) deadline: Duration,
    pub(super) accept_within: Option<Duration>,
    pub(super) start_within: Option<Duration>,
    pub(super) silent_for: Option<Duration>,
    /// Cancelled this long after it was accepted.
    pub(super) cancel: Option<Duration>,
    /// Of a call with streams: behind how many items it reads no more.
    pub(super) leaves_behind: Option<u64>,
    /// Before which of its own items it sends no more, and does not say that these are all.
    pub(super) gives_up_behind: Option<u64>,
}

/// What kind of run it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    /// Nothing goes wrong, and the rules have no exceptions.
    Calm,
    /// Leaders change, one after the other, which no healthy worker may notice.
    Elections,
    /// Anything.
    Rough,
}

/// Which connections of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Links {
    Both,
    Puller,
    Keeper,
}

/// Something that goes wrong.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    Crash {
        worker: usize,
        back: Duration,
    },
    Drain {
        worker: usize,
        back: Duration,
    },
    /// The process is stopped, or its machine suspended: no task goes on, and the keeper is the last to.
    Freeze {
        worker: usize,
        span: Duration,
        keeper_late: Duration,
    },
    /// Handlers block every thread of their runtime: the keeper has its own.
    Block {
        worker: usize,
        span: Duration,
    },
    Cut {
        worker: usize,
        part: Links,
        span: Duration,
    },
    /// Nothing passes on a worker's connections, and then all of it at once: late heartbeats, late deliveries.
    Stall {
        worker: usize,
        part: Links,
        span: Duration,
    },
    CutCaller {
        caller: usize,
        span: Duration,
    },
    LoseWorkerPubAcks {
        worker: usize,
        count: usize,
    },
    LoseCallerPubAcks {
        caller: usize,
        count: usize,
    },
    LoseWorkerAnswers {
        worker: usize,
        part: Links,
        count: usize,
    },
    LoseCallerAnswers {
        caller: usize,
        count: usize,
    },
    LoseMessages {
        pattern: &'static str,
        count: usize,
    },
    Hang {
        pattern: &'static str,
        count: usize,
        span: Duration,
    },
    /// Acks or NAKs that hang in the network, and come when somebody else may hold the request.
    HangSettles {
        verb: &'static str,
        count: usize,
        span: Duration,
    },
    /// The server's clock is stepped, by so many milliseconds.
    StepClock {
        by: i64,
    },
    /// The cluster's leader dies, or steps down for an upgrade.
    Elect {
        how: Election,
    },
    /// All servers of the cluster are killed.
    KillAll {
        pause: Duration,
    },
    /// The leader is cut off from the other servers, with some connections on its side.
    Split {
        workers: Vec<(usize, Links)>,
        callers: Vec<usize>,
        span: Duration,
    },
    /// One worker comes back later than the others: that of the newest run, or the straggler if nothing runs.
    Kill {
        lost: Duration,
        pause: Duration,
        straggler: usize,
        late: Duration,
    },
}

/// Everything that a seed decides.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) replicas: u8,
    /// How many requests may wait.
    pub(super) queue: u64,
    pub(super) methods: Vec<Method>,
    pub(super) workers: usize,
    /// The names under which the calling processes call; several may share one.
    pub(super) callers: Vec<&'static str>,
    pub(super) calls: Vec<Call>,
    pub(super) faults: Vec<(Duration, Fault)>,
    pub(super) latency: Duration,
}

impl Plan {
    pub(super) fn new(seed: u64) -> Self {
        Self::of_methods(seed, &METHODS)
    }

    /// The same with streams: every method has them, every other one does not store them.
    pub(super) fn with_streams(seed: u64) -> Self {
        let mut methods = METHODS;
        methods.iter_mut().skip(1).step_by(2).for_each(|it| it.volatile = true);
        methods.iter_mut().for_each(|it| (it.up, it.down) = (true, true));
        Self::of_methods(seed, &methods)
    }

    fn of_methods(seed: u64, methods: &[Method]) -> Self {
        let random = &mut Random::new(seed);
        let replicas = pick(random, &[1, 1, 3]);
        let mut methods = methods.to_vec();
        while methods.len() > 3 {
            methods.remove(index(random, methods.len()));
        }
        // In a queue for fewer requests than are made at a time, some are refused.
        let queue = pick(random, &[1_000_000, 1_000_000, 1_000_000, 4]);
        if replicas > 1 && !is_planted(Bug::ShortLease) {
            for method in &mut methods {
                method.lease = method.lease.max(MIN_LEASE_REPLICATED);
            }
        }
        let workers = 2 + index(random, 3);
        let callers = (0..2 + index(random, 3)).map(|_| pick(random, &["shop", "desk"])).collect();
        let mood = match random.below(10) {
            0 => Mood::Calm,
            1 if replicas > 1 => Mood::Elections,
            _ => Mood::Rough,
        };
        let latency = Duration::from_micros(pick(random, &[200, 2_000, 10_000, 30_000]) + random.below(200));
        let mut plan =
            Self { seed, replicas, queue, methods, workers, callers, calls: vec![], faults: vec![], latency };
        plan.draw_calls(random, mood);
        if mood == Mood::Elections {
            for at in [10, 40, 70] {
                let how = pick(random, &[Election::Death, Election::Upgrade]);
                plan.faults.push((Duration::from_secs(at), Fault::Elect { how }));
            }
        }
        if mood == Mood::Rough {
            for _ in 0..1 + random.below(10) {
                let fault = plan.draw_fault(random);
                let at = match fault {
                    // While a delivery is young enough to be forgotten.
                    Fault::Kill { .. } => {
                        plan.calls[index(random, plan.calls.len())].at + millis(random, 0, 80)
                    }
                    _ => within(random, WINDOW),
                };
                plan.faults.push((at, fault));
            }
            plan.faults.sort_by_key(|(at, _)| *at);
        }
        plan
    }

    fn draw_calls(&mut self, random: &mut Random, mood: Mood) {
        let mut jobs: BTreeMap<(&str, &str, String, bool), Job> = BTreeMap::new();
        let calls = 30 + u32::try_from(random.below(71)).expect("few");
        for tag in 1..=calls {
            let method = pick(random, &self.methods);
            let by = index(random, self.callers.len());
            let keyed = random.below(2) == 0;
            let key = keyed.then(|| format!("key {}", random.below(12)));
            // Now and then a key is used again for another request.
            let another = random.below(16) == 0;
            let fresh = Job { tag, items: 0, script: script(random, method, mood) };
            let job = match &key {
                None => fresh,
                Some(key) => {
                    let named = (self.callers[by], method.name, key.clone(), another);
                    jobs.entry(named).or_insert(fresh).clone()
                }
            };
            let manner = self.draw_manner(random, by, keyed);
            self.calls.push(Call {
                at: within(random, WINDOW),
                by,
                method,
                key,
                job,
                manner,
                deadline: if random.below(8) == 0 { millis(random, 20, 20_000) } else { PATIENT },
                accept_within: (random.below(8) == 0).then(|| millis(random, 1_000, 10_000)),
                start_within: (random.below(10) == 0).then(|| millis(random, 100, 10_000)),
                silent_for: (random.below(10) == 0).then(|| method.lease * 2 / 3),
                cancel: None,
                leaves_behind: None,
                gives_up_behind: None,
            });
        }
        self.draw_cancels();
        self.open_streams();
    }

    fn draw_manner(&self, random: &mut Random, by: usize, keyed: bool) -> Manner {
        match random.below(6) {
            0 => {
                let same: Vec<usize> =
                    (0..self.callers.len()).filter(|it| self.callers[*it] == self.callers[by]).collect();
                Manner::Attach { after: millis(random, 0, 30_000), by: pick(random, &same) }
            }
            1 => Manner::RequireWorker,
            2 | 3 if keyed => {
                let patience = (0..1 + random.below(6)).map(|_| millis(random, 1, 3_000)).collect();
                Manner::Impatient { patience }
            }
            _ => Manner::Wait,
        }
    }

    fn draw_fault(&self, random: &mut Random) -> Fault {
        let worker = index(random, self.workers);
        let caller = index(random, self.callers.len());
        let part = pick(random, &[Links::Both, Links::Both, Links::Puller, Links::Keeper]);
        let count = 1 + index(random, 4);
        match random.below(24) {
            0 | 1 => Fault::Crash { worker, back: millis(random, 0, 20_000) },
            2 => Fault::Drain { worker, back: millis(random, 0, 10_000) },
            3 | 4 => {
                let lease = pick(random, &self.methods).lease;
                Fault::Freeze {
                    worker,
                    span: lease * u32::try_from(50 + random.below(120)).expect("small") / 100,
                    keeper_late: if random.below(2) == 0 { Duration::ZERO } else { millis(random, 0, 1_000) },
                }
            }
            5 | 6 => Fault::Cut { worker, part, span: millis(random, 1_000, 40_000) },
            7 => Fault::CutCaller { caller, span: millis(random, 1_000, 40_000) },
            8..12 => self.draw_loss(random),
            12 => {
                let pattern = pick(random, self.hangs());
                let longest = pick(random, &[2_000, 20_000, 200_000]);
                Fault::Hang { pattern, count, span: millis(random, 100, longest) }
            }
            13 => Fault::HangSettles {
                verb: pick(random, &["+ACK", "-NAK"]),
                count,
                span: millis(random, 100, 60_000),
            },
            14 | 15 => Fault::Stall { worker, part, span: millis(random, 100, 40_000) },
            16 => {
                let by = i64::try_from(random.below(60_000)).expect("small");
                Fault::StepClock { by: if random.below(2) == 0 { by } else { -by } }
            }
            17 | 18 => {
                let lease = pick(random, &self.methods).lease;
                let span = lease * u32::try_from(50 + random.below(250)).expect("small") / 100;
                Fault::Block { worker, span }
            }
            _ if self.replicas > 1 => self.draw_fault_of_cluster(random),
            _ => Fault::Kill {
                // Half of the stops are in good order.
                lost: if random.below(2) == 0 { Duration::ZERO } else { millis(random, 50, 100) },
                pause: {
                    let longest = pick(random, &[500, 10_000]);
                    millis(random, 50, longest)
                },
                straggler: worker,
                late: millis(random, 0, 3_000),
            },
        }
    }
}

impl Plan {
    /// Messages that the server sent, and nobody got.
    fn draw_loss(&self, random: &mut Random) -> Fault {
        let worker = index(random, self.workers);
        let caller = index(random, self.callers.len());
        let part = pick(random, &[Links::Both, Links::Puller, Links::Keeper]);
        let count = 1 + index(random, 4);
        match random.below(5) {
            0 => Fault::LoseWorkerPubAcks { worker, count },
            1 => Fault::LoseCallerPubAcks { caller, count },
            2 => Fault::LoseWorkerAnswers { worker, part, count },
            3 => Fault::LoseCallerAnswers { caller, count },
            // Deliveries, pushes of records, signals.
            _ => Fault::LoseMessages { pattern: pick(random, &["rq.req.>", "rq.in.>", "rq.sig.>"]), count },
        }
    }

    fn draw_fault_of_cluster(&self, random: &mut Random) -> Fault {
        match random.below(5) {
            0 | 1 => Fault::Elect { how: Election::Death },
            2 => Fault::Elect { how: Election::Upgrade },
            3 => Fault::KillAll { pause: millis(random, 50, 5_000) },
            _ => {
                let longest = pick(random, &[4_000, 30_000, 60_000]);
                let some =
                    |random: &mut Random, of: usize| (0..of).filter(|_| random.below(2) == 0).collect();
                let workers: Vec<usize> = some(random, self.workers);
                let parts = [Links::Both, Links::Both, Links::Puller, Links::Keeper];
                let workers = workers.into_iter().map(|worker| (worker, pick(random, &parts))).collect();
                let callers = some(random, self.callers.len());
                Fault::Split { workers, callers, span: millis(random, 100, longest) }
            }
        }
    }
}

fn script(random: &mut Random, method: Method, mood: Mood) -> Vec<Step> {
    let lease = u64::try_from(method.lease.as_millis()).expect("leases are short");
    (0..1 + random.below(4))
        .map(|_| Step {
            takes: match random.below(20) {
                0..14 if mood == Mood::Elections => random.below(2 * lease),
                0..6 => 0,
                6..14 => random.below(500),
                14..19 => random.below(lease),
                _ => random.below(5 * lease),
            },
            checkpoints: match random.below(4) {
                0 => 1 + u32::try_from(random.below(4)).expect("few"),
                _ => 0,
            },
            end: match random.below(10) {
                0 => End::Final,
                1 | 2 => End::Retry,
                3 => End::Panic,
                _ => End::Value,
            },
            plug: (mood == Mood::Rough && random.below(20) == 0).then(|| random.below(120)),
        })
        .collect()
}

fn index(random: &mut Random, end: usize) -> usize {
    usize::try_from(random.below(end as u64)).expect("below a usize")
}

fn pick<T: Copy>(random: &mut Random, of: &[T]) -> T {
    of[index(random, of.len())]
}

fn millis(random: &mut Random, least: u64, most: u64) -> Duration {
    Duration::from_millis(least + random.below(most - least + 1))
}

fn within(random: &mut Random, span: Duration) -> Duration {
    millis(random, 0, u64::try_from(span.as_millis()).expect("a short span"))
}
