//! One request at a worker: decode → run → record → ack.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use tracing::Instrument;

use super::{
    held::{Held, Stop},
    keeper::{Keeper, Ticket},
    settle::{self, Next},
};
use crate::{
    codec::sanitise,
    context::Context,
    nested,
    protocol::attempt::{Ending, Event},
    service::{Produced, Retry},
};

/// The delay before a second attempt, where the error names none; doubles with every attempt.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// Sees a delivery through to its end, or to where the keeper has the next word.
pub(crate) async fn attend(held: Arc<Held>, keeper: Keeper, ticket: Ticket, prove: bool) {
    if prove {
        // The server may count this lease from the time of publishing: nothing starts before a heartbeat is confirmed.
        keeper.prove(&held);
        Box::pin(held.proven()).await;
    }
    // After it was registered: what is heard from here on, the keeper tells the attempt.
    if held.method.service.cancels.is_heard(held.origin().name) {
        held.step(Event::CancelHeard);
    }
    let action = held.step(Event::Begin);
    if settle::drive(&held, action, &keeper, held.broker()).await == Next::Start
        && let Some(ending) = run(&held, &keeper).await
    {
        let action = held.step(Event::Ended(ending));
        settle::drive(&held, action, &keeper, held.broker()).await;
    }
    if held.is_over() {
        keeper.forget(ticket);
    }
}

/// Runs the handler; nothing comes back if the request is not ours any more.
async fn run(held: &Arc<Held>, keeper: &Keeper) -> Option<Ending> {
    if held.stopping() != Stop::No {
        // The worker stops since the start was decided: a handler that does not await would run to its end.
        return (held.stopping() == Stop::HandOver).then_some(Ending::HandedOver);
    }
    let method = &held.method;
    held.handler_started();
    let context = Context::new(Arc::clone(held), keeper.clone());
    let span = tracing::info_span!(
        "handle",
        service = method.options.service,
        method = method.options.name,
        id = held.origin().id,
        attempt = context.attempt()
    );
    // The decoding is inside: a panicking `Deserialize` is caught like a panicking handler.
    let handler = async {
        let produced = method.handler().run(context, held.envelope.content_type, held.body()).await;
        match held.streams.get() {
            Some(streams) => Box::pin(streams.settle(produced, held)).await,
            None => produced,
        }
    };
    let running = AssertUnwindSafe(nested::run(Arc::clone(held), handler)).catch_unwind().instrument(span);
    let (ending, produced) = tokio::select! {
        biased;
        done = running => match done {
            Err(_) if held.streams.get().is_some_and(|streams| streams.were_cut(held)) => {
                return Some(Ending::HandedOver);
            }
            Err(panic) => (Ending::Panicked, Some(Produced::Unencodable(panic_text(&*panic)))),
            Ok(produced) => (ending(held, &produced), Some(produced)),
        },
        // Most handlers are done before they have to wait, and need no timer.
        dropped = dropped(held) => match dropped {
            Some(Ending::TimedOut) => (Ending::TimedOut, None),
            other => return other,
        },
    };
    if let Some(streams) = held.streams.get() {
        streams.end();
    }
    *held.produced.lock().expect("nobody panics with the result in hand") = produced;
    Some(ending)
}

/// Resolves when the handler is to be dropped, with how it ends then; with nothing if the request is not ours any more.
async fn dropped(held: &Held) -> Option<Ending> {
    let told = held.until(|| held.is_let_go() || held.cancelled().is_some());
    if tokio::time::timeout(left(held), told).await.is_err() {
        return Some(Ending::TimedOut);
    }
    let (kill_after, left) = (held.method.options.kill_after, left(held));
    if !held.is_let_go() && Box::pin(tokio::time::timeout(kill_after.min(left), held.let_go())).await.is_err()
    {
        if left < kill_after {
            return Some(Ending::TimedOut);
        }
        tracing::warn!(subject = %held.subject, ?kill_after, "cancelled, and the handler goes on: it is dropped");
        return Some(Ending::Killed);
    }
    (held.stopping() == Stop::HandOver).then_some(Ending::HandedOver)
}

/// How much longer the handler may run.
fn left(held: &Held) -> Duration {
    let ran = held.started().map_or(Duration::ZERO, |at| held.now().since(at));
    held.method.options.max_run.saturating_sub(ran)
}

fn ending(held: &Held, produced: &Produced) -> Ending {
    match produced {
        Produced::Value(_) => Ending::Value,
        Produced::Error { retry, .. } => Ending::Error {
            retry: match retry {
                Retry::Never => None,
                Retry::After(delay) => Some(*delay),
                Retry::Default => Some(default_delay(held.look(|it| it.spent()))),
            },
        },
        Produced::Undecodable(_) => Ending::Undecodable,
        Produced::Unread(_) => Ending::Unread,
        Produced::TooLarge(_) => Ending::TooLarge,
        Produced::Cancelled => Ending::Killed,
        Produced::HandedOver => Ending::HandedOver,
        Produced::Unencodable(_) => Ending::Panicked,
    }
}

/// 1 s, doubling to 60 s, ± 20 %, so that requests that failed together do not come back together.
fn default_delay(spent: u32) -> Duration {
    let doubled = FIRST_RETRY.saturating_mul(1 << spent.saturating_sub(1).min(10));
    let percent = 80 + u32::from(crate::name::random_bits()[0]) * 40 / 255;
    doubled.min(LONGEST_RETRY) * percent / 100
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    sanitise(text.unwrap_or("a panic without a text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_delay_doubles_to_a_minute() {
        for (spent, seconds) in [(1, 1), (2, 2), (3, 4), (7, 60), (40, 60)] {
            let delay = default_delay(spent).as_secs_f64() / f64::from(seconds);
            assert!((0.79..=1.21).contains(&delay), "{spent}: {delay}");
        }
    }
}
