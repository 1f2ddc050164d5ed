//! What of the streams is sent and read, at both ends: items that say who sent them, and which they are.

use std::time::Duration;

use super::{
    history::{Read, Running},
    marks::{Mark, mark},
    plan::{Call, ITEMS, Item, Job},
};
use crate::{
    Context, Items, ItemsError, Sink,
    context::{items, sink},
};

/// In the place of an attempt, in what callers send.
pub(super) const FIRST_PROCESS: u32 = 1;

/// A handler's part: takes what its caller sends, and sends its own, before and after the time that it takes.
pub(super) async fn play(cx: &Context, running: &Running, job: &Job, rest: impl Future<Output = ()>) {
    let method = cx.method();
    if job.items > 0 {
        take(items(cx), running).await;
    }
    // Of a stream that is not stored somebody has to read.
    if !method.down || (method.volatile && job.items == 0) {
        return rest.await;
    }
    let first = match job.resumes() {
        true => cx.items_stored().await.map_or(ITEMS, |stored| stored + 1),
        false => 1,
    };
    let mut sink = sink(cx);
    running.note(|run| run.sent = first - 1);
    give(cx, running, &mut sink, first..=ITEMS / 2).await;
    rest.await;
    give(cx, running, &mut sink, first.max(ITEMS / 2 + 1)..=ITEMS).await;
}

async fn take(mut items: Items<Item>, running: &Running) {
    loop {
        match items.next().await {
            Some(Ok(item)) => {
                if item.attempt > FIRST_PROCESS {
                    mark(Mark::StreamJoined);
                }
                running.note(|run| run.taken.push(item.number));
            }
            Some(Err(_)) => return,
            None => return running.note(|run| run.took_all = true),
        }
    }
}

async fn give(cx: &Context, running: &Running, sink: &mut Sink<Item>, numbers: impl Iterator<Item = u64>) {
    for number in numbers {
        if sink.send(Item { attempt: cx.attempt(), number }).await.is_err() {
            return;
        }
        running.note(|run| run.sent = number);
        if number.is_multiple_of(5) {
            tokio::time::sleep(Duration::from_millis(number)).await;
        }
    }
}

/// A caller's part, as its first or its second process: sends all behind what was sent before, or as much as it does before it
/// gives up; whether that was all.
pub(super) async fn send(sink: &mut Sink<Item>, call: &Call, process: u32, before: u64) -> bool {
    for number in before + 1..=call.job.items {
        if call.gives_up_behind == Some(number) {
            mark(Mark::GivenUp);
            return false;
        }
        if sink.send(Item { attempt: process, number }).await.is_err() {
            return false;
        }
        if number.is_multiple_of(7) {
            tokio::time::sleep(Duration::from_millis(number * 20)).await;
        }
    }
    true
}

/// The other part: reads to the end, or until it has enough, and tells what it has read whenever that changes.
pub(super) async fn read(mut items: Items<Item>, enough: Option<u64>, mut tell: impl FnMut(Read)) {
    let mut read = Read::default();
    loop {
        if enough == Some(read.items.len() as u64) {
            (read.is_over, read.has_left) = (true, true);
            return tell(read);
        }
        tell(read.clone());
        match items.next().await {
            Some(Ok(item)) => read.items.push(item),
            Some(Err(ItemsError::Restarted { .. })) => {
                read.items.clear();
                read.restarts += 1;
            }
            Some(Err(ItemsError::Silent { .. })) => {}
            Some(Err(error)) => read.error = Some(error),
            None => {
                read.is_over = true;
                return tell(read);
            }
        }
    }
}
