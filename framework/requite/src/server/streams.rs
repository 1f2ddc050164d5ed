//! The handler's ends of its call's streams.

use std::{
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::{
    held::{Held, Stop},
    keeper::Keeper,
    settle,
};
use crate::{
    broker::AnyBroker,
    error::SinkError,
    items::{inflow::Inflow, lane::Lane, outflow::Outflow},
    name::random_bits,
    protocol::{
        attempt::{Action, Attempt, Event},
        items::writer::{Broken, Writer},
    },
    service::{Produced, Retry},
    subject::Side,
    turns,
};

/// Between two looks for a claim that another task writes.
const CLAIM_AGAIN: Duration = Duration::from_millis(20);

/// What a handler has of streams.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    up: OnceLock<Arc<Inflow>>,
    down: OnceLock<Arc<Outflow>>,
    /// Why items did not get to the caller, where nobody but this could say so.
    undelivered: Mutex<Option<Undelivered>>,
    /// The handler has ended, and what it has sent is on its way.
    is_settling: AtomicBool,
}

/// How long what an ended handler has sent may take to be stored once its worker lets go: it would run again otherwise.
const STORED_WITHIN: Duration = Duration::from_secs(2);

/// Why what was sent and is not stored will not be read.
const STOPS: &str = "the worker stopped before all was read";

/// Why a returned stream was not read to its end.
#[derive(Debug)]
pub(crate) enum Undelivered {
    Refused(SinkError),
    Cancelled,
}

impl Streams {
    /// How many items are stored.
    pub(super) fn stored(&self) -> Option<u64> {
        self.down.get().map(|flow| flow.stored_by_now())
    }

    pub(crate) fn set_undelivered(&self, why: Undelivered) {
        *self.undelivered.lock().expect("nobody panics with an error in hand") = Some(why);
    }

    /// The handler has ended, and reads no more; the next attempt might, so its caller is not told.
    pub(super) fn end(&self) {
        if let Some(up) = self.up.get() {
            up.close();
        }
    }

    /// Whether the handler may have been told that its streams are closed because its worker lets go, before it ended: then
    /// what it made of that is not what it was called for.
    pub(super) fn were_cut(&self, held: &Held) -> bool {
        let up = || self.up.get().is_some_and(|flow| flow.has_told_closed());
        let down = || self.down.get().is_some_and(|flow| flow.is_stopped());
        held.stopping() == Stop::HandOver && (up() || down())
    }

    /// Whether only what the handler has sent is waited for.
    pub(super) fn is_settling(&self) -> bool {
        self.is_settling.load(Ordering::Acquire)
    }

    /// Sees off what the handler has sent. A value counts only if that is stored, or read where it is not stored; an error
    /// stands, and says itself whether there is another attempt.
    pub(super) async fn settle(&self, produced: Produced, held: &Held) -> Produced {
        if self.were_cut(held) {
            return Produced::HandedOver;
        }
        self.end();
        let is_value = matches!(produced, Produced::Value(_));
        let flushed = match self.down.get() {
            Some(flow) => match self.see_off(flow, held).await {
                Some(flushed) => flushed,
                None if !is_value => return produced,
                // The next attempt goes on behind what is stored, or begins anew.
                None if flow.is_stored() => return Produced::HandedOver,
                // What has run to its end is not begun again elsewhere because its reader is slow.
                None => return Produced::Unread(STOPS.to_owned()),
            },
            None => Ok(()),
        };
        if !is_value {
            return produced;
        }
        let undelivered = self.undelivered.lock().expect("nobody panics with an error in hand").take();
        let error = match (undelivered, flushed) {
            (Some(Undelivered::Cancelled), _) => return Produced::Cancelled,
            (Some(Undelivered::Refused(error)), _) => error,
            // Nobody wants it; or the request is in other hands, and nothing is settled here. That a later writer has the stream
            // proves neither: somebody may only say so.
            (None, Ok(()) | Err(SinkError::Left | SinkError::Stopped)) => return produced,
            (None, Err(error)) => error,
        };
        let text = error.to_string();
        match error {
            SinkError::Silent { .. } | SinkError::Left => Produced::Unread(text),
            SinkError::TooLarge { .. } => Produced::TooLarge(text),
            SinkError::Unencodable { .. } => Produced::Unencodable(text),
            _ => Produced::Error { body: bytes::Bytes::new(), text, retry: Retry::Default },
        }
    }

    /// What came of what the handler has sent; nothing if the worker stopped before that was known.
    async fn see_off(&self, flow: &Outflow, held: &Held) -> Option<Result<(), SinkError>> {
        self.is_settling.store(true, Ordering::Release);
        // It may be in other hands than the handler's.
        flow.seal();
        let stops = async {
            held.hands_over().await;
            if flow.is_stored() {
                #[cfg(test)]
                crate::simulation::mark(crate::simulation::Mark::SeenOff);
                tokio::time::sleep(STORED_WITHIN).await;
            }
        };
        let flushed = tokio::select! {
            biased;
            flushed = flow.flush() => Some(flushed),
            () = stops => None,
        };
        self.is_settling.store(false, Ordering::Release);
        if flushed.is_none() {
            // Nothing is to be stored behind what is settled now.
            flow.stop(Broken::Stopped);
        }
        // Its worker had stopped before it ended.
        flushed.filter(|it| *it != Err(SinkError::Stopped) || held.stopping() != Stop::HandOver)
    }
}

fn lane(held: &Held, side: Side) -> Lane {
    let (service, origin) = (&held.method.service, held.origin());
    let kept = held.method.options.retention(origin.id.starts_with("k."));
    let call = (origin.caller, origin.id);
    let content_type = held.envelope.content_type;
    let mut lane = Lane::new(held.broker(), &service.subjects, call, side, content_type, kept);
    lane.is_workers = true;
    if held.method.options.volatile {
        return lane.unstored(&service.subjects, call);
    }
    if side == Side::Down {
        let secret = service.item_secret.as_deref().expect("a service with streams was set up with one");
        lane.puts = service.subjects.frames_put(secret, origin.caller, origin.id).into();
    }
    lane
}

/// What the handler's caller sends.
pub(crate) fn items(held: &Arc<Held>) -> Arc<Inflow> {
    let flow = Arc::new(Inflow::new(lane(held, Side::Up), held.method.options.idle));
    let _ = held.streams.get_or_init(Box::default).up.set(Arc::clone(&flow));
    let (held, reading) = (Arc::clone(held), Arc::clone(&flow));
    turns::spawn(async move {
        let Ok(ears) = reading.listen().await else {
            return reading.close();
        };
        tokio::select! {
            () = Arc::clone(&reading).run(ears, false) => {}
            () = held.stopped() => reading.close(),
        }
    });
    flow
}

/// What the handler sends to its caller.
pub(crate) fn sink(held: &Arc<Held>, keeper: &Keeper) -> Arc<Outflow> {
    let streams = held.streams.get_or_init(Box::default);
    let flow = streams.down.get_or_init(|| {
        let (attempt, id) = (held.look(Attempt::number), random_bits());
        let volatile = held.method.options.volatile;
        let writer = if volatile { Writer::unstored(attempt, id) } else { Writer::new(attempt, id) };
        let flow = Arc::new(Outflow::new(lane(held, Side::Down), writer, held.method.options.idle));
        turns::spawn(write(Arc::clone(held), keeper.clone(), Arc::clone(&flow)));
        flow
    });
    Arc::clone(flow)
}

/// Writes for as long as the request is this attempt's. Not without a claim: it numbers the attempts that write.
async fn write(held: Arc<Held>, keeper: Keeper, flow: Arc<Outflow>) {
    // Most handlers that end without an item never ask for it.
    tokio::select! {
        () = flow.used() => {}
        () = held.until(|| held.is_over()) => {}
    }
    if claim(&held, &keeper, held.broker()).await {
        tokio::select! {
            () = Arc::clone(&flow).run() => {}
            () = held.let_go() => {}
        }
    }
    flow.stop(Broken::Stopped);
}

/// Whether there is a claim, made now if there was none.
async fn claim(held: &Held, keeper: &Keeper, via: &AnyBroker) -> bool {
    while !held.is_let_go() {
        if held.look(Attempt::fence).is_some() {
            return true;
        }
        let action = held.step(Event::Beat);
        if action == Action::None {
            tokio::time::sleep(CLAIM_AGAIN).await;
        } else {
            settle::drive(held, action, keeper, via).await;
        }
    }
    false
}
