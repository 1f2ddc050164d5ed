//! What lies between the clients and the server: connections that keep their order, take time, break and come back;
//! and the agenda of everything that is under way.

use std::collections::{BTreeMap, VecDeque};

use tokio::sync::{broadcast, mpsc, oneshot};

use super::{
    cluster::Side,
    faults::{Faults, Latency, Random},
    pattern::matches,
    turn::Kind,
};
use crate::{
    broker::{Event, Message, Outgoing},
    wire::jetstream::nanos,
};

/// A connection.
pub(super) type LinkId = u64;
/// A subscription of a connection.
pub(super) type SubscriptionId = u64;
/// The subscription that hears the answers to requests.
const ANSWERS: SubscriptionId = 0;
const EVENT_BACKLOG: usize = 256;
/// Older entries of the log are dropped.
const LOG: usize = 200_000;

/// What a client sends.
#[derive(Clone, Debug)]
pub(super) enum Frame {
    Publish(Outgoing),
    Subscribe(SubscriptionId, String),
    Unsubscribe(SubscriptionId),
}

/// Something under way.
#[derive(Debug)]
pub(super) enum Due {
    /// A frame reaches the server. Without an epoch it is a copy that hung in the network, which outlives its
    /// connection.
    Arrive { link: LinkId, epoch: Option<u64>, frame: Frame },
    /// A message reaches a client.
    Deliver { link: LinkId, epoch: u64, subscription: SubscriptionId, message: Box<Message> },
    /// A broken connection is back.
    Reconnect { link: LinkId },
    /// The server starts again.
    Start,
    /// A cluster has a leader again.
    Elected { election: u64 },
    /// A split cluster is whole again.
    Heal,
}

/// Where a message was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It reached the server.
    Published,
    /// The server sent it to a connection.
    Sent(Kind),
    /// It was published while the connection was down, and waits for the connection to come back.
    Queued,
    /// It was lost between the server and a connection, or the other way round.
    Lost,
    /// It hangs in the network on its way to the server.
    Hung,
    /// The server refused it for want of permission.
    Denied,
}

/// An entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Passage {
    /// Since the simulation began.
    pub(crate) at: std::time::Duration,
    pub(crate) link: String,
    pub(crate) seen: Seen,
    pub(crate) subject: String,
}

/// A connection, both ends of it.
pub(super) struct Link {
    pub(super) name: String,
    pub(super) latency: Latency,
    pub(super) up: bool,
    pub(super) frozen: bool,
    /// Whoever publishes waits for room behind its message, as with the real client's buffer.
    pub(super) full: bool,
    /// Of a split cluster.
    pub(super) side: Side,
    pub(super) down_until: u64,
    pub(super) server: String,
    pub(super) events: broadcast::Sender<Event>,
    /// Counts connects; what belongs to an earlier one is lost.
    epoch: u64,
    /// What was published while the connection was down.
    queued: VecDeque<Frame>,
    /// What came due while the connection was frozen.
    held: VecDeque<Due>,
    last_arrival: u64,
    last_delivery: u64,
    subscriptions: BTreeMap<SubscriptionId, (String, mpsc::UnboundedSender<Message>)>,
    requests: BTreeMap<u64, oneshot::Sender<Message>>,
}

/// All connections, who listens to what, and what is under way.
pub(super) struct Network {
    pub(super) random: Random,
    pub(super) faults: Faults,
    pub(super) latency: Latency,
    pub(super) links: BTreeMap<LinkId, Link>,
    pub(super) log: VecDeque<Passage>,
    /// By time and number, so that what is due at one time keeps its order.
    agenda: BTreeMap<(u64, u64), Due>,
    /// What the server knows of subscriptions.
    interest: BTreeMap<(LinkId, SubscriptionId), String>,
    numbers: u64,
}

/// A message on its way from the server.
pub(super) struct Parcel<'a> {
    pub(super) to: &'a str,
    pub(super) message: Message,
    pub(super) kind: Kind,
}

impl Network {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            faults: Faults::default(),
            latency: Latency::default(),
            links: BTreeMap::new(),
            log: VecDeque::new(),
            agenda: BTreeMap::new(),
            interest: BTreeMap::new(),
            numbers: 0,
        }
    }

    pub(super) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub(super) fn schedule(&mut self, at: u64, due: Due) {
        let number = self.number();
        self.agenda.insert((at, number), due);
    }

    pub(super) fn next_at(&self) -> Option<u64> {
        self.agenda.first_key_value().map(|((at, _), _)| *at)
    }

    pub(super) fn next_due(&mut self) -> Option<Due> {
        self.agenda.pop_first().map(|(_, due)| due)
    }

    pub(super) fn note(&mut self, now: u64, link: LinkId, seen: Seen, subject: &str) {
        let Some(link) = self.links.get(&link) else { return };
        if self.log.len() == LOG {
            self.log.pop_front();
        }
        let at = std::time::Duration::from_nanos(now);
        self.log.push_back(Passage { at, link: link.name.clone(), seen, subject: subject.to_owned() });
    }

    pub(super) fn open(&mut self, name: &str, latency: Latency, server: &str, now: u64) -> LinkId {
        let id = self.number();
        let link = Link {
            name: name.to_owned(),
            latency,
            up: true,
            frozen: false,
            full: false,
            side: Side::default(),
            down_until: 0,
            server: server.to_owned(),
            events: broadcast::channel(EVENT_BACKLOG).0,
            epoch: 0,
            queued: VecDeque::new(),
            held: VecDeque::new(),
            last_arrival: 0,
            last_delivery: 0,
            subscriptions: BTreeMap::new(),
            requests: BTreeMap::new(),
        };
        self.links.insert(id, link);
        self.send(id, Frame::Subscribe(ANSWERS, format!("{}.r.*", inbox(id))), now);
        id
    }

    /// Gives a connection up: its subscriptions end.
    pub(super) fn close(&mut self, id: LinkId) {
        if let Some(link) = self.links.remove(&id) {
            // Nobody listening is no error.
            let _ = link.events.send(Event::Closed);
        }
        self.interest.retain(|(link, _), _| *link != id);
    }

    /// Sends a frame, or keeps it until the connection is back.
    pub(super) fn send(&mut self, id: LinkId, frame: Frame, now: u64) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if !link.up {
            // Subscriptions are made anew by the reconnect itself.
            let Frame::Publish(message) = &frame else { return };
            let subject = message.subject.clone();
            link.queued.push_back(frame);
            return self.note(now, id, Seen::Queued, &subject);
        }
        if let Frame::Publish(message) = &frame
            && let Some(delay) = self.faults.hangs(&message.subject, &message.payload)
        {
            let subject = message.subject.clone();
            self.schedule(now + nanos(delay), Due::Arrive { link: id, epoch: None, frame });
            return self.note(now, id, Seen::Hung, &subject);
        }
        link.last_arrival = link.last_arrival.max(now + link.latency.draw(&mut self.random));
        let (at, epoch) = (link.last_arrival, Some(link.epoch));
        self.schedule(at, Due::Arrive { link: id, epoch, frame });
    }

    pub(super) fn subscribe(&mut self, id: LinkId, pattern: String, now: u64) -> Option<Subscribed> {
        let subscription = self.number();
        let (sender, messages) = mpsc::unbounded_channel();
        self.links.get_mut(&id)?.subscriptions.insert(subscription, (pattern.clone(), sender));
        self.send(id, Frame::Subscribe(subscription, pattern), now);
        Some((subscription, messages))
    }

    pub(super) fn unsubscribe(&mut self, id: LinkId, subscription: SubscriptionId, now: u64) {
        if let Some(link) = self.links.get_mut(&id) {
            link.subscriptions.remove(&subscription);
            self.send(id, Frame::Unsubscribe(subscription), now);
        }
    }

    /// Publishes with a reply subject of its own: its number, and where the answer will come.
    pub(super) fn request(
        &mut self,
        id: LinkId,
        mut message: Outgoing,
        now: u64,
    ) -> Option<(u64, oneshot::Receiver<Message>)> {
        let number = self.number();
        let (sender, answer) = oneshot::channel();
        self.links.get_mut(&id)?.requests.insert(number, sender);
        message.reply = Some(format!("{}.r.{number}", inbox(id)));
        self.send(id, Frame::Publish(message), now);
        Some((number, answer))
    }

    pub(super) fn forget_request(&mut self, id: LinkId, number: u64) {
        if let Some(link) = self.links.get_mut(&id) {
            link.requests.remove(&number);
        }
    }

    /// What the server learns of a connection's subscriptions.
    pub(super) fn listen(&mut self, id: LinkId, subscription: SubscriptionId, pattern: Option<String>) {
        match pattern {
            Some(pattern) => self.interest.insert((id, subscription), pattern),
            None => self.interest.remove(&(id, subscription)),
        };
    }

    pub(super) fn heard(&self, subject: &str, side: Side) -> bool {
        self.interest.iter().any(|((link, _), pattern)| self.is_on(*link, side) && matches(pattern, subject))
    }

    fn is_on(&self, link: LinkId, side: Side) -> bool {
        self.links.get(&link).is_some_and(|it| it.side == side)
    }

    /// Sends to everybody on one side who listens: whether anybody does.
    pub(super) fn fan_out(&mut self, parcel: &Parcel<'_>, side: Side, now: u64) -> bool {
        let listening = self.interest.iter().filter(|(_, pattern)| matches(pattern, parcel.to));
        let listening = listening.filter(|((link, _), _)| self.is_on(*link, side));
        let listening: Vec<(LinkId, SubscriptionId)> = listening.map(|(key, _)| *key).collect();
        for (link, subscription) in &listening {
            self.hand_to(*link, *subscription, parcel, now);
        }
        !listening.is_empty()
    }

    /// Sends to the subscription of one connection that listens on the subject.
    pub(super) fn send_to(&mut self, id: LinkId, parcel: &Parcel<'_>, now: u64) {
        let own = self.interest.range((id, 0)..=(id, u64::MAX));
        let own = own.filter(|(_, pattern)| matches(pattern, parcel.to)).map(|(key, _)| key.1).next();
        if let Some(subscription) = own {
            self.hand_to(id, subscription, parcel, now);
        }
    }

    fn hand_to(&mut self, id: LinkId, subscription: SubscriptionId, parcel: &Parcel<'_>, now: u64) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let subject = parcel.message.subject.as_str();
        if self.faults.loses(&link.name, subject, parcel.kind, subscription == ANSWERS) {
            return self.note(now, id, Seen::Lost, subject);
        }
        link.last_delivery = link.last_delivery.max(now + link.latency.draw(&mut self.random));
        let (at, epoch) = (link.last_delivery, link.epoch);
        let message = Box::new(parcel.message.clone());
        self.schedule(at, Due::Deliver { link: id, epoch, subscription, message });
        self.note(now, id, Seen::Sent(parcel.kind), subject);
    }

    /// Sorts out what came due: what a frozen connection holds back, and what was lost with an earlier connection.
    pub(super) fn admit(&mut self, due: Due, now: u64) -> Option<Due> {
        let (id, epoch) = match &due {
            Due::Arrive { link, epoch, .. } => (*link, *epoch),
            Due::Deliver { link, epoch, .. } => (*link, Some(*epoch)),
            Due::Reconnect { .. } | Due::Start | Due::Elected { .. } | Due::Heal => return Some(due),
        };
        let link = self.links.get_mut(&id)?;
        if epoch.is_some_and(|epoch| epoch != link.epoch) {
            let subject = match &due {
                Due::Arrive { frame: Frame::Publish(message), .. } => message.subject.clone(),
                Due::Deliver { message, .. } => message.subject.clone(),
                _ => return None,
            };
            self.note(now, id, Seen::Lost, &subject);
            return None;
        }
        if link.frozen && epoch.is_some() {
            link.held.push_back(due);
            return None;
        }
        Some(due)
    }

    /// A message reaches the client.
    pub(super) fn deliver(&mut self, id: LinkId, subscription: SubscriptionId, message: Message) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if subscription != ANSWERS {
            if let Some((_, sender)) = link.subscriptions.get(&subscription) {
                // The subscription was just dropped: nobody misses the message.
                let _ = sender.send(message);
            }
            return;
        }
        let number = message.subject.rsplit('.').next().and_then(|it| it.parse().ok());
        if let Some(asker) = number.and_then(|number: u64| link.requests.remove(&number)) {
            // The asker has given up.
            let _ = asker.send(message);
        }
    }

    /// Breaks a connection: the server forgets its subscriptions, and what is under way is lost.
    pub(super) fn cut(&mut self, id: LinkId) {
        self.interest.retain(|(link, _), _| *link != id);
        let Some(link) = self.links.get_mut(&id) else { return };
        link.epoch += 1;
        link.held.clear();
        if std::mem::replace(&mut link.up, false) {
            let _ = link.events.send(Event::Disconnected);
        }
    }

    /// Brings a connection back: subscriptions first, then what was published meanwhile.
    pub(super) fn reconnect(&mut self, id: LinkId, server: &str, now: u64) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if link.up || link.down_until > now {
            return;
        }
        link.up = true;
        server.clone_into(&mut link.server);
        let mut frames = vec![Frame::Subscribe(ANSWERS, format!("{}.r.*", inbox(id)))];
        frames.extend(
            link.subscriptions.iter().map(|(id, (pattern, _))| Frame::Subscribe(*id, pattern.clone())),
        );
        frames.extend(link.queued.drain(..));
        let _ = link.events.send(Event::Reconnected);
        for frame in frames {
            self.send(id, frame, now);
        }
    }

    /// Loses everything that is on its way to clients.
    pub(super) fn lose_what_is_sent(&mut self, now: u64) {
        let (lost, kept) = std::mem::take(&mut self.agenda)
            .into_iter()
            .partition(|(_, due)| matches!(due, Due::Deliver { .. }));
        self.agenda = kept;
        let lost: BTreeMap<(u64, u64), Due> = lost;
        for due in lost.into_values() {
            if let Due::Deliver { link, message, .. } = due {
                self.note(now, link, Seen::Lost, &message.subject);
            }
        }
    }

    /// Lets a connection go on: what it held back, in order.
    pub(super) fn thaw(&mut self, id: LinkId) -> VecDeque<Due> {
        let Some(link) = self.links.get_mut(&id) else { return VecDeque::new() };
        link.frozen = false;
        std::mem::take(&mut link.held)
    }

    pub(super) fn named(&self, name: &str) -> Vec<LinkId> {
        self.links.iter().filter(|(_, link)| link.name == name).map(|(id, _)| *id).collect()
    }
}

/// A subscription's number, and where its messages come.
pub(super) type Subscribed = (SubscriptionId, mpsc::UnboundedReceiver<Message>);

/// What all inboxes of a connection start with.
pub(super) fn inbox(id: LinkId) -> String {
    format!("_INBOX.sim.{id}")
}
