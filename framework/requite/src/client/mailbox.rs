//! Pending calls and their mail: records, signals and changes of the connection, handed from the listeners to whoever
//! waits.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    hash::{BuildHasher, Hash},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{runtime, sync::Notify};

use crate::{
    broker::Message, name::Instance, numbered::Numbered, progress::Progress, wire::signal::SignalKind,
};

/// A call that is still pending gets its reminder no later than this after it began.
pub(super) const REMINDED_WITHIN: Duration = Duration::from_millis(100);

/// Something a pending call must hear of.
#[derive(Clone, Debug)]
pub(super) enum Mail {
    /// A record came on the inbox.
    Record(Message),
    Signal(Box<Sign>),
    Reconnected,
    /// The server refused to take the request.
    Denied,
    /// The call is pending for longer than most.
    Reminder,
}

/// How much mail waits behind the first piece, for a call that nobody polls.
const MOST: usize = 32;

/// A signal that came, and those that it makes no news.
#[derive(Clone, Debug)]
pub(super) struct Sign {
    pub(super) kind: SignalKind,
    pub(super) worker: String,
    pub(super) attempt: u32,
    /// How many they are.
    pub(super) heard: u32,
    /// The last report of the attempt, and its number.
    pub(super) progress: Option<(u64, Progress)>,
}

impl Mail {
    /// Whether a later piece makes this one no news.
    fn is_replaced_by(&self, later: &Self) -> bool {
        match (self, later) {
            (Self::Signal(earlier), Self::Signal(later)) => {
                earlier.kind == later.kind && earlier.attempt == later.attempt
            }
            (Self::Reconnected, Self::Reconnected)
            | (Self::Denied, Self::Denied)
            | (Self::Reminder, Self::Reminder) => true,
            _ => false,
        }
    }

    fn take_over(&mut self, earlier: Self) {
        if let (Self::Signal(later), Self::Signal(earlier)) = (self, earlier) {
            later.heard = later.heard.saturating_add(earlier.heard);
            // Whoever sends them may leave out what it has said.
            later.progress = later.progress.take().or(earlier.progress);
        }
    }
}

/// The mail of one call.
#[derive(Default)]
pub(super) struct Mailbox {
    mail: Mutex<Mails>,
    arrived: Notify,
}

/// Most calls get one piece of mail, their outcome, and that needs no queue.
#[derive(Default)]
struct Mails {
    first: Option<Mail>,
    /// Later than the first, oldest first.
    rest: VecDeque<Mail>,
}

impl Mails {
    fn take(&mut self) -> Option<Mail> {
        let first = self.first.take()?;
        self.first = self.rest.pop_front();
        Some(first)
    }

    /// Puts a piece behind those that are there, in place of what it makes no news.
    fn put_behind(&mut self, mut mail: Mail) {
        let earlier = if self.first.as_ref().is_some_and(|first| first.is_replaced_by(&mail)) {
            self.take()
        } else {
            let at = self.rest.iter().position(|earlier| earlier.is_replaced_by(&mail));
            at.and_then(|at| self.rest.remove(at))
        };
        if let Some(earlier) = earlier {
            mail.take_over(earlier);
        }
        if self.rest.len() >= MOST {
            self.drop_one();
        }
        match &mut self.first {
            first @ None => *first = Some(mail),
            Some(_) => self.rest.push_back(mail),
        }
    }

    /// Signals get lost, and a record can be read: of all others there is one each.
    fn drop_one(&mut self) {
        let signal = self.rest.iter().position(|it| matches!(it, Mail::Signal(_)));
        let oldest = signal.or_else(|| self.rest.iter().position(|it| matches!(it, Mail::Record(_))));
        oldest.and_then(|at| self.rest.remove(at));
    }
}

impl Mailbox {
    pub(super) fn put(&self, mail: Mail) {
        let mut mails = self.mail.lock().expect("nobody panics with a mailbox in hand");
        if mails.first.is_none() {
            mails.first = Some(mail);
        } else {
            mails.put_behind(mail);
        }
        drop(mails);
        self.arrived.notify_one();
    }

    fn take(&self) -> Option<Mail> {
        self.mail.lock().expect("nobody panics with a mailbox in hand").take()
    }

    /// Looks through what nobody has taken yet, oldest first.
    pub(super) fn find<T>(&self, look: impl FnMut(&Mail) -> Option<T>) -> Option<T> {
        let mails = self.mail.lock().expect("nobody panics with a mailbox in hand");
        mails.first.iter().chain(&mails.rest).find_map(look)
    }

    /// The next piece of mail. Cancelling loses nothing.
    pub(super) async fn next(&self) -> Mail {
        loop {
            if let Some(mail) = self.take() {
                return mail;
            }
            // A piece that came since the look has left its permit here.
            self.arrived.notified().await;
        }
    }
}

/// Reminders are written. When that ends, however it does, whoever counted on one gets it: a runtime that shuts down
/// takes this task with it, and calls may wait on another.
struct Reminding(Arc<Pending>);

impl Drop for Reminding {
    fn drop(&mut self) {
        self.0.own().reminded_on = None;
        while self.0.write_reminders() {}
    }
}

/// Where the mail of one call goes.
#[derive(Debug)]
pub(super) enum Address {
    /// By the number in an id of this client instance.
    Own(u64),
    /// By `<service>.<id>`.
    Other(Box<str>),
}

/// The mailboxes of all pending calls.
pub(super) struct Pending {
    instance: Instance,
    own: Mutex<Own>,
    /// Woken when a reminder has to be written.
    begun: Notify,
    /// Calls under any other id, by `<service>.<id>`.
    others: Mutex<HashMap<Box<str>, Sharing>>,
    /// Whether the server refuses the client's credentials, as far as it has said.
    unauthorized: AtomicBool,
}

/// The calls of this client under one id: the one that made it, or several that attached or chose the same key.
struct Sharing {
    first: Arc<Mailbox>,
    more: Vec<Arc<Mailbox>>,
}

impl Sharing {
    fn iter(&self) -> impl Iterator<Item = &Arc<Mailbox>> {
        std::iter::once(&self.first).chain(&self.more)
    }

    fn put(&self, mail: Mail) {
        for mailbox in &self.more {
            mailbox.put(mail.clone());
        }
        self.first.put(mail);
    }

    /// Takes one out; nothing is left if it was the only one.
    fn without(mut self, mailbox: &Arc<Mailbox>) -> Option<Self> {
        if Arc::ptr_eq(&self.first, mailbox) {
            self.first = self.more.pop()?;
        } else {
            self.more.retain(|it| !Arc::ptr_eq(it, mailbox));
        }
        Some(self)
    }
}

/// Adds a mailbox to those of its id.
fn share<K: Eq + Hash, S: BuildHasher>(calls: &mut HashMap<K, Sharing, S>, id: K, mailbox: &Arc<Mailbox>) {
    let mailbox = Arc::clone(mailbox);
    match calls.entry(id) {
        Entry::Vacant(entry) => drop(entry.insert(Sharing { first: mailbox, more: Vec::new() })),
        Entry::Occupied(mut entry) => entry.get_mut().more.push(mailbox),
    }
}

/// Takes a mailbox out of those of its id.
fn leave<K: Eq + Hash + Clone, S: BuildHasher>(
    calls: &mut HashMap<K, Sharing, S>,
    id: &K,
    mailbox: &Arc<Mailbox>,
) {
    if let Some(left) = calls.remove(id).and_then(|sharing| sharing.without(mailbox)) {
        calls.insert(id.clone(), left);
    }
}

/// Calls under ids of this client instance, by the number in the id.
#[derive(Default)]
struct Own {
    calls: Numbered<Sharing>,
    /// Calls that began since the last reminders, and those that began before; most of both are over.
    begun: Vec<u64>,
    begun_before: Vec<u64>,
    /// The runtime on which reminders are written.
    reminded_on: Option<runtime::Id>,
}

impl Pending {
    pub(super) fn new(instance: Instance) -> Self {
        Self {
            instance,
            own: Mutex::default(),
            begun: Notify::new(),
            others: Mutex::default(),
            unauthorized: AtomicBool::new(false),
        }
    }

    pub(super) fn is_unauthorized(&self) -> bool {
        self.unauthorized.load(Ordering::Relaxed)
    }

    /// Notes whether the server refuses the credentials, and returns what was noted before.
    pub(super) fn set_unauthorized(&self, is: bool) -> bool {
        self.unauthorized.swap(is, Ordering::Relaxed)
    }

    /// The number in an id of this client instance.
    fn own_number(&self, id: &str) -> Option<u64> {
        id.strip_prefix(self.instance.as_str())?.strip_prefix('.')?.parse().ok()
    }

    /// Where the mail of this id goes.
    pub(super) fn address(&self, service: &str, id: &str) -> Address {
        self.own_number(id).map_or_else(|| Address::Other(key(service, id)), Address::Own)
    }

    /// A mailbox for a call, and the runtime on which it is written a [`Mail::Reminder`] if it is still pending then.
    pub(super) fn add(&self, address: &Address) -> (Arc<Mailbox>, Option<runtime::Id>) {
        let mailbox = Arc::new(Mailbox::default());
        match address {
            Address::Own(number) => {
                let mut own = self.own();
                share(&mut own.calls, *number, &mailbox);
                let reminded_on = own.reminded_on;
                if reminded_on.is_some() {
                    own.begun.push(*number);
                }
                let first = own.begun.len() == 1;
                drop(own);
                if first {
                    self.begun.notify_one();
                }
                (mailbox, reminded_on)
            }
            Address::Other(key) => {
                share(&mut self.others(), key.clone(), &mailbox);
                (mailbox, None)
            }
        }
    }

    /// Writes reminders for as long as it is polled: one timer for all calls, most of which are over before they would
    /// need one.
    pub(super) async fn remind(self: Arc<Self>) {
        let reminding = Reminding(self);
        reminding.0.own().reminded_on = Some(runtime::Handle::current().id());
        loop {
            reminding.0.begun.notified().await;
            while reminding.0.write_reminders() {
                tokio::time::sleep(REMINDED_WITHIN / 2).await;
            }
        }
    }

    /// Whether there are calls left that may need one.
    fn write_reminders(&self) -> bool {
        let mut own = self.own();
        let begun = std::mem::take(&mut own.begun);
        let due = std::mem::replace(&mut own.begun_before, begun);
        for calls in due.iter().filter_map(|number| own.calls.get(number)) {
            calls.put(Mail::Reminder);
        }
        !own.begun_before.is_empty()
    }

    pub(super) fn remove(&self, address: &Address, mailbox: &Arc<Mailbox>) {
        match address {
            Address::Own(number) => leave(&mut self.own().calls, number, mailbox),
            Address::Other(key) => leave(&mut self.others(), key, mailbox),
        }
    }

    pub(super) fn deliver(&self, address: &Address, mail: Mail) {
        match address {
            Address::Own(number) => {
                if let Some(calls) = self.own().calls.get(number) {
                    calls.put(mail);
                }
            }
            Address::Other(key) => {
                if let Some(calls) = self.others().get(key) {
                    calls.put(mail);
                }
            }
        }
    }

    pub(super) fn deliver_to_all(&self, mail: &Mail) {
        // In a steady order: calls that react to one event do so alike in every run of a simulation.
        let own = self.own();
        let mut steady: Vec<_> = own.calls.iter().collect();
        steady.sort_unstable_by_key(|(number, _)| **number);
        for mailbox in steady.into_iter().flat_map(|(_, calls)| calls.iter()) {
            mailbox.put(mail.clone());
        }
        let others = self.others();
        let mut steady: Vec<_> = others.iter().collect();
        steady.sort_unstable_by_key(|(key, _)| *key);
        for mailbox in steady.into_iter().flat_map(|(_, calls)| calls.iter()) {
            mailbox.put(mail.clone());
        }
    }

    fn own(&self) -> MutexGuard<'_, Own> {
        self.own.lock().expect("nobody panics with the mailboxes in hand")
    }

    fn others(&self) -> MutexGuard<'_, HashMap<Box<str>, Sharing>> {
        self.others.lock().expect("nobody panics with the mailboxes in hand")
    }
}

fn key(service: &str, id: &str) -> Box<str> {
    [service, ".", id].concat().into()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::broker::Headers;

    fn signal(kind: SignalKind, attempt: u32, number: u32) -> Mail {
        let progress = Some((u64::from(number), Progress::of(number, 9)));
        let sign = Sign { kind, worker: "w".into(), attempt, heard: 1, progress };
        Mail::Signal(Box::new(sign))
    }

    fn record(number: u8) -> Mail {
        Mail::Record(Message {
            subject: "rq.in".into(),
            reply: None,
            headers: Headers::default(),
            status: None,
            description: None,
            payload: vec![number].into(),
        })
    }

    /// What a mailbox holds, in short: records by their number, signals by their kind, attempt, count and report.
    fn all(mailbox: &Mailbox) -> Vec<String> {
        std::iter::from_fn(|| mailbox.take())
            .map(|mail| match mail {
                Mail::Record(message) => format!("record {}", message.payload[0]),
                Mail::Signal(it) => {
                    let report = it.progress.map_or(0, |(number, _)| number);
                    format!("{:?} {} x{} {report}", it.kind, it.attempt, it.heard)
                }
                other => format!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn of_signals_that_nobody_reads_the_newest_is_kept_with_their_count() {
        let mailbox = Mailbox::default();
        for number in 1..=1_000 {
            mailbox.put(signal(SignalKind::Alive, 1, number));
            mailbox.put(signal(SignalKind::Progress, 1, number));
            mailbox.put(Mail::Reconnected);
        }
        mailbox.put(record(7));
        for number in 1..=3 {
            mailbox.put(Mail::Reminder);
            mailbox.put(signal(SignalKind::Alive, 2, number));
        }
        let kept = ["Alive 1 x1000 1000", "Progress 1 x1000 1000", "Reconnected", "record 7"];
        assert_eq!(all(&mailbox), [&kept[..], &["Reminder", "Alive 2 x3 3"]].concat());
        assert!(all(&mailbox).is_empty());
    }

    #[test]
    fn what_says_nothing_of_progress_takes_over_what_was_said() {
        let mailbox = Mailbox::default();
        mailbox.put(signal(SignalKind::Alive, 1, 5));
        let Mail::Signal(mut silent) = signal(SignalKind::Alive, 1, 6) else { unreachable!() };
        silent.progress = None;
        mailbox.put(Mail::Signal(silent));
        assert_eq!(all(&mailbox), ["Alive 1 x2 5"]);
    }

    #[test]
    fn mail_that_nobody_reads_is_bounded_and_signals_go_before_records() {
        let mailbox = Mailbox::default();
        mailbox.put(Mail::Denied);
        mailbox.put(record(1));
        mailbox.put(Mail::Reconnected);
        for attempt in 1..=1_000 {
            mailbox.put(signal(SignalKind::Started, attempt, attempt));
        }
        let kept = all(&mailbox);
        assert_eq!(kept.len(), 1 + MOST);
        assert_eq!(kept[..3], ["Denied", "record 1", "Reconnected"]);
        assert_eq!(kept[MOST], "Started 1000 x1 1000");

        (0..=255).for_each(|number| mailbox.put(record(number)));
        let kept = all(&mailbox);
        assert_eq!((kept.len(), kept[MOST].as_str()), (1 + MOST, "record 255"));
    }

    async fn reminding() -> (Arc<Pending>, tokio::task::JoinHandle<()>) {
        let pending = Arc::new(Pending::new(Instance::random()));
        let reminding = tokio::spawn(Arc::clone(&pending).remind());
        tokio::task::yield_now().await;
        (pending, reminding)
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_is_still_pending_is_reminded_in_time() {
        let (pending, _reminding) = reminding().await;
        for (number, wait) in (0..20).zip((0..20).map(|n| REMINDED_WITHIN * n / 13)) {
            tokio::time::sleep(wait).await;
            let (mailbox, reminded_on) = pending.add(&Address::Own(number));
            assert_eq!(reminded_on, Some(tokio::runtime::Handle::current().id()));
            let mail = tokio::time::timeout(REMINDED_WITHIN, mailbox.next()).await;
            assert!(matches!(mail, Ok(Mail::Reminder)), "{mail:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_is_over_is_not() {
        let (pending, _reminding) = reminding().await;
        let address = Address::Own(1);
        let (mailbox, _) = pending.add(&address);
        pending.remove(&address, &mailbox);
        assert!(tokio::time::timeout(REMINDED_WITHIN * 3, mailbox.next()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_share_an_id_share_its_mail() {
        let (pending, _reminding) = reminding().await;
        for address in [Address::Own(1), Address::Other("rq.k.key".into())] {
            let calls = [(); 3].map(|()| pending.add(&address).0);
            for gone in 0..3 {
                pending.deliver_to_all(&Mail::Reconnected);
                for mailbox in &calls[gone..] {
                    while !matches!(mailbox.next().await, Mail::Reconnected) {}
                }
                pending.remove(&address, &calls[gone]);
            }
        }
        let calls = [(); 3].map(|()| pending.add(&Address::Own(2)).0);
        for mailbox in &calls {
            assert!(matches!(mailbox.next().await, Mail::Reminder));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_a_reminder_of_a_runtime_that_is_gone() {
        let (pending, reminding) = reminding().await;
        let (mailbox, _) = pending.add(&Address::Own(1));
        reminding.abort();
        let _aborted = reminding.await;
        assert!(matches!(mailbox.next().await, Mail::Reminder));
        let (_, reminded_on) = pending.add(&Address::Own(2));
        assert_eq!(reminded_on, None);
    }
}
