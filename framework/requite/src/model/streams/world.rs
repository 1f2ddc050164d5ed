//! A state: what lies in the slots, where each writer stands, what is on its way, what was read; and every step from it.

use std::time::Duration;

use super::{
    Streams,
    eye::{Eye, Look},
    log::{LARGEST, Log, encode},
    promises::{self, Mark, Promise},
    setting::{Comes, Fault, Setting},
};
use crate::{
    protocol::{
        items::{
            slot::Slot,
            writer::{Action, Answer, Broken, Write, Writer},
        },
        time::Moment,
    },
    wire::frame::{End, WriterId},
};

/// It is always now.
const NOW: Moment = Moment(1);

/// Everything, at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) log: Log,
    /// Who has begun to write, in that order.
    pub(super) pens: Vec<Pen>,
    /// Frames of which their writers have heard nothing; whatever is here may also never arrive.
    pub(super) late: Vec<Write>,
    pub(super) eye: Eye,
    /// The attempt whose value is stored, and how many items it says there are.
    pub(super) outcome: Option<(u32, u64)>,
    /// How much may still go wrong.
    pub(super) faults: u8,
    /// What was broken by the last step: there is none after it.
    pub(super) broken: Option<Promise>,
}

/// A writer, with what does as it asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Pen {
    pub(super) comes: Comes,
    pub(super) writer: Writer,
    by: u8,
    /// How many items there are once it is done.
    items: u64,
    /// What it has asked for, each without the time that it waits before.
    asked: Vec<Action>,
    /// It has heard of its reader.
    heard: bool,
    /// A write of it was in doubt.
    pub(super) doubted: bool,
}

/// What can happen next. Numbers name a writer, and what it has asked for, by their positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The next writer begins.
    Begin,
    /// A writer has one more item.
    Offer(usize),
    /// A writer is told how much it may send.
    Credit(usize),
    /// What a writer has asked for is done.
    Do(usize, usize),
    /// It finds this slot, which is taken, or none.
    Find(usize, usize, Option<u64>),
    /// An attempt ends, and its value is stored.
    End(usize),
    Arrive(usize),
    Goes(Fault, usize, usize),
    /// Somebody takes a slot.
    Occupy(u64),
}

impl Pen {
    fn new(number: usize, (comes, items): (Comes, u64), up: bool) -> Self {
        let by = u8::try_from(number).expect("few") + 1;
        let writer = match comes {
            Comes::Joins => Writer::joining([by; 16]),
            _ => Writer::new(u32::from(by), [by; 16]),
        };
        let mut writer = if up { writer.up() } else { writer }.fitting(LARGEST);
        if matches!(comes, Comes::GoesOn | Comes::Joins) {
            writer.begin(true);
        }
        Self { comes, writer, by, items, asked: Vec::new(), heard: false, doubted: false }
    }

    /// Whether all before it are shut out. Who finds nobody before it shuts nobody out.
    pub(super) fn has_begun(&self) -> bool {
        self.writer.epoch() > 1 && self.writer.has_begun() && self.writer.found().is_some()
    }

    pub(super) fn id(&self) -> WriterId {
        [self.by; 16]
    }

    /// Its first frame was in doubt, and may be still.
    pub(super) fn begins(&self) -> bool {
        self.doubted && self.writer.found().is_none()
    }

    /// Takes one more item in, or the end; whether that changed anything.
    fn offer(&mut self, up: bool) -> bool {
        let next = self.writer.last() + 1;
        if next <= self.items {
            let before = self.writer.has_begun();
            let taken = self.writer.offer_bytes(&encode((self.by, next))) == Ok(true);
            return taken || !before;
        }
        let ends = up && self.writer.found().is_some() && !self.writer.has_ended();
        if ends {
            self.writer.end(End::Finished);
        }
        ends
    }

    /// Asks the writer until it has nothing more to ask for.
    fn ask(&mut self, setting: &Setting) {
        loop {
            let offered = !setting.slowly && self.offer(setting.up);
            match self.writer.next(NOW) {
                Action::Wait if offered => {}
                Action::Wait => break,
                action => self.put(action),
            }
        }
    }

    fn put(&mut self, action: Action) {
        let action = match action {
            Action::Wait => return,
            Action::Find(_) => Action::Find(Duration::ZERO),
            Action::Look { slot, .. } => Action::Look { slot, after: Duration::ZERO },
            other => other,
        };
        self.asked.push(action);
        self.asked.sort_by_key(|it| match it {
            Action::Look { slot, .. } | Action::Write(Write { slot, .. }) => *slot,
            _ => 0,
        });
    }

    /// Whether it has written all that there is.
    fn is_done(&self) -> bool {
        self.writer.broken().is_none() && self.writer.last() >= self.items && self.writer.is_flushed()
    }
}

impl World {
    pub(super) fn new(streams: &Streams) -> Self {
        let mut world = Self {
            log: Log::default(),
            pens: Vec::new(),
            late: Vec::new(),
            eye: Eye::new(),
            outcome: None,
            faults: streams.setting.budget,
            broken: None,
        };
        world.apply(streams, Step::Begin);
        world
    }

    /// Notes what was broken, the first thing if there is more.
    pub(super) fn breaks(&mut self, promise: Promise) {
        self.broken.get_or_insert(promise);
    }

    /// Every step that is possible.
    pub(super) fn steps(&self, streams: &Streams, steps: &mut Vec<Step>) {
        if self.broken.is_some() {
            return;
        }
        if self.pens.len() < streams.setting.writers.len() && self.outcome.is_none() {
            steps.push(Step::Begin);
        }
        for at in 0..self.pens.len() {
            self.steps_of(streams, at, steps);
        }
        steps.extend((0..self.late.len()).map(Step::Arrive));
        if self.faults > 0 {
            self.faults(streams, steps);
        }
    }

    fn steps_of(&self, streams: &Streams, at: usize, steps: &mut Vec<Step>) {
        let (setting, pen) = (&streams.setting, &self.pens[at]);
        for (which, action) in pen.asked.iter().enumerate() {
            if !matches!(action, Action::Find(_)) {
                steps.push(Step::Do(at, which));
            } else if setting.up {
                // A caller tries slots by their numbers, one after the other, while others write.
                let mut found: Vec<u64> = self.log.frames().collect();
                if self.log.there(1) == Slot::Empty {
                    found.clear();
                } else if self.log.there(1) == Slot::Foreign {
                    found.push(1);
                }
                steps.extend(found.iter().map(|slot| Step::Find(at, which, Some(*slot))));
                steps.extend(found.is_empty().then_some(Step::Find(at, which, None)));
            } else {
                steps.push(Step::Find(at, which, self.log.last()));
            }
        }
        if setting.slowly && pen.clone().offer(setting.up) {
            steps.push(Step::Offer(at));
        }
        let is_read = self.eye.by == pen.by && pen.has_begun() && !pen.heard;
        let is_past = self.eye.reader.epoch() > pen.writer.epoch() && pen.writer.broken().is_none();
        // Attempts that are past end with their leases.
        if is_read || (setting.up && is_past && pen.writer.found().is_some()) {
            steps.push(Step::Credit(at));
        }
        let is_last = at + 1 == self.pens.len();
        if !setting.up && is_last && self.outcome.is_none() && pen.is_done() {
            steps.push(Step::End(at));
        }
    }

    fn faults(&self, streams: &Streams, steps: &mut Vec<Step>) {
        let setting = &streams.setting;
        for (at, pen) in self.pens.iter().enumerate() {
            for (which, action) in pen.asked.iter().enumerate() {
                let faults: &[Fault] = match action {
                    Action::Write(_) => &[Fault::LateWrite, Fault::Refused],
                    Action::Find(_) if self.log.there(1) != Slot::Empty => {
                        &[Fault::Unanswered, Fault::Lagging]
                    }
                    Action::Look { slot, .. } if self.log.there(*slot) != Slot::Empty => {
                        &[Fault::Unanswered, Fault::Lagging]
                    }
                    _ => &[Fault::Unanswered],
                };
                let faults = faults.iter().filter(|it| setting.allows(**it));
                steps.extend(faults.map(|fault| Step::Goes(*fault, at, which)));
            }
        }
        if setting.allows(Fault::Occupied) {
            let last = self.log.frames().max().unwrap_or(0);
            let next = (last.max(1)..=last + 3).filter(|slot| self.log.there(*slot) == Slot::Empty);
            steps.extend(next.map(Step::Occupy));
        }
    }

    pub(super) fn apply(&mut self, streams: &Streams, step: Step) {
        let setting = &streams.setting;
        match step {
            Step::Begin => {
                let number = self.pens.len();
                self.pens.push(Pen::new(number, setting.writers[number], setting.up));
            }
            Step::Offer(at) => {
                self.pens[at].offer(setting.up);
            }
            Step::Credit(at) => {
                let credit = self.eye.credit(NOW);
                self.pens[at].writer.credit(credit, NOW);
                self.pens[at].heard = true;
            }
            Step::Do(at, which) => self.act(streams, at, which),
            Step::Find(at, which, slot) => {
                self.pens[at].asked.remove(which);
                let found = slot.map(|slot| (slot, self.log.there(slot)));
                self.answer(at, |writer| writer.found_last(Ok(found)));
            }
            Step::End(at) => self.end(at),
            Step::Arrive(which) => {
                let write = self.late.remove(which);
                self.put(streams, &write);
                streams.mark(Mark::LateWrite);
            }
            Step::Goes(fault, at, which) => {
                self.faults -= 1;
                self.go_wrong(fault, at, which);
            }
            Step::Occupy(slot) => {
                self.faults -= 1;
                self.log.occupy(slot);
            }
        }
        for pen in &mut self.pens {
            pen.ask(setting);
        }
        self.read(streams);
        // What cannot be stored any more when it arrives is the same as nothing.
        if streams.into_empty {
            let Self { log, late, .. } = self;
            late.retain(|write| log.there(write.slot) == Slot::Empty);
        }
    }

    fn answer(&mut self, at: usize, answer: impl FnOnce(&mut Writer) -> Action) {
        let next = answer(&mut self.pens[at].writer);
        self.pens[at].put(next);
    }

    /// What a writer has asked for comes about, and it is told.
    fn act(&mut self, streams: &Streams, at: usize, which: usize) {
        match self.pens[at].asked.remove(which) {
            Action::Write(write) => {
                let stored = self.put(streams, &write);
                let answer = if stored { Answer::Stored } else { Answer::InDoubt };
                self.pens[at].doubted |= !stored;
                self.answer(at, |writer| writer.answered(write.slot, answer, NOW));
            }
            Action::Look { slot, .. } => {
                let there = self.log.there(slot);
                let before = self.pens[at].clone();
                self.answer(at, |writer| writer.seen(slot, Ok(there)));
                promises::mark_look(streams, &before, &self.pens[at], there);
            }
            other => unreachable!("{other:?} is no question of a stored stream to a slot"),
        }
    }

    fn go_wrong(&mut self, fault: Fault, at: usize, which: usize) {
        match (self.pens[at].asked.remove(which), fault) {
            (Action::Write(write), Fault::LateWrite) => {
                let slot = write.slot;
                self.late.push(write);
                self.late.sort_by(|one, other| (one.slot, &one.payload).cmp(&(other.slot, &other.payload)));
                self.pens[at].doubted = true;
                self.answer(at, |writer| writer.answered(slot, Answer::InDoubt, NOW));
            }
            (Action::Write(write), _) => {
                let refused = Answer::Refused("full".to_owned());
                self.answer(at, |writer| writer.answered(write.slot, refused, NOW));
            }
            (Action::Find(_), Fault::Lagging) => self.answer(at, |writer| writer.found_last(Ok(None))),
            (Action::Find(_), _) => self.answer(at, |writer| writer.found_last(Err(()))),
            (Action::Look { slot, .. }, Fault::Lagging) => {
                self.answer(at, |writer| writer.seen(slot, Ok(Slot::Empty)));
            }
            (Action::Look { slot, .. }, _) => self.answer(at, |writer| writer.seen(slot, Err(()))),
            (other, _) => unreachable!("{other:?} is nothing that a writer of a stored stream asks for"),
        }
    }

    /// A frame arrives.
    fn put(&mut self, streams: &Streams, write: &Write) -> bool {
        let stored = self.log.put(write, streams.into_empty);
        if stored && self.log.leaves_out() {
            self.breaks(Promise::NoneLeftOut);
        }
        stored
    }

    /// An attempt ends with a value, and says how many items there are.
    fn end(&mut self, at: usize) {
        let writer = &self.pens[at].writer;
        self.outcome = Some((writer.epoch(), writer.stored_by_now()));
    }

    /// Takes in what has come.
    fn read(&mut self, streams: &Streams) {
        loop {
            let before = self.eye.by;
            let had = !self.eye.seen.is_empty();
            let Some(look) = self.eye.read_on(&self.log) else { break };
            match look {
                Look::TakenIn { by, restarted } => {
                    let at = usize::from(by) - 1;
                    let begins_anew = by != before && had && self.pens[at].comes == Comes::Anew;
                    if restarted != begins_anew {
                        self.breaks(Promise::RestartedWhereAnew);
                    }
                    let epoch = self.pens[at].writer.epoch();
                    if self.pens.iter().any(|it| it.has_begun() && it.writer.epoch() > epoch) {
                        self.breaks(Promise::ShutOut);
                    }
                    if restarted {
                        streams.mark(Mark::Restarted);
                    } else if by != before && had {
                        streams.mark(Mark::WentOn);
                    }
                }
                Look::Passed { by } if by == self.eye.by => streams.mark(Mark::CameAgain),
                Look::Passed { .. } => streams.mark(Mark::Overlapped),
                Look::Foreign => {}
                Look::Broken => return self.breaks(Promise::Follows),
            }
        }
        if self.log.end() > self.eye.reader.slot() {
            streams.mark(Mark::Overtaken);
        }
        if !self.eye.sees_one_stream(|by| &self.pens[usize::from(by) - 1]) {
            self.breaks(Promise::InOrder);
        }
    }

    /// Nothing goes wrong any more, and whoever has come last does what it has to do: whoever joins then, where that one
    /// was shut out.
    pub(super) fn ends(&self, streams: &Streams) -> bool {
        let mut world = self.clone();
        world.faults = 0;
        world.late.clear();
        for turn in 0..MANY {
            if world.broken.is_some() || world.is_at_its_end(streams) {
                return true;
            }
            let last = world.pens.len() - 1;
            if streams.setting.up && world.pens[last].writer.broken() == Some(&Broken::Replaced) {
                if last > self.pens.len() {
                    return false;
                }
                let items = world.pens[last].items;
                world.pens.push(Pen::new(last + 1, (Comes::Joins, items), true));
                world.pens[last + 1].ask(&streams.setting);
            }
            let mut steps = Vec::new();
            world.steps_of(streams, world.pens.len() - 1, &mut steps);
            if steps.is_empty() {
                return false;
            }
            world.apply(streams, steps[turn % steps.len()]);
        }
        false
    }

    fn is_at_its_end(&self, streams: &Streams) -> bool {
        if streams.setting.up { self.eye.reader.end() == Some(End::Finished) } else { self.outcome.is_some() }
    }
}

/// More steps than any writer needs to its end.
const MANY: usize = 200;
