//! Asking to cancel is a request of its own, stored like any other, so that it counts also while nobody listens. Whoever is
//! given it sees to it that the request's record says so; only who holds the request ends it.
//!
//! A fresh request starts without a look at its record, and would miss what stands there. So every worker also hears what
//! asks to cancel as it is published. What is heard decides nothing: it only takes that short cut away, and has who pulls no
//! more look whether it is stored.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use super::{
    held::Held,
    keeper::Keeper,
    method::{MethodRuntime, ServiceRuntime, record_headers},
    settle,
};
use crate::{
    broker::{
        AnyBroker, Broker, Message, Outgoing, Subject, Subscription,
        api::{self, ApiFailure, StoreAnswer},
        headers_of,
    },
    protocol::time::Moment,
    subject::{CANCEL, Origin, joined},
    wire::{
        control::MineQuestion,
        jetstream::{RawMessage, nanos},
        payload_hash,
        record::{Kind, Record},
        request::{Checked, Envelope},
    },
};

/// A cancellation that has not come to its end is looked at again after this long.
const AGAIN: Duration = Duration::from_secs(1);
/// How long one look may take: a few round trips.
const LOOK: Duration = Duration::from_secs(10);
/// How often, and how soon again, what was heard is looked for where it is stored: a message that is not stored by then is
/// published again.
const LOOKS: u32 = 5;
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// What is heard is remembered for this many requests.
const MOST: usize = 1 << 16;

/// The requests of which somebody was heard to cancel them, by name.
#[derive(Debug, Default)]
pub(crate) struct Cancels {
    heard: Mutex<Heard>,
    /// Most workers have never heard any.
    any: AtomicBool,
}

#[derive(Debug, Default)]
struct Heard {
    all: HashSet<Box<str>>,
    /// Those that the keeper has not looked for yet.
    news: HashSet<Box<str>>,
}

impl Cancels {
    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().expect("nobody panics with the set in hand")
    }

    pub(crate) fn is_heard(&self, name: &str) -> bool {
        self.any.load(Ordering::Acquire) && self.heard().all.contains(name)
    }

    /// What was heard since the last time. One look through what is in hand serves all of it.
    pub(super) fn news(&self) -> HashSet<Box<str>> {
        std::mem::take(&mut self.heard().news)
    }

    /// Whether it is the first of the news, and whether there was room for it; if not, everything else is forgotten.
    fn hear(&self, name: &str) -> (bool, bool) {
        let mut heard = self.heard();
        let (is_first, has_room) = (heard.news.is_empty(), heard.all.len() < MOST);
        if !has_room {
            heard.all.clear();
        }
        heard.all.insert(name.into());
        heard.news.insert(name.into());
        self.any.store(true, Ordering::Release);
        (is_first, has_room)
    }
}

/// Hears what asks to cancel requests of a service until the worker has stopped.
pub(super) async fn hear(
    mut messages: impl Subscription,
    methods: Vec<Arc<MethodRuntime>>,
    keeper: Keeper,
    stopped: CancellationToken,
) {
    let Some(service) = methods.first().map(|method| Arc::clone(&method.service)) else {
        return;
    };
    loop {
        let message = tokio::select! {
            biased;
            message = messages.next() => message,
            () = stopped.cancelled() => return,
        };
        let Some(Message { subject, headers, .. }) = message else {
            return;
        };
        let origin = service.subjects.parse_request(&subject).filter(Origin::is_valid);
        let Some(origin) = origin.filter(|_| Envelope::check(&headers) == Checked::Cancel) else {
            continue;
        };
        let (is_first, has_room) = service.cancels.hear(origin.name);
        if !has_room {
            // What was forgotten is found by whoever looks: so does every worker with requests from before it bound.
            methods.iter().for_each(|method| method.bind(None));
        }
        if is_first {
            keeper.cancel_heard(&service);
        }
    }
}

/// Whether a message that asks to cancel this request is stored, and not yet written into its record. One that was stored
/// before the request is about no request, or about an earlier one of the same key. Both lie in one stream.
pub(super) async fn is_stored(held: &Held, via: &AnyBroker) -> Result<bool, ()> {
    let (service, origin) = (&held.method.service, held.origin());
    let subject = service.subjects.cancel(origin.caller, origin.id);
    let reading = api::read_next(via, &service.request_stream, &subject, held.sequence + 1);
    let read = tokio::time::timeout(settle::answer_within(held), reading).await;
    match read {
        Ok(Ok(found)) => Ok(found.is_some_and(|message| check(&message) == Some(Checked::Cancel))),
        failed => {
            tracing::warn!(subject, ?failed, "whether a request is cancelled could not be read");
            Err(())
        }
    }
}

/// Looks whether it is stored that a request which is in hand is cancelled, for a worker that pulls no more: it is given
/// nothing that asks to cancel, and may be the only one. What was heard may not be stored yet.
pub(super) async fn look_in_hand(held: Arc<Held>, keeper: Keeper, via: AnyBroker) {
    let mut looks = 0;
    while looks < LOOKS && !held.is_over() && held.cancelled().is_none() {
        match is_stored(&held, &via).await {
            Ok(true) => return keeper.cancel(&held),
            Ok(false) => looks += 1,
            Err(()) => {}
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// What the headers of a stored message say.
fn check(message: &RawMessage) -> Option<Checked> {
    headers_of(&message.header_block()?).map(|headers| Envelope::check(&headers))
}

/// One message that asks to cancel, in a worker's hands. It takes a slot until it is settled or handed back.
pub(super) struct Cancel {
    pub(super) method: Arc<MethodRuntime>,
    pub(super) subject: Subject,
    pub(super) ack: Subject,
    /// Its own in the stream of requests.
    pub(super) sequence: u64,
    pub(super) expires: Moment,
}

/// Frees the slot, whatever the task comes to.
struct Slot(Arc<MethodRuntime>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.slots.release();
    }
}

impl Cancel {
    /// Takes its slot now; what is returned does the rest.
    pub(super) fn attend(self, keeper: Keeper) -> impl Future<Output = ()> + Send {
        self.method.slots.take();
        let slot = Slot(Arc::clone(&self.method));
        async move {
            let service = &slot.0.service;
            let origin = service.subjects.parse_request(&self.subject).expect("checked on arrival");
            let looked = tokio::time::timeout(LOOK, look(service, origin, self.sequence)).await;
            match looked {
                Ok(Ok(true)) => {
                    let now = service.broker.now();
                    settle::send_ack(&self.ack, now, self.expires, &service.broker).await;
                }
                Ok(Ok(false)) => keeper.nak(&self.ack, AGAIN, self.expires),
                failed => {
                    tracing::warn!(subject = %self.subject, ?failed, "cannot cancel yet; trying again");
                    keeper.nak(&self.ack, AGAIN, self.expires);
                }
            }
        }
    }
}

/// Does what the record asks for; whether it says now that the request is cancelled, or nothing is left to cancel. `asked`
/// is where it is stored that somebody asked: what was stored behind that is not meant.
async fn look(service: &ServiceRuntime, origin: Origin<'_>, asked: u64) -> Result<bool, ApiFailure> {
    let subject = service.subjects.record(origin.caller, origin.id);
    let read = || api::read_leader(&service.broker, &service.record_stream, &subject);
    let Some(found) = read().await? else {
        return match request(service, origin, asked).await? {
            Some(request) => Ok(mark(service, origin, &request).await),
            // It may have come to its end between the two looks.
            None => Ok(read().await?.is_none()),
        };
    };
    let Some(record) = Record::decode(&found.payload) else {
        return Ok(false);
    };
    match record.kind {
        Kind::Outcome | Kind::CancelRequested => Ok(true),
        Kind::Claim | Kind::Released if record.request > asked => Ok(true),
        Kind::Claim | Kind::Released if record.cancel => Ok(true),
        Kind::Claim => {
            tell_owner(service, origin, &record).await;
            Ok(false)
        }
        Kind::Released => {
            Ok(write(service, origin, &Record { cancel: true, ..record }, found.sequence).await)
        }
        Kind::Unknown => Ok(false),
    }
}

/// The request itself, where it is stored before `asked`.
async fn request(
    service: &ServiceRuntime,
    origin: Origin<'_>,
    asked: u64,
) -> Result<Option<RawMessage>, ApiFailure> {
    let filter = service.subjects.request_of_any_method(origin.caller, origin.id);
    let mut next = 1;
    loop {
        let found = api::read_next(&service.broker, &service.request_stream, &filter, next).await?;
        let Some(message) = found.filter(|it| it.seq < asked) else {
            return Ok(None);
        };
        if let Some(Checked::Call(_)) = check(&message) {
            return Ok(Some(message));
        }
        next = message.seq + 1;
    }
}

/// Marks a request that no record is about.
async fn mark(service: &ServiceRuntime, origin: Origin<'_>, request: &RawMessage) -> bool {
    let called = service.subjects.parse_request(&request.subject);
    let Some((called, body)) = called.filter(|it| it.method != CANCEL).zip(request.payload()) else {
        return false;
    };
    let Some(Checked::Call(envelope)) = check(request) else {
        return false;
    };
    let mark = Record {
        request: request.seq,
        stored: stored_at(request),
        worker: service.worker.as_str(),
        hash: payload_hash(envelope.content_type.as_str(), &body),
        ..Record::of(Kind::CancelRequested, called.method)
    };
    write(service, origin, &mark, 0).await
}

/// By the server's clock, in nanoseconds.
fn stored_at(message: &RawMessage) -> u64 {
    let stamp = humantime::parse_rfc3339_weak(&message.time).ok();
    stamp.and_then(|it| it.duration_since(std::time::UNIX_EPOCH).ok()).map_or(0, nanos)
}

async fn write(service: &ServiceRuntime, origin: Origin<'_>, record: &Record<'_>, expected: u64) -> bool {
    let subject = joined([&service.record_put_prefix, origin.name]);
    let headers = record_headers(record.kind, expected, None);
    let message = Outgoing::new(subject, record.encode()).headers(headers);
    // Anything else is looked at again: the record tells what became of it.
    matches!(api::store(&service.broker, message, api::ANSWER_WITHIN).await, StoreAnswer::Stored(_))
}

async fn tell_owner(service: &ServiceRuntime, origin: Origin<'_>, claim: &Record<'_>) {
    let told = MineQuestion { id: origin.name, attempt_id: claim.attempt_id }.encode();
    let message = Outgoing::control(service.subjects.told_to_cancel(claim.worker), told);
    let _ = service.broker.publish(message).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_look_serves_all_that_was_heard_since_the_last_one() {
        let cancels = Cancels::default();
        assert!(!cancels.is_heard("shop.k.a"));
        assert_eq!((cancels.hear("shop.k.a"), cancels.hear("shop.k.b")), ((true, true), (false, true)));
        assert_eq!(cancels.news().len(), 2);
        assert_eq!(cancels.hear("shop.k.c"), (true, true));
        assert!(["shop.k.a", "shop.k.b", "shop.k.c"].iter().all(|name| cancels.is_heard(name)));
    }

    #[test]
    fn without_room_everything_before_is_forgotten() {
        let cancels = Cancels::default();
        for n in 0..MOST {
            assert!(cancels.hear(&format!("shop.k.{n}")).1);
        }
        assert!(!cancels.hear("shop.k.more").1);
        assert!(cancels.is_heard("shop.k.more") && !cancels.is_heard("shop.k.0"));
    }
}
