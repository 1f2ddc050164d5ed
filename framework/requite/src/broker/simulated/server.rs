//! The simulated server: routes what arrives, lets JetStream act when its time has come, dies and starts again.

use std::{collections::VecDeque, time::Duration};

use super::{
    MAX_PAYLOAD,
    api::JetStream,
    cluster::{self, Cluster, Election, Side},
    network::{Due, Frame, LinkId, Network, Parcel, Seen},
    stream::Publish,
    turn::{Kind, Sent, Turn},
};
use crate::{
    broker::{Event, Headers, Message, Outgoing},
    wire::{header, jetstream::nanos},
};

/// The server's clock when the simulation begins: 2026-01-01.
const BEGIN: u64 = 1_767_225_600_000_000_000;
const SECOND: u64 = 1_000_000_000;
/// Clients come back one after the other within this time after a start.
const RECONNECT_WITHIN: u64 = 20_000_000;

/// The server and the network around it.
pub(super) struct Server {
    pub(super) network: Network,
    pub(super) jetstream: JetStream,
    /// Nothing for a single server.
    pub(super) cluster: Option<Cluster>,
    outbox: VecDeque<Sent>,
    /// Nanoseconds since the simulation began.
    now: u64,
    /// What to add to `now` for the server's clock: its fraction of a second differs by seed, because stamps are cut.
    begin: u64,
    starts: u64,
    /// While it is down: until when its consumers' states had been written.
    written_until: Option<u64>,
    killed: bool,
    /// What it says that messages may take. It takes larger ones.
    pub(super) max_payload: usize,
}

impl Server {
    pub(super) fn new(seed: u64, cluster: Option<Cluster>) -> Self {
        let mut network = Network::new(seed);
        let begin = BEGIN + network.random.below(SECOND);
        Self {
            network,
            jetstream: JetStream::default(),
            cluster,
            outbox: VecDeque::new(),
            now: 0,
            begin,
            starts: 1,
            written_until: None,
            killed: false,
            max_payload: MAX_PAYLOAD,
        }
    }

    /// New after every start.
    pub(super) fn id(&self) -> String {
        format!("SIMULATED{}", self.starts)
    }

    pub(super) fn is_running(&self) -> bool {
        self.written_until.is_none()
    }

    /// The server's clock at a time of the simulation.
    pub(super) fn clock(&self, at: u64) -> u64 {
        self.begin + at
    }

    /// Timers that run go on running for as long as they would have: only what is compared with stamps changes.
    pub(super) fn step_clock(&mut self, millis: i64) {
        let by = millis * 1_000_000;
        self.begin = self.begin.saturating_add_signed(by);
        let streams = self.jetstream.streams.values_mut();
        streams.flat_map(|it| it.consumers.values_mut()).for_each(|it| it.shift_timers(by));
    }

    /// Lets everything happen that is due until `until`; returns when the next thing is.
    pub(super) fn run(&mut self, until: u64) -> Option<u64> {
        loop {
            let (event, wake) = (self.network.next_at(), self.next_wake());
            let next = event.into_iter().chain(wake).min();
            let Some(at) = next.filter(|at| *at <= until) else {
                self.now = self.now.max(until);
                return next;
            };
            self.now = self.now.max(at);
            if wake.is_some_and(|wake| event.is_none_or(|event| wake < event)) {
                for side in [Side::Majority, Side::Minority] {
                    if self.leads(side) {
                        self.with_turn(side, JetStream::wake);
                        self.post(side);
                    }
                }
            } else if let Some(due) = self.network.next_due()
                && let Some(due) = self.network.admit(due, self.now)
            {
                self.handle(due);
            }
        }
    }

    fn next_wake(&self) -> Option<u64> {
        if !self.is_running() {
            return None;
        }
        let own = self.jetstream.next_wake().filter(|_| self.leads(Side::Majority));
        let cut_off = self.cluster.as_ref().and_then(|it| it.next_wake(self.now));
        own.into_iter().chain(cut_off).min().map(|at| at.saturating_sub(self.begin))
    }

    fn leads(&self, side: Side) -> bool {
        match &self.cluster {
            Some(cluster) => cluster.leads(side, self.now),
            None => side == Side::Majority,
        }
    }

    fn is_split(&self) -> bool {
        self.cluster.as_ref().is_some_and(|it| !it.is_whole())
    }

    fn side_of(&self, link: LinkId) -> Side {
        self.network.links.get(&link).map_or(Side::Majority, |it| it.side)
    }

    fn with_turn<T>(&mut self, side: Side, act: impl FnOnce(&mut JetStream, &mut Turn<'_>) -> T) -> T {
        let lag = self.cluster.as_ref().map_or(0, |_| cluster::draw_lag(&mut self.network));
        let cut_off = self.cluster.as_mut().and_then(Cluster::cut_off).filter(|_| side == Side::Minority);
        let mut turn = Turn {
            now: self.begin + self.now,
            elapsed: self.now,
            quorum: side == Side::Majority,
            side,
            lag,
            network: &self.network,
            outbox: &mut self.outbox,
        };
        act(cut_off.unwrap_or(&mut self.jetstream), &mut turn)
    }

    pub(super) fn handle(&mut self, due: Due) {
        match due {
            Due::Arrive { link, epoch: None, frame } if !self.is_running() => {
                // A copy that hangs in the network finds no server yet.
                self.network.schedule(self.now + SECOND, Due::Arrive { link, epoch: None, frame });
            }
            Due::Arrive { link, frame, .. } => match frame {
                Frame::Publish(message) => self.publish(link, &message),
                Frame::Subscribe(id, pattern) => self.network.listen(link, id, Some(pattern)),
                Frame::Unsubscribe(id) => self.network.listen(link, id, None),
            },
            Due::Deliver { link, subscription, message, .. } => {
                self.network.deliver(link, subscription, *message);
            }
            Due::Reconnect { link } => {
                if self.is_running() {
                    self.network.reconnect(link, &self.id(), self.now);
                }
            }
            Due::Start => self.start(),
            Due::Elected { election } => self.elected(election),
            Due::Heal => self.heal(),
        }
    }

    /// A client's message: to whoever listens, and into JetStream; also if JetStream then refuses it.
    fn publish(&mut self, link: LinkId, message: &Outgoing) {
        let subject = message.subject.as_str();
        let denied = self.network.links.get(&link).map(|it| self.network.faults.denies(&it.name, subject));
        if denied == Some(true) {
            self.network.note(self.now, link, Seen::Denied, subject);
            return self.report(link, Event::Denied { subject: subject.to_owned() });
        }
        self.network.note(self.now, link, Seen::Published, subject);
        let shown = Message {
            subject: subject.into(),
            reply: message.reply.as_deref().map(Into::into),
            headers: message.headers.clone(),
            status: None,
            description: None,
            payload: message.payload.clone(),
        };
        let parcel = Parcel { to: subject, message: shown, kind: Kind::Core };
        let side = self.side_of(link);
        let heard = self.network.fan_out(&parcel, side, self.now);
        let publish = Publish {
            subject,
            reply: message.reply.as_deref(),
            headers: &message.headers,
            payload: &message.payload,
        };
        let leads = self.leads(side);
        let taken = self.with_turn(side, |jetstream, turn| match leads {
            true => jetstream.take(&publish, turn),
            false => cluster::take_leaderless(jetstream, &publish, turn),
        });
        if side == Side::Minority
            && leads
            && taken
            && let Some(cluster) = &mut self.cluster
        {
            cluster.keep(link, message);
        }
        if let Some(reply) = message.reply.as_deref().filter(|_| !heard && !taken) {
            let sent =
                Sent::status(reply, 503, "").headers(Headers::default().with(header::SUBJECT, subject));
            self.network.send_to(link, &parcel_of(&sent), self.now);
        }
        self.post(side);
    }

    /// What a leader took in while it was cut off, and can commit now; what it had to say to it at once it has said.
    fn commit(&mut self, link: LinkId, message: &Outgoing) {
        let reply = message.reply.as_deref();
        let publish = Publish {
            subject: &message.subject,
            reply,
            headers: &message.headers,
            payload: &message.payload,
        };
        if self.network.links.contains_key(&link) {
            self.with_turn(Side::Majority, |jetstream, turn| jetstream.take(&publish, turn));
            self.post(Side::Majority);
        }
    }

    /// Sends what JetStream had to say. Streams capture that too, which is why nobody may choose reply subjects
    /// freely.
    fn post(&mut self, side: Side) {
        while let Some(sent) = self.outbox.pop_front() {
            self.network.fan_out(&parcel_of(&sent), side, self.now);
            if sent.status.is_none() {
                let Sent { to, headers, payload, .. } = &sent;
                let publish = Publish { subject: to, reply: None, headers, payload };
                self.with_turn(side, |jetstream, turn| jetstream.capture(&publish, turn));
            }
        }
    }

    pub(super) fn report(&self, link: LinkId, event: Event) {
        if let Some(link) = self.network.links.get(&link) {
            // Nobody listening is no error.
            let _ = link.events.send(event);
        }
    }

    /// Breaks a connection for a while.
    pub(super) fn disconnect(&mut self, link: LinkId, span: Duration) {
        let back = self.now + nanos(span);
        self.network.cut(link);
        if let Some(link) = self.network.links.get_mut(&link) {
            // A shorter break does not end a longer one.
            link.down_until = link.down_until.max(back);
        }
        self.network.schedule(back, Due::Reconnect { link });
    }

    /// Stops the server in good order, or kills it: its consumers then find the states that were written until `lost`
    /// ago.
    pub(super) fn stop(&mut self, lost: Option<Duration>, pause: Duration) {
        for link in self.network.links.keys().copied().collect::<Vec<_>>() {
            self.network.cut(link);
        }
        self.heal();
        if self.is_running() {
            self.written_until = Some(self.clock(self.now).saturating_sub(nanos(lost.unwrap_or_default())));
            self.killed = lost.is_some();
            self.network.schedule(self.now + nanos(pause), Due::Start);
        }
    }

    /// The cluster's leader is gone: until when nobody leads, unless it was gone before.
    pub(super) fn elect(&mut self, how: Election) -> Option<Duration> {
        if !self.is_running() || self.is_split() || !self.leads(Side::Majority) {
            return None;
        }
        let cluster = self.cluster.as_mut()?;
        let (election, over_at) = cluster.elect(how, &mut self.network, self.now);
        self.network.schedule(over_at, Due::Elected { election });
        // What it had sent is lost, and one connection in three was to it.
        self.network.lose_what_is_sent(self.now);
        for link in self.network.links.keys().copied().collect::<Vec<_>>() {
            if self.network.random.below(3) == 0 {
                self.network.cut(link);
                let at = self.now + self.network.random.below(RECONNECT_WITHIN);
                self.network.schedule(at, Due::Reconnect { link });
            }
        }
        Some(Duration::from_nanos(over_at - self.now))
    }

    /// Cuts the leader off from the others, with the connections on its side; the others elect another one. Whether
    /// there was a leader to cut off.
    pub(super) fn split(&mut self, minority: &[LinkId], span: Duration) -> bool {
        if !self.is_running() || self.is_split() || !self.leads(Side::Majority) {
            return false;
        }
        let Some(cluster) = &mut self.cluster else { return false };
        cluster.split(&self.jetstream, &mut self.network, self.now);
        let (election, over_at) = cluster.elect(Election::Death, &mut self.network, self.now);
        self.network.schedule(over_at, Due::Elected { election });
        for link in minority {
            if let Some(link) = self.network.links.get_mut(link) {
                link.side = Side::Minority;
            }
        }
        self.network.schedule(self.now + nanos(span), Due::Heal);
        true
    }

    fn elected(&mut self, election: u64) {
        let Some(forgets) = self.cluster.as_mut().and_then(|it| it.elected(election)) else { return };
        let now = self.clock(self.now);
        let random = &mut self.network.random;
        for stream in self.jetstream.streams.values_mut() {
            stream.change_leader(now, forgets, || SECOND / 2 + random.below(SECOND));
        }
    }

    fn heal(&mut self) {
        let Some(cluster) = &mut self.cluster else { return };
        let committed = cluster.heal(self.now);
        for link in self.network.links.values_mut() {
            link.side = Side::Majority;
        }
        for (link, message) in committed {
            self.commit(link, &message);
        }
    }

    fn start(&mut self) {
        let Some(written_until) = self.written_until.take() else { return };
        self.starts += 1;
        let now = self.clock(self.now);
        let random = &mut self.network.random;
        for stream in self.jetstream.streams.values_mut() {
            // Measured on one replica only.
            if self.killed && self.cluster.is_none() {
                stream.recover();
            }
            stream.restart(written_until, now, || SECOND / 2 + random.below(SECOND));
        }
        if let Some(cluster) = &mut self.cluster {
            let (election, over_at) = cluster.elect(Election::Death, &mut self.network, self.now);
            self.network.schedule(over_at, Due::Elected { election });
        }
        for link in self.network.links.keys().copied().collect::<Vec<_>>() {
            let at = self.now + self.network.random.below(RECONNECT_WITHIN);
            self.network.schedule(at, Due::Reconnect { link });
        }
    }
}

fn parcel_of(sent: &Sent) -> Parcel<'_> {
    let (status, description) = sent.status.clone().unzip();
    let message = Message {
        subject: sent.shown.as_deref().unwrap_or(&sent.to).into(),
        reply: sent.reply.as_deref().map(Into::into),
        headers: sent.headers.clone(),
        status,
        description: description.filter(|text| !text.is_empty()),
        payload: sent.payload.clone(),
    };
    Parcel { to: &sent.to, message, kind: sent.kind }
}
