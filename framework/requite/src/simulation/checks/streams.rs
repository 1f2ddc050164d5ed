//! Streams: whoever reads sees the items of one attempt, or those of attempts that went on behind each other, without gap
//! and without repeat, and all of them if the call has a value.

use std::collections::BTreeSet;

use super::{Case, Mark, mark_many};
use crate::{simulation::history::Answer, wire::record::Reason};

impl Case<'_> {
    pub(super) fn streams_come_whole_and_in_order(&mut self) {
        for call in &self.seen.calls {
            let Some(read) = &call.read else {
                continue;
            };
            let numbers_follow = read.items.iter().zip(1..).all(|(item, number)| item.number == number);
            let resumes = call.tag.is_multiple_of(2);
            let is_unmixed = read.items.is_sorted_by(|earlier, later| {
                if resumes { earlier.attempt <= later.attempt } else { earlier.attempt == later.attempt }
            });
            if !numbers_follow || !is_unmixed {
                self.broken.push(format!("read what does not follow: {call:?}"));
            }
            let is_stuck = matches!(call.ended, Some((_, Answer::Aborted(Reason::TimedOut))));
            if is_stuck && self.plan.faults.is_empty() {
                self.broken.push(format!("waited for ever, and nothing had gone wrong: {call:?}"));
            }
            if let Some((_, Answer::Value(run))) = &call.ended {
                let sent = self.seen.runs[*run].sent;
                let has_all = read.items.len() as u64 == sent && read.error.is_none();
                if !has_all && !read.has_left {
                    self.broken.push(format!("did not read all {sent} items: {call:?}"));
                }
            }
        }
        let read = self.seen.calls.iter().filter_map(|call| call.read.as_ref());
        let (items, restarts) = read.fold((0, 0), |(items, restarts), read| {
            (items + read.items.len() as u64, restarts + u64::from(read.restarts))
        });
        mark_many(Mark::ItemRead, items);
        mark_many(Mark::StreamBegunAnew, restarts);
        let left = self.seen.calls.iter().filter(|call| call.read.as_ref().is_some_and(|it| it.has_left));
        mark_many(Mark::ReaderLeft, left.count() as u64);
    }

    /// Readers pass a slot once: what is written over it is lost to those who have been there.
    pub(super) fn a_slot_is_written_once(&mut self) {
        let mut slots = BTreeSet::new();
        for frame in &self.played.frames {
            if !slots.insert(&frame.subject) {
                self.broken.push(format!("written again: {} at {}", frame.subject, frame.at));
            }
        }
    }

    pub(super) fn handlers_take_what_was_sent(&mut self) {
        for run in &self.seen.runs {
            let follow = run.taken.iter().zip(1..).all(|(number, wanted)| *number == wanted);
            let job = self.plan.calls.iter().find(|call| call.job.tag == run.tag).map(|call| &call.job);
            let all = job.map_or(0, |job| job.items);
            if !follow || run.taken.len() as u64 > all || (run.took_all && run.taken.len() as u64 != all) {
                self.broken.push(format!("took what was not sent, of {all}: {run:?}"));
            }
        }
        let resumed = self.seen.runs.iter().filter(|run| run.attempt > 1 && run.took_all).count();
        mark_many(Mark::TakenAgain, resumed as u64);
    }
}
