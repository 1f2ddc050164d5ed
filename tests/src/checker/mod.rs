//! The promises, held against what was seen and what is stored. Every rule is a function of both that says what is
//! broken; none knows how it came about.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    entry::{
        Answer, Checkpoint, Entry, Event, Fault, Flow, Invoke, Life, Moment, Report, Run, Saw, Step, Told,
    },
    store::Store,
};

mod calls;
mod cancels;
mod checkpoints;
mod counts;
mod outcomes;
mod progress;
mod runs;
mod streams;
#[cfg(test)]
mod tests;

pub use counts::{Counts, counts};

/// A promise: its name, and what says how it was broken.
type Rule = (&'static str, fn(&Case<'_>) -> Vec<String>);

/// The promises.
pub const RULES: [Rule; 14] = [
    ("what is accepted ends in an outcome", outcomes::accepted_ends_in_an_outcome),
    ("a request has one outcome", outcomes::a_request_has_one_outcome),
    ("a second run has a reason", runs::a_second_run_has_a_reason),
    ("nothing starts after the outcome", runs::nothing_starts_after_the_outcome),
    ("what was refused never ran", outcomes::what_was_refused_never_ran),
    ("an older token is never let in", runs::an_older_token_is_never_let_in),
    ("calls end in time", calls::calls_end_in_time),
    ("everything drains", calls::everything_drains),
    ("dead letters are for poison", outcomes::dead_letters_are_for_poison),
    ("a handler gets what was sent", runs::a_handler_gets_what_was_sent),
    (
        "streams come whole and in order, and two attempts are never mixed",
        streams::streams_come_whole_and_in_order,
    ),
    ("what is cancelled does not begin", cancels::what_is_cancelled_does_not_begin),
    ("checkpoints stand and are found", checkpoints::checkpoints_stand_and_are_found),
    ("progress goes forward", progress::progress_goes_forward),
];

/// Holds every promise against what happened: what is broken, with the name of the promise before it.
pub fn check(case: &Case<'_>) -> Vec<String> {
    let broken = |(name, rule): Rule| rule(case).into_iter().map(move |what| format!("{name}: {what}"));
    RULES.into_iter().flat_map(broken).collect()
}

/// What happened, by request.
pub struct Case<'a> {
    /// What the servers have to show.
    pub store: &'a Store,
    /// The lease of every method that was called.
    pub lease: Duration,
    calls: BTreeMap<&'a str, Call<'a>>,
    /// By `<caller>.<id>`, in the order of their starts.
    runs: BTreeMap<String, Vec<Ran<'a>>>,
    lives: BTreeMap<&'a str, Vec<(Moment, Life)>>,
    faults: Vec<Trouble<'a>>,
    callers_killed: BTreeMap<u32, Moment>,
    flows: Vec<&'a Flow>,
    checkpoints: Vec<(Moment, &'a Checkpoint)>,
    reports: Vec<&'a Report>,
    /// What callers were told, by call.
    watched: BTreeMap<&'a str, Vec<Saw>>,
    cancels: Vec<Cancel>,
    drained: Option<Moment>,
    entries: &'a [Entry],
}

/// A call as its caller saw it.
struct Call<'a> {
    at: Moment,
    pid: u32,
    invoke: &'a Invoke,
    accepted: Option<&'a str>,
    result: Option<(Moment, Option<&'a str>, &'a Answer)>,
    given_up: Option<Moment>,
}

impl Call<'_> {
    /// `<caller>.<id>`, where the id is known.
    fn id(&self) -> Option<String> {
        let told = self.result.and_then(|(_, id, _)| id);
        let id = self.accepted.or(told).or(self.invoke.id.as_deref())?;
        Some(format!("{}.{id}", self.invoke.caller))
    }

    fn answer(&self) -> Option<&Answer> {
        self.result.map(|(.., answer)| answer)
    }
}

/// A run from its start to its end.
struct Ran<'a> {
    began: Moment,
    over: Option<(Moment, Step)>,
    run: &'a Run,
}

/// Somebody wanted a call cancelled, or was told what came of it.
struct Cancel {
    at: Moment,
    /// `<caller>.<id>`.
    id: String,
    told: Option<Told>,
}

/// Something that was broken for a while.
struct Trouble<'a> {
    fault: &'a Fault,
    from: Moment,
    /// Nothing if it was never mended.
    to: Option<Moment>,
}

impl<'a> Case<'a> {
    /// Sorts what happened.
    pub fn new(entries: &'a [Entry], store: &'a Store, lease: Duration) -> Self {
        let mut case = Self {
            store,
            lease,
            calls: BTreeMap::new(),
            runs: BTreeMap::new(),
            lives: BTreeMap::new(),
            faults: Vec::new(),
            callers_killed: BTreeMap::new(),
            flows: Vec::new(),
            checkpoints: Vec::new(),
            reports: Vec::new(),
            watched: BTreeMap::new(),
            cancels: Vec::new(),
            drained: None,
            entries,
        };
        for entry in entries {
            case.take(entry);
        }
        case
    }

    fn take(&mut self, entry: &'a Entry) {
        let at = entry.at;
        match &entry.event {
            Event::Invoke(invoke) => {
                let call = Call { at, pid: entry.pid, invoke, accepted: None, result: None, given_up: None };
                self.calls.insert(&invoke.call, call);
            }
            Event::Accepted { call, id } => self.call(call).accepted = Some(id),
            Event::Result { call, id, answer } => {
                self.call(call).result = Some((at, id.as_deref(), answer));
            }
            Event::GivenUp { call } => self.call(call).given_up = Some(at),
            Event::Run(run) => self.take_run(at, run),
            Event::Effect(_) | Event::Midway { .. } => {}
            Event::Flow(flow) => self.flows.push(flow),
            Event::Checkpoint(checkpoint) => self.checkpoints.push((at, checkpoint)),
            Event::Reported(report) => self.reports.push(report),
            Event::Watched { call, saw } => self.watched.entry(call).or_default().push(*saw),
            Event::Cancel { caller, id, told } => {
                self.cancels.push(Cancel { at, id: format!("{caller}.{id}"), told: *told });
            }
            Event::Worker { worker, life } => self.lives.entry(worker).or_default().push((at, *life)),
            Event::CallerKilled { pid } => drop(self.callers_killed.insert(*pid, at)),
            Event::FaultBegins(fault) => self.faults.push(Trouble { fault, from: at, to: None }),
            Event::FaultEnds { name } => {
                let mut open = self.faults.iter_mut().filter(|it| it.to.is_none());
                let trouble = open.find(|it| it.fault.name == *name).expect("what ends has begun");
                trouble.to = Some(at);
            }
            Event::Drained => self.drained = Some(at),
        }
    }

    fn call(&mut self, name: &str) -> &mut Call<'a> {
        self.calls.get_mut(name).expect("a call is written down before it is made")
    }

    /// What is known to be the outcome of a request: as it is stored, or as a caller was told.
    fn outcome(&self, id: &str) -> Option<&str> {
        let stored = self.store.outcome(id).and_then(|it| it.outcome.as_deref());
        let told = || {
            let calls = self.calls.values().filter(|call| call.id().as_deref() == Some(id));
            calls.filter_map(Call::answer).find_map(|answer| answer.outcome.as_deref())
        };
        stored.or_else(told)
    }

    fn take_run(&mut self, at: Moment, run: &'a Run) {
        let runs = self.runs.entry(format!("{}.{}", run.caller, run.id)).or_default();
        if run.step == Step::Start {
            runs.push(Ran { began: at, over: None, run });
            return;
        }
        let same = |it: &&mut Ran<'_>| {
            it.over.is_none() && (&it.run.worker, it.run.attempt) == (&run.worker, run.attempt)
        };
        let began = runs.iter_mut().find(same).expect("what ends has begun");
        began.over = Some((at, run.step));
    }

    /// The last moment at which something was broken or mended.
    fn last_fault(&self) -> Option<Moment> {
        let mended = self.faults.iter().map(|it| it.to.unwrap_or(it.from));
        let struck = self.lives.values().flatten().filter(|(_, life)| *life != Life::Started);
        mended.chain(struck.map(|(at, _)| *at)).chain(self.callers_killed.values().copied()).max()
    }
}
