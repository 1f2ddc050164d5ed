//! The keeper's rounds: take in, age, lose what is late, beat, confirm by one barrier, claim.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::sync::{
    SetOnce,
    broadcast::{
        self,
        error::{RecvError, TryRecvError},
    },
    mpsc,
};

use super::{Keeper, Order, control, probe::Probe, table::Table};
use crate::{
    broker::{AnyBroker, Broker, Event, Outgoing, SendError},
    error::ServeError,
    name::random_bits,
    protocol::{
        attempt::{self, Attempt, Ending},
        time::Moment,
    },
    server::{
        barrier, cancels,
        held::{Held, Stop},
        method::MethodRuntime,
        progress, settle, shutdown,
        stats::count,
    },
    turns,
    wire::{control::MineQuestion, signal::SignalKind},
};

#[cfg(test)]
use crate::planted::{Bug, is_planted};

/// Rounds are not closer than this: what arrives in between is taken in together.
const ROUND: Duration = Duration::from_millis(50);
/// A handler that should have stopped, and did not, is ended from here after this long.
const OVERDUE: Duration = Duration::from_secs(1);
/// Heartbeats that found the last ones still on their way out are tried again after this long.
const AGAIN: Duration = Duration::from_millis(500);
/// A heartbeat comes early by up to this part of its interval, by chance. A server remembers one reply for each sequence
/// that is acked: of two workers' barriers that are under way at once, one is not answered. Workers whose requests came
/// together would meet in every round, until one of them has lost its leases.
const EARLY: u32 = 8;
/// Claims that are written again at once after a reconnect; the others follow as answers come.
const CLAIMS_AT_ONCE: usize = 256;

/// The keeper at work.
pub(crate) struct Rounds {
    keeper: Keeper,
    methods: Vec<Arc<MethodRuntime>>,
    /// By the method's position in `methods`.
    tables: BTreeMap<usize, Table>,
    orders: mpsc::UnboundedReceiver<Order>,
    probe: Probe,
    claims: Arc<tokio::sync::Semaphore>,
    /// Whatever arrives from now on was on its way when the worker began to stop.
    draining: bool,
    pulls_no_more: bool,
    closed: Arc<SetOnce<ServeError>>,
}

impl Rounds {
    pub(crate) fn new(
        keeper: Keeper,
        methods: Vec<Arc<MethodRuntime>>,
        orders: mpsc::UnboundedReceiver<Order>,
        probe: Probe,
        closed: Arc<SetOnce<ServeError>>,
    ) -> Self {
        let claims = Arc::new(tokio::sync::Semaphore::new(CLAIMS_AT_ONCE));
        Self {
            keeper,
            methods,
            tables: BTreeMap::new(),
            orders,
            probe,
            claims,
            draining: false,
            pulls_no_more: false,
            closed,
        }
    }

    pub(crate) async fn run(mut self, broker: AnyBroker) {
        let (mut events, mut open) = (broker.events(), true);
        let mut questions = control::Questions::listen(&broker, &self.methods).await;
        loop {
            let next = self.next_look().map_or(Duration::from_secs(1), |at| at.since(broker.now()));
            let keeper = self.keeper.clone();
            tokio::select! {
                biased;
                order = self.orders.recv() => match order {
                    None | Some(Order::Stop) => return,
                    Some(order) => self.obey(order, &broker).await,
                },
                event = events.recv(), if open => open = self.event(&event, &broker),
                Some(question) = questions.next() => question.answer(&self, &broker),
                () = keeper.shared.arrived.notified() => tokio::time::sleep(ROUND).await,
                () = tokio::time::sleep(next) => {}
            }
            self.take_in(&broker);
            self.round(&broker);
        }
    }

    fn next_look(&self) -> Option<Moment> {
        self.tables.values().filter_map(Table::next_look).min()
    }

    /// Everything in hand.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Held>> {
        self.tables.values().flat_map(Table::all)
    }

    pub(super) fn methods(&self) -> &[Arc<MethodRuntime>] {
        &self.methods
    }

    pub(super) fn take_in(&mut self, broker: &AnyBroker) {
        for held in self.keeper.taken_in() {
            let position = self
                .methods
                .iter()
                .position(|method| Arc::ptr_eq(method, &held.method))
                .expect("every delivery is of a method that this keeper knows");
            let table = self.tables.entry(position).or_default();
            let times = held.method.times;
            let first = next_beat(times.beats_from(held.arrived, held.lease().from()), times.heartbeat());
            table.next_beat = if table.is_empty() { first } else { table.next_beat.min(first) };
            table.add(Arc::clone(&held));
            if self.draining {
                self.drain(&held, broker);
            }
        }
    }

    async fn obey(&mut self, order: Order, broker: &AnyBroker) {
        match order {
            Order::Prove(held) => self.prove(held, broker),
            Order::CancelHeard(service) => {
                // What arrives after this look will find by itself what was heard before it.
                let news = service.cancels.news();
                self.take_in(broker);
                let is_meant = |held: &&Arc<Held>| {
                    Arc::ptr_eq(&held.method.service, &service) && news.contains(held.origin().name)
                };
                for held in self.all().filter(is_meant) {
                    self.feed(held, attempt::Event::CancelHeard, broker);
                    self.look_for_cancel(held, broker);
                }
            }
            Order::Cancel(held) => self.feed(&held, attempt::Event::Cancel, broker),
            Order::PassOn(held) => {
                tokio::spawn(turns::own(progress::pass_on(held, self.keeper.clone(), broker.clone())));
            }
            Order::Nak { ack, delay, expires } => nak(&ack, delay, expires, broker),
            Order::PullsNoMore => {
                self.pulls_no_more = true;
                // Whoever was given what was heard before may have handed it back.
                let is_heard = |held: &&Arc<Held>| held.method.service.cancels.is_heard(held.origin().name);
                self.all().filter(is_heard).for_each(|held| self.look_for_cancel(held, broker));
            }
            Order::Drain => {
                self.draining = true;
                for held in self.all() {
                    self.drain(held, broker);
                }
            }
            Order::HandOver(done) => {
                self.take_in(broker);
                for held in self.all() {
                    self.hand_over(held, broker);
                }
                let _ = done.send(());
            }
            Order::SeeOff(done) => {
                shutdown::see_off(broker, &self.methods).await;
                let _ = done.send(());
            }
            Order::Stop => {}
        }
    }

    /// One heartbeat and one barrier for everything that waits for a proof.
    fn prove(&mut self, first: Arc<Held>, broker: &AnyBroker) {
        let mut waiting = vec![first];
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Order::Prove(held) => waiting.push(held),
                Order::Nak { ack, delay, expires } => nak(&ack, delay, expires, broker),
                other => {
                    // Rare orders wait until after this round.
                    let _ = self.keeper.shared.orders.send(other);
                    break;
                }
            }
        }
        for method in &self.methods {
            let of_method: Vec<_> =
                waiting.iter().filter(|it| Arc::ptr_eq(&it.method, method)).cloned().collect();
            if !of_method.is_empty() {
                tokio::spawn(turns::own(beat(Arc::clone(method), of_method, broker.clone(), false)));
            }
        }
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining
    }

    fn look_for_cancel(&self, held: &Arc<Held>, broker: &AnyBroker) {
        if self.pulls_no_more && held.look(Attempt::is_running) {
            let looks = cancels::look_in_hand(Arc::clone(held), self.keeper.clone(), broker.clone());
            tokio::spawn(turns::own(looks));
        }
    }

    fn drain(&self, held: &Arc<Held>, broker: &AnyBroker) {
        if held.streams.get().is_some_and(|streams| streams.is_settling()) {
            return;
        }
        self.feed(held, attempt::Event::Drain, broker);
        // What waits for its turn or looks for a checkpoint has no handler that its attempt could stop: its task wakes
        // and hands the request back.
        if !held.look(Attempt::is_running) {
            held.stop(Stop::HandOver);
        }
    }

    fn hand_over(&self, held: &Arc<Held>, broker: &AnyBroker) {
        // The attempt decides under its lock whether the handler has the word already: then its own task drops it first
        // and lets go after that; a task that cannot run keeps its lease until the process ends.
        self.feed(held, attempt::Event::LetGo, broker);
        held.stop(Stop::HandOver);
    }

    /// The request of that attempt is cancelled.
    pub(super) fn cancel(&self, told: &MineQuestion<'_>, broker: &AnyBroker) {
        let is_meant = |held: &&Arc<Held>| {
            held.origin().name == told.id && held.look(|attempt| attempt.id() == told.attempt_id)
        };
        for held in self.all().filter(is_meant) {
            self.feed(held, attempt::Event::Cancel, broker);
        }
    }

    /// Feeds an attempt from here and does what it asks for, beside the rounds.
    fn feed(&self, held: &Arc<Held>, event: attempt::Event, broker: &AnyBroker) {
        let action = held.step(event);
        if matches!(action, attempt::Action::None | attempt::Action::HandOver) {
            return;
        }
        let (held, keeper, broker, claims) =
            (Arc::clone(held), self.keeper.clone(), broker.clone(), Arc::clone(&self.claims));
        tokio::spawn(turns::own(async move {
            let _turn = claims.acquire().await;
            settle::drive(&held, action, &keeper, &broker).await;
        }));
    }

    /// Whether there may be more of them.
    fn event(&mut self, event: &Result<Event, RecvError>, broker: &AnyBroker) -> bool {
        match event {
            Ok(Event::Reconnected) | Err(RecvError::Lagged(_)) => self.reconnected(broker),
            Ok(Event::Closed) | Err(RecvError::Closed) => {
                // What is in hand is lost in time, round by round.
                let _ = self.closed.set(ServeError::Closed);
                return false;
            }
            Ok(_) => {}
        }
        true
    }

    fn reconnected(&mut self, broker: &AnyBroker) {
        self.take_in(broker);
        for held in self.all() {
            self.feed(held, attempt::Event::Reconnected, broker);
        }
        // Beats fell due while nothing could be sent, and the connection may not stay until the next ones.
        for table in self.tables.values_mut() {
            table.next_beat = broker.now();
        }
    }

    fn round(&mut self, broker: &AnyBroker) {
        let now = broker.now();
        self.probe.round(now, &self.methods);
        let mut has_room = true;
        for held in self.tables.values_mut().flat_map(|table| table.age(now)) {
            // A hint is not worth waiting for: what finds no room is not sent.
            has_room =
                has_room && settle::signal(&held, SignalKind::Started, broker).now_or_never().is_some();
        }
        let lost: Vec<_> = self.tables.values_mut().flat_map(|table| table.lost(now)).collect();
        for held in lost {
            self.feed(&held, attempt::Event::Lost, broker);
        }
        let due: Vec<usize> = self
            .tables
            .iter()
            .filter(|(_, table)| !table.long.is_empty() && table.next_beat <= now)
            .map(|(position, _)| *position)
            .collect();
        for position in due {
            self.beat(position, now, broker);
        }
    }

    /// One round of heartbeats for a method. Whatever is lost is lost before anything is sent: after a stop of the
    /// process or a suspended machine that is what this round finds first.
    fn beat(&mut self, position: usize, now: Moment, broker: &AnyBroker) {
        let method = Arc::clone(&self.methods[position]);
        let table = self.tables.get_mut(&position).expect("a table that is due exists");
        table.next_beat = next_beat(now, method.times.heartbeat());
        table.sweep();
        let long = table.long.clone();
        for held in &long {
            if held.lease().is_lost(broker.now()) {
                self.feed(held, attempt::Event::Lost, broker);
            } else if let Some(ending) = overdue(held, now) {
                self.feed(held, attempt::Event::Ended(ending), broker);
            } else {
                self.feed(held, attempt::Event::Beat, broker);
            }
        }
        let table = self.tables.get_mut(&position).expect("a table that is due exists");
        if table.beats.as_ref().is_some_and(|beats| !beats.is_finished()) {
            tracing::warn!(method = method.options.name, "the last heartbeats are still on their way out");
            table.next_beat = now + AGAIN;
            return;
        }
        let held: Vec<_> = long.into_iter().filter(|held| !held.is_over()).collect();
        table.beats = Some(tokio::spawn(turns::own(beat(method, held, broker.clone(), true))));
    }
}

/// How a handler ends that should have ended by itself, and has not because it blocks its thread.
fn overdue(held: &Held, now: Moment) -> Option<Ending> {
    let over = |since: Moment, span: Duration| now.since(since) > span + OVERDUE;
    let options = &held.method.options;
    let started = held.started()?;
    if held.cancelled().is_some_and(|at| over(at, options.kill_after)) {
        return Some(Ending::Killed);
    }
    over(started, options.max_run).then_some(Ending::TimedOut)
}

/// When heartbeats are due that follow those at `last`.
fn next_beat(last: Moment, interval: Duration) -> Moment {
    let [high, low, ..] = random_bits();
    let chance = u32::from(u16::from_be_bytes([high, low]));
    last + interval - interval / EARLY * chance / u32::from(u16::MAX)
}

/// Sends a heartbeat for each delivery, and starts to wait for the one answer that confirms all of them.
///
/// Both beside the rounds: a connection that takes nothing more, or a server that says nothing, must not keep them from
/// noticing which leases are lost. While the connection is down nothing is sent: it would be delivered later, and extend
/// somebody else's lease.
async fn beat(method: Arc<MethodRuntime>, held: Vec<Arc<Held>>, broker: AnyBroker, signals: bool) {
    let (sent, mut events) = (broker.now(), broker.events());
    let counters = &method.service.counters;
    if !broker.is_connected() {
        return;
    }
    for one in &held {
        if one.is_over() || one.lease().is_lost(broker.now()) {
            continue;
        }
        if broker.publish(barrier::heartbeat(one)).await.is_err() {
            return;
        }
        count(&counters.heartbeats);
        if signals && one.started().is_some() {
            settle::signal(one, SignalKind::Alive, &broker).await;
        }
        // What went out before a cut was lost with it, and the barrier behind it would be answered all the same.
        if was_cut(&mut events) {
            return;
        }
    }
    let Some(last) = held.iter().rfind(|one| !one.is_over()).cloned() else {
        return;
    };
    tokio::spawn(turns::own(async move {
        let within = barrier::answer_within(&method);
        let confirmed = tokio::time::timeout(within, barrier::confirmed(&method, &last, &broker));
        let confirmed = confirmed.await.unwrap_or(Err(SendError::TimedOut.into()));
        let answered = broker.now();
        match confirmed {
            Ok(()) => {
                count(&method.service.counters.barriers);
                for one in held {
                    one.confirm(sent, answered);
                }
            }
            Err(why) => {
                tracing::warn!(method = method.options.name, %why, "heartbeats were not confirmed");
            }
        }
    }));
}

/// Whether the connection was lost since these events are listened to.
fn was_cut(events: &mut broadcast::Receiver<Event>) -> bool {
    loop {
        match events.try_recv() {
            Ok(Event::Disconnected | Event::Reconnected) | Err(TryRecvError::Lagged(_)) => return true,
            Ok(_) => {}
            Err(TryRecvError::Empty | TryRecvError::Closed) => return false,
        }
    }
}

/// Hands a delivery back. Dropped, not sent later: by then the request may be in other hands.
///
/// It does not wait for room: there are no more of these than requests in hand.
fn nak(ack: &str, delay: Duration, expires: Moment, broker: &AnyBroker) {
    let in_time = broker.now() < expires && broker.is_connected();
    #[cfg(test)]
    let in_time = in_time || is_planted(Bug::LateNak);
    if in_time {
        let body = if delay.is_zero() {
            Bytes::from_static(b"-NAK")
        } else {
            Bytes::from(format!("-NAK {{\"delay\":{}}}", delay.as_nanos()))
        };
        let _ = broker.publish(Outgoing::new(ack.to_owned(), body)).now_or_never();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn two_workers_do_not_beat_in_step() {
        let (last, interval) = (Moment(7), Duration::from_secs(5));
        let beats: BTreeSet<Moment> = (0..1_000).map(|_| next_beat(last, interval)).collect();
        let within = last + interval * 7 / 8..=last + interval;
        assert!(beats.iter().all(|at| within.contains(at)), "{beats:?}");
        // The server takes less than a millisecond for a barrier; equal ones would be the same one every time.
        assert!(beats.len() > 900, "{}", beats.len());
    }
}
