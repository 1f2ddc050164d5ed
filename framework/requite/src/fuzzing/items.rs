//! Streams of items: what frames and credit say, and both ends under whatever comes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{
    bytes::Choices,
    codec::{on_a_workers_stack, within},
};
use crate::{
    protocol::{
        items::{
            FLIGHT, WINDOW_BYTES, WINDOW_ITEMS,
            reader::{Reader, Taken},
            slot::{Head, Slot},
            writer::{Action, Answer, Broken, Write, Writer},
        },
        time::Moment,
    },
    wire::{
        credit::Credit,
        frame::{End, Frame, Packed, asking},
    },
};

/// Frames and credit are read where they lie, on a small stack, and written again as the same. A writer keeps to its slots,
/// its numbers and its credit, whatever it is told; a reader takes each slot once, and never takes back what it allowed.
pub fn items(data: &[u8]) {
    codes(data);
    let mut choices = Choices::new(data);
    if choices.flag() { writes(choices) } else { reads(choices) }
}

fn codes(data: &[u8]) {
    on_a_workers_stack(|| {
        within(data.len(), || Frame::decode(data).is_some());
        within(data.len(), || Credit::decode(data).is_some());
    });
    if let Some(credit) = Credit::decode(data) {
        assert_eq!(Credit::decode(&credit.encode()), Some(credit));
    }
    let Some(frame) = Frame::decode(data) else {
        return;
    };
    assert_eq!(Frame::decode_any(data).as_ref(), Some(&frame));
    let bytes = frame.encode();
    assert_eq!(Frame::decode(&bytes).as_ref(), Some(&frame));
    assert!(
        Frame::decode(&asking(&bytes.clone().into())).is_some_and(|it| it.ask && it.items == frame.items)
    );
    // A writer of ours knows what it says of itself.
    if frame.content_type.len() <= 19 && frame.items.len() <= 4_096 {
        let mut packed = Packed::with_capacity(0);
        frame.items.iter().for_each(|item| packed.push(item));
        assert_eq!(Frame::decode(&packed.seal(&frame)), Some(frame));
    }
}

fn some_end(choices: &mut Choices<'_>) -> End {
    if choices.flag() { End::Finished } else { End::Abandoned }
}

/// Numbers and names that are often right.
fn some_head(choices: &mut Choices<'_>, first: u64) -> Head {
    let epoch = 1 + u32::from(choices.byte() % 4);
    let writer = [choices.byte() % 8; 16];
    let first = match choices.byte() % 8 {
        0 => 1,
        1 => 1 + choices.number() % (1 << 62),
        _ => first.max(1),
    };
    let end = (choices.byte().is_multiple_of(8)).then(|| some_end(choices));
    let settled = if choices.flag() { first - 1 } else { choices.number() };
    Head { epoch, writer, settled, first, count: u64::from(choices.byte() % 5), end }
}

fn some_slot(choices: &mut Choices<'_>) -> Slot {
    match choices.byte() % 4 {
        0 => Slot::Empty,
        1 => Slot::Foreign,
        _ => Slot::Frame(some_head(choices, 1)),
    }
}

fn some_credit(choices: &mut Choices<'_>) -> Credit {
    let (reader, epoch) = (u64::from(choices.byte() % 3), u32::from(choices.byte() % 4));
    let (items, bytes) = match choices.flag() {
        true => (choices.number(), choices.number()),
        false => (WINDOW_ITEMS + u64::from(choices.byte()), WINDOW_BYTES),
    };
    let (slot, said) = (u64::from(choices.byte()), choices.byte());
    let writer = [[0; 16], [9; 16]][usize::from(!choices.byte().is_multiple_of(4))];
    Credit { reader, epoch, writer, items, bytes, slot, misses: said & 1 == 1, left: said & 6 == 6 }
}

/// What a writer has sent, and what of it is certain.
#[derive(Default)]
struct Sent {
    frames: BTreeMap<u64, Write>,
    stored: BTreeSet<u64>,
}

impl Sent {
    fn put(&mut self, write: &Write) {
        let frame = Frame::decode(&write.payload).expect("our own frame");
        assert_eq!((frame.first, frame.items.len() as u64), (write.first, write.count));
        let last = self.frames.last_key_value().map_or(0, |(slot, _)| *slot);
        let same = |it: &Write| (it.first, it.count, it.end) == (write.first, write.count, write.end);
        // Only a question how far the reader is differs.
        assert!(write.slot > last || self.frames.get(&write.slot).is_some_and(same), "a slot was used twice");
        self.frames.entry(write.slot).or_insert_with(|| write.clone());
    }

    /// The last item that a reader takes in: of frames that follow from each other.
    fn last(&self, is_stored: bool) -> Option<u64> {
        let certain = self.frames.values().filter(|it| !is_stored || self.stored.contains(&it.slot));
        certain.fold(None, |last, it| match last {
            Some(last) if it.first != last + 1 => Some(last),
            _ => Some(it.first - 1 + it.count),
        })
    }
}

/// Does what the writer asked for, with any result.
fn answered(
    writer: &mut Writer,
    asked: Action,
    choices: &mut Choices<'_>,
    now: Moment,
    sent: &mut Sent,
) -> Action {
    match asked {
        Action::Wait | Action::WaitUntil(_) | Action::Send(_) => Action::Wait,
        Action::Find(_) => writer.found_last(match choices.byte() % 4 {
            0 => Err(()),
            1 => Ok(None),
            _ => Ok(Some((1 + choices.number() % (1 << 32), some_slot(choices)))),
        }),
        Action::Look { slot, .. } => {
            let seen = if choices.flag() { Err(()) } else { Ok(some_slot(choices)) };
            writer.seen(slot, seen)
        }
        Action::Write(write) => {
            let answer = match choices.byte() % 8 {
                0 => Answer::InDoubt,
                1 => Answer::Refused("full".into()),
                2 if choices.byte().is_multiple_of(8) => Answer::Closed,
                _ => Answer::Stored,
            };
            if answer == Answer::Stored {
                sent.stored.insert(write.slot);
            }
            writer.answered(write.slot, answer, now)
        }
    }
}

fn writes(mut choices: Choices<'_>) {
    let form = choices.byte();
    let mut writer = match form % 5 {
        0 => Writer::new(1, [9; 16]),
        1 => Writer::new(2, [9; 16]),
        2 => Writer::joining([9; 16]),
        3 => Writer::unstored(1, [9; 16]),
        _ => Writer::unstored(2, [9; 16]),
    };
    let is_stored = form % 5 < 3;
    if form & 128 != 0 {
        writer = writer.up();
    }
    if form & 64 != 0 {
        writer = writer.fitting(256);
    }
    let mut allowed = if form % 5 == 1 || form % 5 == 4 { 0 } else { WINDOW_ITEMS };
    let (mut now, mut asked, mut sent) = (Moment(1), Vec::new(), Sent::default());
    while choices.are_left() {
        let mut next = Action::Wait;
        match choices.byte() % 10 {
            0..=2 => {
                let before = writer.last();
                let taken = writer.offer_bytes(&vec![7; usize::from(choices.byte())]);
                assert_eq!(writer.last(), before + u64::from(taken == Ok(true)));
                // Of the credit of an epoch that it took over, only it knows.
                assert!(form % 5 == 2 || taken != Ok(true) || before < allowed, "more than is allowed");
            }
            3 if choices.byte().is_multiple_of(8) => writer.end(some_end(&mut choices)),
            3 => writer.ask(),
            4 => {
                let credit = some_credit(&mut choices);
                allowed = if credit.epoch == writer.epoch() { allowed.max(credit.items) } else { allowed };
                writer.credit(credit, now);
            }
            5 => now = now.max(choices.moment(now)),
            6 if choices.byte().is_multiple_of(16) => writer.stop(Broken::Stopped),
            6 => writer.begin(choices.flag()),
            7 if !asked.is_empty() => {
                let which = usize::from(choices.byte()) % asked.len();
                next = answered(&mut writer, asked.swap_remove(which), &mut choices, now, &mut sent);
            }
            _ => next = writer.next(now),
        }
        if let Action::Write(write) | Action::Send(write) = &next {
            sent.put(write);
        }
        if !matches!(next, Action::Wait | Action::WaitUntil(_) | Action::Send(_)) {
            asked.push(next);
        }
        assert!(asked.len() <= FLIGHT, "more is on its way than may be");
        assert!(writer.stored_by_now() <= writer.last());
        let last = sent.last(is_stored);
        assert!(last.is_none_or(|last| writer.stored_by_now() <= last), "what is not stored was said to be");
    }
}

fn reads(mut choices: Choices<'_>) {
    let is_stored = choices.flag();
    let mut reader = Reader::new(1, is_stored);
    let (mut now, mut unread, mut said) = (Moment(1), VecDeque::new(), None::<Credit>);
    while choices.are_left() {
        match choices.byte() % 8 {
            0..=3 => {
                let (slot, last) = (reader.slot(), reader.last());
                let at = match choices.byte() % 4 {
                    0 => 1 + choices.number() % (1 << 32),
                    _ => slot,
                };
                let there = match choices.byte() % 16 {
                    0 => Slot::Foreign,
                    1 => Slot::Empty,
                    _ => Slot::Frame(some_head(&mut choices, last + 1)),
                };
                let Slot::Frame(head) = there else {
                    assert!(
                        matches!(reader.take(at, there, 0), Taken::Nothing | Taken::NotYet),
                        "items of no frame"
                    );
                    continue;
                };
                let size = u64::from(choices.byte()) << 12;
                let taken = reader.take(at, there, size * head.count);
                match taken {
                    Taken::Items => assert_eq!(head.first, last + 1, "a gap or a repeat"),
                    Taken::Restarted { epoch } => {
                        assert_eq!((epoch, head.first), (head.epoch, 1));
                        unread.clear();
                    }
                    Taken::Nothing | Taken::NotYet | Taken::Broken | Taken::Lost => {
                        assert_eq!(reader.last(), last);
                        continue;
                    }
                }
                assert_eq!(reader.last(), head.first - 1 + head.count);
                unread.extend((0..head.count).map(|_| size));
            }
            4 | 5 => {
                if let Some(size) = unread.pop_front() {
                    reader.read(size);
                }
            }
            6 => now = now.max(choices.moment(now)),
            _ if choices.byte().is_multiple_of(16) => reader.leave(now),
            _ => {
                if let Ok(credit) = reader.say(now) {
                    let before = said.replace(credit).filter(|it| it.epoch == credit.epoch);
                    let keeps = |it: Credit| it.items <= credit.items && it.bytes <= credit.bytes;
                    assert!(before.is_none_or(keeps), "it takes back what it allowed");
                    assert!(credit.items <= reader.last() + WINDOW_ITEMS);
                }
            }
        }
    }
}
