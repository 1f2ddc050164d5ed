//! The promises, held against what was seen. Each check names what it found; none stops the others.

use std::{collections::BTreeMap, fmt, time::Duration};

use super::{
    evidence::{Evidence, id_of},
    history::{Answer, Over, Reached, Run, Seen},
    leases::Leases,
    marks::{Mark, mark_many},
    plan::{End, Plan},
    stage::Played,
};
use crate::{
    broker::simulated::{self, Passage},
    service::Method,
    subject::AckSubject,
    wire::record::{Kind, Reason},
};

mod cancels;
mod progress;
mod silence;
mod streams;

/// How long after its deadline a call may end (P7).
const AFTER_DEADLINE: Duration = Duration::from_secs(1);
/// How long a handler with a checkpoint may run on in a worker that stops: until the next look at what has just arrived.
const AT_ONCE: Duration = Duration::from_millis(100);

/// Everything that a check looks at.
struct Case<'a> {
    plan: &'a Plan,
    played: &'a Played,
    seen: &'a Seen,
    evidence: Evidence,
    /// The runs of each request, in the order of their starts.
    runs: BTreeMap<&'a str, Vec<&'a Run>>,
    broken: Vec<String>,
}

/// A promise that was broken.
#[derive(Clone, Debug)]
pub(super) struct Broken {
    pub(super) name: &'static str,
    pub(super) text: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.text)
    }
}

/// A promise, and what holds it against a run.
type Promise<'a> = (&'static str, fn(&mut Case<'a>));

/// Holds every promise against a run: what was broken.
pub(super) fn check(plan: &Plan, played: &Played) -> Vec<Broken> {
    let mut runs: BTreeMap<&str, Vec<&Run>> = BTreeMap::new();
    for run in &played.seen.runs {
        runs.entry(&run.id).or_default().push(run);
    }
    let evidence = Evidence::read(played);
    let mut case = Case { plan, played, seen: &played.seen, evidence, runs, broken: Vec::new() };
    let promises: [Promise<'_>; 22] = [
        ("calls end in time", Case::calls_end_in_time),
        ("accepted ends in an outcome", Case::accepted_requests_end_in_an_outcome),
        ("no id is queued twice", Case::an_id_is_queued_once),
        ("one outcome", Case::a_request_has_one_outcome),
        ("answers are what is stored", Case::every_answer_is_the_stored_outcome),
        ("outcomes are what their runs made", Case::an_outcome_is_what_its_run_made),
        ("nothing starts after the outcome", Case::nothing_starts_after_the_outcome),
        ("one run at a time, and none without a reason", Case::one_run_at_a_time_and_none_without_a_reason),
        ("handlers do not exceed the slots", Case::handlers_never_exceed_the_slots),
        ("what was refused never ran", Case::what_was_refused_never_ran),
        ("silence is not slowness", Case::silence_is_not_slowness),
        ("what is cancelled does not begin", Case::what_is_cancelled_does_not_begin),
        ("attempts are counted", Case::attempts_are_counted),
        ("attempts and fences grow", Case::attempts_and_fences_grow),
        ("checkpoints stand and are found", Case::checkpoints_stand_and_are_found),
        ("progress goes forward", Case::progress_goes_forward),
        ("streams come whole and in order", Case::streams_come_whole_and_in_order),
        ("handlers take what was sent", Case::handlers_take_what_was_sent),
        ("a slot is written once", Case::a_slot_is_written_once),
        ("a drain hands over at checkpoints", Case::a_drain_hands_over_at_checkpoints),
        ("dead letters come before outcomes", Case::dead_letters_come_before_their_outcomes),
        ("nothing is settled late", Case::nothing_is_settled_while_the_connection_is_down),
    ];
    let mut broken = Vec::new();
    for (name, holds) in promises {
        holds(&mut case);
        broken.extend(case.broken.drain(..).map(|text| Broken { name, text }));
    }
    case.mark();
    broken
}

impl Case<'_> {
    fn method(&self, name: &str) -> Method {
        *self.plan.methods.iter().find(|it| it.name == name).expect("a method of the plan")
    }

    fn calls_end_in_time(&mut self) {
        if self.played.calls_open > 0 {
            let open: Vec<_> = self
                .seen
                .calls
                .iter()
                .filter(|call| !call.dropped)
                .filter(|it| it.ended.is_none() || it.read.as_ref().is_some_and(|read| !read.is_over))
                .collect();
            self.broken.push(format!("{} callers never came to their end: {open:?}", self.played.calls_open));
        }
        for call in self.seen.calls.iter().filter(|call| !call.dropped) {
            let last = call.began + call.deadline + AFTER_DEADLINE;
            if call.ended.as_ref().is_some_and(|(at, _)| *at > last) {
                self.broken.push(format!("ended after its deadline: {call:?}"));
            }
        }
    }

    fn accepted_requests_end_in_an_outcome(&mut self) {
        for left in &self.played.left {
            self.broken.push(format!("never acked: {}", left.subject));
        }
        for (id, copies) in &self.evidence.requests {
            if self.evidence.outcome(id).is_none() {
                self.broken.push(format!("stored at {copies:?}, but without an outcome: {id}"));
            }
        }
        for call in self.seen.calls.iter().filter(|call| call.accepted) {
            let stored = match &call.id {
                Some(id) => self.evidence.requests.contains_key(id),
                None => self.evidence.id_of_job(call.tag).is_some(),
            };
            if !stored {
                self.broken.push(format!("accepted, but never stored: {call:?}"));
            }
        }
    }

    /// A request that was stored is in its stream until its outcome is stored: a second copy may not come sooner.
    fn an_id_is_queued_once(&mut self) {
        for (id, copies) in &self.evidence.requests {
            let outcome = self.evidence.outcome(id).map(|(at, _)| at);
            for (at, _) in copies.iter().skip(1).filter(|(at, _)| outcome.is_none_or(|outcome| *at < outcome))
            {
                self.broken.push(format!("{id} was stored again at {at:?}, its outcome at {outcome:?}"));
            }
        }
    }

    fn a_request_has_one_outcome(&mut self) {
        for (id, records) in &self.evidence.records {
            let first = records.iter().position(|it| it.kind == Kind::Outcome);
            if let Some(more) = first.map(|first| &records[first + 1..]).filter(|more| !more.is_empty()) {
                self.broken.push(format!("{id}: written over its outcome: {more:?}"));
            }
        }
    }

    fn every_answer_is_the_stored_outcome(&mut self) {
        for call in &self.seen.calls {
            let Some((_, answer)) = call.ended.as_ref().filter(|(_, answer)| answer.is_outcome()) else {
                continue;
            };
            let id = call.id.as_deref().or_else(|| self.evidence.id_of_job(call.tag));
            let stored = id.and_then(|id| self.evidence.outcome(id)).map(|(_, stored)| stored);
            if stored != Some(answer) {
                self.broken.push(format!("told otherwise than stored {stored:?}: {call:?}"));
            }
        }
    }

    fn an_outcome_is_what_its_run_made(&mut self) {
        for id in self.evidence.records.keys() {
            let (run, ends) = match self.evidence.outcome(id) {
                Some((_, Answer::Value(run))) => (*run, &[End::Value][..]),
                Some((_, Answer::Failed(run))) => (*run, &[End::Final, End::Retry][..]),
                _ => continue,
            };
            let run = &self.seen.runs[run];
            let made = matches!(run.over, Some((_, Over::Ended(end))) if ends.contains(&end));
            if run.id != *id || !made {
                self.broken.push(format!("the outcome of {id} is not that of {run:?}"));
            }
        }
    }

    fn nothing_starts_after_the_outcome(&mut self) {
        for (id, runs) in &self.runs {
            let stored = self.evidence.outcome(id).map(|(at, _)| at);
            let late = |run: &Run| stored.is_some_and(|at| run.began > at);
            for run in runs.iter().filter(|run| !self.seen.is_stepped(run.began) && late(run)) {
                self.broken.push(format!("its outcome was stored at {stored:?}: {run:?}"));
            }
        }
    }

    fn one_run_at_a_time_and_none_without_a_reason(&mut self) {
        let leases = Leases::new(self.seen, &self.played.log, self.plan.replicas > 1);
        for (id, runs) in &self.runs {
            for pair in runs.windows(2) {
                let method = self.method(pair[0].method);
                if let Err(why) = leases.may_follow(pair[0], pair[1], &method) {
                    self.broken.push(format!("{id}: {why}: {:?} then {:?}", pair[0], pair[1]));
                }
            }
        }
        for run in &self.seen.runs {
            if let Err(why) = leases.lets_go(run, &self.method(run.method)) {
                self.broken.push(format!("{why}: {run:?}"));
            }
        }
    }

    /// A worker never runs more handlers of a method than it has slots.
    fn handlers_never_exceed_the_slots(&mut self) {
        let mut changes: BTreeMap<(&str, &str), Vec<(Duration, isize)>> = BTreeMap::new();
        for run in &self.seen.runs {
            let (over, _) = run.over.expect("every run is over when the simulation is");
            changes.entry((&run.worker, run.method)).or_default().extend([(run.began, 1), (over, -1)]);
        }
        for ((worker, method), mut changes) in changes {
            // What ends in a moment makes room for what begins in it.
            changes.sort_unstable();
            let slots = isize::try_from(self.method(method).concurrency).expect("few");
            let running = changes.iter().scan(0, |running, (_, change)| {
                *running += change;
                Some(*running)
            });
            if let Some(most) = running.max().filter(|most| *most > slots) {
                self.broken.push(format!("{most} handlers of {method} at a time: {worker}"));
            }
        }
    }

    /// `Rejected` and `Unavailable` mean: certainly never ran.
    fn what_was_refused_never_ran(&mut self) {
        for call in &self.seen.calls {
            let Some((_, answer)) = &call.ended else { continue };
            let alone = self.seen.calls.iter().filter(|it| it.tag == call.tag).count() == 1;
            let refused = match answer {
                Answer::Rejected(_) | Answer::IdReused => true,
                // Another call of the same key may have been luckier.
                Answer::Unavailable(_) => alone,
                _ => false,
            };
            if let Some(run) = self.seen.runs.iter().find(|run| refused && run.tag == call.tag) {
                self.broken.push(format!("refused, but ran: {call:?} {run:?}"));
            }
        }
    }

    fn attempts_are_counted(&mut self) {
        for (id, runs) in &self.runs {
            let method = self.method(runs[0].method);
            let most = method.attempts as usize;
            let stepped = self.seen.is_stepped(runs[runs.len() - 1].began);
            let taken = runs.windows(2).filter(|pair| !self.is_written_down(id, pair[0], pair[1])).count();
            if method.once && runs.len() > 1 {
                self.broken.push(format!("once, but {} runs: {id}", runs.len()));
            } else if !stepped && runs.len() > most + taken {
                self.broken.push(format!(
                    "{} runs of {most}, {taken} of them not written down: {id}: {runs:?} {:?}",
                    runs.len(),
                    self.evidence.records.get(*id)
                ));
            }
        }
    }

    /// Whether a run was written down as used up. It is not where its worker died before its first heartbeat, or between
    /// the end and the write, or where it was taken from its handler in good order.
    fn is_written_down(&self, id: &str, run: &Run, next: &Run) -> bool {
        let Some((over, _)) = run.over else { return true };
        let records = self.evidence.records.get(id).into_iter().flatten();
        let counted = records.filter(|it| it.kind != Kind::Claim && !it.handed_over);
        counted.into_iter().any(|it| (over..=next.began).contains(&it.at))
    }

    /// A checkpoint is stored when the handler is told so, only later ones of whoever holds the request replace it, and
    /// the next run begins with it.
    fn checkpoints_stand_and_are_found(&mut self) {
        for (id, runs) in &self.runs {
            let stored = self.evidence.checkpoints.get(*id).map_or(&[][..], Vec::as_slice);
            let order = |it: &(Duration, u32, Reached)| (it.1, it.2.steps);
            if !stored.is_sorted_by_key(order) {
                self.broken.push(format!("a checkpoint was replaced by an earlier one: {id}: {stored:?}"));
            }
            // A copy of the request that was stored later begins anew; a stepped clock may let checkpoints expire.
            let copies = self.evidence.requests.get(*id).map_or(0, Vec::len);
            let begins_anew = copies > 1 || self.seen.is_stepped(runs[runs.len() - 1].began);
            for run in runs {
                let told = |reached: &Reached| stored.iter().any(|(_, _, it)| it == reached);
                if !run.stored.iter().all(told) {
                    self.broken.push(format!("told that a checkpoint is stored, and it is not: {run:?}"));
                }
                let last = stored.iter().rev().find(|(at, ..)| *at < run.began).map(|(_, _, it)| *it);
                if run.found != last && !(begins_anew && run.found.is_none()) {
                    self.broken.push(format!("the last checkpoint is {last:?}: {run:?}"));
                }
            }
        }
    }

    /// A worker that stops keeps no handler that can go on elsewhere.
    fn a_drain_hands_over_at_checkpoints(&mut self) {
        let seen = self.seen;
        let runs_on = |run: &&Run| {
            let Some(by) = seen.drained.get(&run.worker).map(|at| *at + AT_ONCE) else {
                return false;
            };
            let held = seen.troubles.iter().any(|it| {
                let of_it = it.worker.as_ref().is_none_or(|worker| *worker == run.worker);
                of_it && it.holds_handlers() && it.from <= by && it.to + AT_ONCE >= by
            });
            run.has_checkpoint() && !held && run.over.is_none_or(|(at, _)| at > by)
        };
        for run in seen.runs.iter().filter(runs_on) {
            if self.method(run.method).once {
                continue;
            }
            self.broken.push(format!("runs on behind its checkpoint: {run:?}"));
        }
    }

    fn attempts_and_fences_grow(&mut self) {
        // A server that forgot deliveries counts them from 1 again; one whose clock was stepped may have given a request
        // out twice, and the first starts last.
        let forgot = self.seen.stops.iter().any(|stop| stop.lost);
        for (id, runs) in &self.runs {
            let method = self.method(runs[0].method);
            let grows = runs.windows(2).all(|pair| pair[0].attempt < pair[1].attempt);
            let fences: Vec<u64> = runs.iter().filter_map(|run| run.fence).collect();
            let fenced = !(method.once || method.fenced) || fences.len() == runs.len();
            let counted_anew = forgot || self.seen.is_stepped(runs[runs.len() - 1].began);
            if !(grows || counted_anew) || !fenced || !fences.is_sorted_by(|before, after| before < after) {
                self.broken.push(format!("attempts or fences do not grow: {id}: {runs:?}"));
            }
        }
    }

    fn dead_letters_come_before_their_outcomes(&mut self) {
        for id in self.evidence.records.keys() {
            let Some((at, answer)) = self.evidence.outcome(id) else { continue };
            let ends = |end| match answer {
                Answer::Failed(run) => {
                    self.seen.runs[*run].over.is_some_and(|(_, it)| it == Over::Ended(end))
                }
                _ => false,
            };
            let once = self.runs.get(id.as_str()).is_some_and(|runs| self.method(runs[0].method).once);
            let poison = matches!(answer, Answer::Aborted(Reason::Exhausted | Reason::Panicked))
                || (ends(End::Retry) && !once);
            let buried = self.evidence.dead_letters.get(id).is_some_and(|letters| letters[0] < at);
            if poison && !buried {
                self.broken.push(format!("no dead letter before the outcome {answer:?} of {id}"));
            }
        }
    }

    /// What is published while the connection is down is delivered later, under somebody else's lease.
    fn nothing_is_settled_while_the_connection_is_down(&mut self) {
        let queued = |it: &&Passage| it.seen == simulated::Seen::Queued && it.subject.starts_with("$JS.ACK.");
        for passage in self.played.log.iter().filter(queued) {
            self.broken.push(format!("would arrive late: {passage:?}"));
        }
    }

    /// Notes what this run went through.
    fn mark(&self) {
        let count = |mark, count: usize| mark_many(mark, count as u64);
        let (seen, evidence) = (self.seen, &self.evidence);
        mark_many(Mark::Redelivery, self.played.redeliveries);
        mark_many(Mark::Forgotten, self.played.forgotten);
        count(Mark::StaleAck, stale_acks(&self.played.log));
        let published = |it: &&Passage| it.seen == simulated::Seen::Published;
        let requests: Vec<&str> = self.played.log.iter().filter(published).map(|it| &*it.subject).collect();
        let mut requests: Vec<&str> = requests.into_iter().filter(|it| it.starts_with("rq.req.")).collect();
        let all = requests.len();
        requests.sort_unstable();
        requests.dedup();
        count(Mark::DuplicatePublish, all - requests.len());
        let ended = |what: fn(&Answer) -> bool| {
            seen.calls.iter().filter(|call| call.ended.as_ref().is_some_and(|(_, it)| what(it))).count()
        };
        for call in &seen.calls {
            if let Some((_, Answer::Unknown(_))) = &call.ended {
                let id = call.id.as_deref().or_else(|| evidence.id_of_job(call.tag));
                let stored = id.is_some_and(|id| evidence.requests.contains_key(id));
                count(if stored { Mark::UnknownWasStored } else { Mark::UnknownWasNot }, 1);
            }
        }
        count(Mark::Unavailable, ended(|it| matches!(it, Answer::Unavailable(_))));
        count(Mark::IdReused, ended(|it| *it == Answer::IdReused));
        let reattached = seen.calls.iter().filter(|call| {
            let stored = call.id.as_deref().and_then(|id| evidence.outcome(id));
            let got = call.ended.as_ref().map(|(_, answer)| answer);
            stored.is_some_and(|(at, answer)| at < call.began && got == Some(answer))
        });
        count(Mark::Reattach, reattached.count());
        let over =
            |what: Over| seen.runs.iter().filter(move |run| run.over.is_some_and(|(_, it)| it == what));
        let lost =
            over(Over::Dropped).filter(|run| !run.cancelled && !seen.drained.contains_key(&run.worker));
        count(Mark::LostLease, lost.count());
        let left = over(Over::Dropped).filter(|run| {
            let drained = seen.drained.get(&run.worker);
            run.has_checkpoint()
                && drained.is_some_and(|at| run.over.is_some_and(|(over, _)| over <= *at + AT_ONCE))
        });
        count(Mark::HandOverAtCheckpoint, left.count());
        count(Mark::Resumed, seen.runs.iter().filter(|run| run.found.is_some()).count());
        count(Mark::Death, over(Over::Died).count());
        count(Mark::DeadLetter, self.played.dead_letters.iter().map(id_of).count());
        for records in evidence.records.values() {
            let taken = records.windows(2).filter(|pair| {
                pair[0].kind == Kind::Claim
                    && pair[1].kind == Kind::Claim
                    && pair[0].attempt_id != pair[1].attempt_id
            });
            count(Mark::TakeOver, taken.count());
            count(Mark::HandOver, records.iter().filter(|it| it.handed_over).count());
        }
    }
}

/// Acks, heartbeats and NAKs for a delivery after another one for a newer delivery.
fn stale_acks(log: &[Passage]) -> usize {
    let mut newest: BTreeMap<(&str, u64), u64> = BTreeMap::new();
    let published = log.iter().filter(|it| it.seen == simulated::Seen::Published);
    let acks = published.filter_map(|it| AckSubject::parse(&it.subject));
    let stale = acks.filter(|ack| {
        let newest = newest.entry((ack.consumer, ack.stream_sequence)).or_default();
        *newest = ack.delivery.max(*newest);
        ack.delivery < *newest
    });
    stale.count()
}
