//! Random operations of callers, workers, operators and observers on any broker, and what they see.
//!
//! A sequence is made of phases: operations that take no time beside the lease, then a pause. So a machine that is a
//! little slow sees the same.

use std::{fmt::Debug, time::Duration};

use super::{
    super::faults::Random,
    plan::{Pause, Plan},
    transcript::{About, Transcript},
};
use crate::{broker::Broker, name::Name, subject::ServiceSubjects};

/// What the steps of one phase may take by themselves, before the last one begins.
const PHASE: Duration = Duration::from_millis(200);
/// Lets the server finish what it does beside the answer.
pub(super) const SETTLE: Duration = Duration::from_millis(5);
/// Longer than any pull here is silent, and than any answer takes.
pub(super) const SILENCE: Duration = Duration::from_millis(250);

/// One sequence under way.
pub(super) struct Player<'a, B: Broker> {
    pub(super) broker: &'a B,
    pub(super) plan: Plan,
    random: Random,
    pub(super) subjects: ServiceSubjects,
    pub(super) inbox: String,
    pub(super) pulled: B::Subscription,
    /// What is republished, and what is heard of publishes to the record stream.
    pub(super) pushed: B::Subscription,
    pub(super) heard: B::Subscription,
    /// Reply subjects of all deliveries so far.
    pub(super) deliveries: Vec<String>,
    pub(super) pulls: u64,
    pub(super) spent: Duration,
    /// Something stored in this phase is gone in the next.
    pub(super) expiring: bool,
    /// The ids of records that had a time to live.
    pub(super) ended: Vec<u64>,
    seen: Transcript,
}

/// Plays the sequence of a plan. `between` is told what happens to the server between two phases.
pub(super) async fn play<B: Broker>(
    broker: &B,
    plan: Plan,
    namespace: &str,
    between: impl AsyncFn(Pause),
) -> Transcript {
    let (namespace, service): (Name, Name) = (namespace.parse().unwrap(), "svc".parse().unwrap());
    let inbox = broker.new_inbox();
    let mut player = Player {
        broker,
        plan,
        random: Random::new(plan.seed),
        subjects: ServiceSubjects::new(&namespace, &service),
        pulled: broker.subscribe(format!("{inbox}.*")).await.unwrap(),
        pushed: broker.subscribe(format!("{namespace}.in.>")).await.unwrap(),
        heard: broker.subscribe(format!("{namespace}.put.>")).await.unwrap(),
        inbox,
        deliveries: Vec::new(),
        pulls: 0,
        spent: Duration::ZERO,
        expiring: false,
        ended: Vec::new(),
        seen: Transcript::new(),
    };
    player.set_up().await;
    between(Pause::Begin).await;
    for pause in plan.pauses.map(Some).into_iter().chain([None]) {
        let began = tokio::time::Instant::now();
        player.phase().await;
        let Some(pause) = pause else { break };
        between(pause).await;
        player.seen.note(About::Server, "between", pause);
        let pace = if player.expiring { plan.long_pace } else { plan.pace };
        tokio::time::sleep_until(began + pace).await;
    }
    player.take_down().await;
    player.seen
}

impl<B: Broker> Player<'_, B> {
    pub(super) fn note(&mut self, what: &str, result: impl Debug) {
        self.seen.note(About::Step, what, result);
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.random.below(end)
    }

    pub(super) fn one_of<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.random.below(of.len() as u64) as usize].clone()
    }

    pub(super) fn one_in(&mut self, of: u64) -> bool {
        self.random.below(of) == 0
    }

    pub(super) async fn settle_down(&mut self) {
        tokio::time::sleep(SETTLE).await;
        self.spent += SETTLE;
    }

    async fn phase(&mut self) {
        self.seen.note(About::Phase, "phase", ());
        (self.spent, self.expiring) = (Duration::ZERO, false);
        while self.spent < PHASE {
            self.step().await;
            self.settle_down().await;
        }
        self.look().await;
    }

    async fn step(&mut self) {
        match self.below(100) {
            0..=23 => self.request().await,
            24..=36 => self.record().await,
            37..=41 => self.dead_letter().await,
            42 => self.unwanted().await,
            43..=57 => self.pull().await,
            58..=59 => self.two_pulls().await,
            60..=61 => self.abandoned_pull().await,
            62 => self.pulls_over_the_limit().await,
            63..=87 => self.settle().await,
            88..=93 => self.read().await,
            94..=97 => self.look().await,
            98 => self.new_method().await,
            _ => self.new_consumer().await,
        }
    }
}
