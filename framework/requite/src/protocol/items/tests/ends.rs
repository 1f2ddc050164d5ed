//! How a writer comes to its end, and how it is told.

use super::*;

/// Attempts read a caller's stream one after the other, each from the first item on.
#[test]
fn a_callers_stream_that_is_left_ends_for_the_attempts_behind() {
    let mut writer = Writer::new(1, [1; 16]).up();
    writer.offer_bytes(b"1").unwrap();
    write(&mut writer);
    let left = Credit { reader: 1, epoch: 1, left: true, ..Credit::default() };
    writer.credit(left, Moment(1));
    let at = writer.wakes_at();
    writer.answered(1, Answer::Stored, Moment(1));
    assert_eq!(writer.offer_bytes(b"2"), Ok(true));
    let Action::Write(last) = writer.next(at) else { panic!("the end is not written") };
    assert_eq!((last.slot, last.count, last.end), (2, 1, Some(End::Abandoned)));
    assert_eq!((writer.offer_bytes(b"3"), writer.wakes_at()), (Err(Broken::Left), Moment::FAR));
    assert_eq!(writer.answered(2, Answer::Stored, at), Action::Wait);
    assert!(writer.is_flushed() && writer.has_ended() && writer.broken().is_none());
    writer.stop(Broken::Ended);
    assert_eq!(writer.offer_bytes(b"3"), Err(Broken::Left));

    // Whoever only attached has no say in that.
    let mut joining = Writer::joining([1; 16]).up();
    joining.credit(left, Moment(1));
    assert_eq!((joining.next(at), joining.broken()), (Action::Wait, Some(&Broken::Left)));
}

/// What the first had is gone, and so is what it did not want.
#[test]
fn a_callers_stream_that_is_not_stored_and_was_left_is_lost_to_the_attempts_behind() {
    let left = |slot| Credit { reader: 1, epoch: 1, slot, left: true, ..Credit::default() };
    let later = Credit { reader: 2, epoch: 1, slot: 1, ..Credit::default() };
    // Each of which the reader has the first frame at most, of as many as it says.
    for (has, of) in [(0, 0), (0, 1), (1, 1), (1, 2)] {
        let mut writer = Writer::unstored(1, [1; 16]).up();
        for number in 0..of {
            writer.offer_bytes(&[number]).unwrap();
            assert!(matches!(writer.next(Moment(1)), Action::Send(_)));
        }
        writer.credit(left(has + 1), Moment(1));
        let at = writer.wakes_at();
        assert_eq!((writer.next(at), writer.wakes_at()), (Action::Wait, Moment::FAR));
        let has_lost = has < u64::from(of);
        assert_eq!((writer.offer_bytes(b"3"), writer.is_flushed()), (Err(Broken::Left), !has_lost));
        assert_eq!(writer.fails(), has_lost.then_some(Broken::Left));
        writer.credit(later, at);
        let Action::Send(end) = writer.next(at) else { panic!("{has} of {of}: it is not told") };
        assert_eq!((end.slot, end.first, end.count), (u64::from(of) + 1, has + 1, 0));
        assert_eq!(end.end, Some(End::Abandoned));
        // Until somebody has it, and then once more for each who does not.
        writer.credit(Credit { slot: end.slot + 1, ..later }, at);
        assert_eq!((writer.next(at), writer.is_flushed()), (Action::Wait, !has_lost));
        writer.credit(left(has + 1), at);
        assert_eq!(writer.next(at), Action::Wait);
        writer.credit(later, at);
        assert!(matches!(writer.next(at), Action::Send(again) if again.slot == end.slot + 1));
        // As long as somebody waits for the call.
        writer.leave_alone(SAID_EVERY, at);
        assert_eq!((writer.next(at), writer.broken()), (Action::Wait, Some(&Broken::Left)));
    }
}

/// Nobody takes for all of it what was dropped before it was sent, and an end that was sent says enough.
#[test]
fn of_what_is_not_stored_and_was_left_an_end_is_said_that_is_true() {
    let left = Credit { reader: 1, epoch: 1, slot: 1, left: true, ..Credit::default() };
    for is_sent in [false, true] {
        let mut writer = Writer::unstored(1, [1; 16]).up();
        writer.offer_bytes(b"1").unwrap();
        writer.end(End::Finished);
        if is_sent {
            assert!(
                matches!(writer.next(Moment(1)), Action::Send(write) if write.end == Some(End::Finished))
            );
        }
        writer.credit(left, Moment(1));
        let at = writer.wakes_at();
        assert_eq!(writer.next(at), Action::Wait);
        writer.credit(Credit { reader: 2, left: false, ..left }, at);
        let Action::Send(told) = writer.next(at) else { panic!("it is not told") };
        let (slot, end) = if is_sent { (2, None) } else { (1, Some(End::Abandoned)) };
        assert_eq!((told.slot, told.count, told.end), (slot, 0, end));
        assert_eq!(writer.fails(), Some(Broken::Left));
    }
}

/// Whether they leave before the call is given up or behind that, and however often they say so.
#[test]
fn nobody_is_told_where_nobody_waits_for_the_call_or_its_stream_is_anothers() {
    let left = Credit { reader: 1, epoch: 1, slot: 1, left: true, ..Credit::default() };
    let idle = SAID_EVERY * 12;
    let mut writer = Writer::unstored(1, [1; 16]).up();
    writer.offer_bytes(b"1").unwrap();
    writer.end(End::Abandoned);
    writer.leave_alone(idle, Moment(1));
    writer.credit(left, Moment(1));
    writer.credit(left, Moment(1) + SAID_EVERY);
    let at = writer.wakes_at();
    assert!(at < Moment(1) + SAID_EVERY);
    assert_eq!((writer.next(at), writer.broken()), (Action::Wait, Some(&Broken::Left)));

    let mut attached = Writer::unstored(1, [1; 16]).up().attached();
    attached.credit(left, Moment(1));
    assert_eq!((attached.next(attached.wakes_at()), attached.has_begun()), (Action::Wait, false));
    assert_eq!(attached.broken(), Some(&Broken::Left));
}

/// Whoever reads later has all of which its handler was told that it was taken.
#[test]
fn what_was_taken_before_the_reader_left_is_written_and_nothing_else_is_taken() {
    let mut writer = Writer::new(1, [1; 16]);
    writer.offer_bytes(&item(1, 1)).unwrap();
    let first = write(&mut writer);
    writer.offer_bytes(&item(1, 2)).unwrap();
    writer.credit(Credit { reader: 1, epoch: 1, left: true, ..Credit::default() }, Moment(1));
    assert_eq!(writer.next(writer.wakes_at()), Action::Wait);
    assert_eq!((writer.offer_bytes(&item(1, 3)), writer.wakes_at()), (Err(Broken::Left), Moment::FAR));
    let Action::Write(second) = stored(&mut writer, first.slot) else { panic!("the rest is not written") };
    assert_eq!((second.first, second.count, second.end), (2, 1, None));
    stored(&mut writer, second.slot);
    assert_eq!((writer.is_flushed(), writer.stored_by_now(), writer.broken()), (true, 2, None));
    assert_eq!(writer.offer_bytes(&item(1, 3)), Err(Broken::Left));
}

/// The writer may not have heard that its end is here.
#[test]
fn behind_the_end_of_what_is_not_stored_frames_are_acknowledged_and_items_say_nothing() {
    let mut writer = Writer::unstored(1, [1; 16]).up();
    let mut reader = Reader::new(1, false);
    writer.offer_bytes(b"1").unwrap();
    writer.end(End::Finished);
    writer.ask();
    let mut last = 0;
    while let Action::Send(write) = writer.next(Moment(1)) {
        last = write.slot;
        reader.take(write.slot, Slot::Frame(read(&write).0), 1);
    }
    assert_eq!((last, reader.end()), (2, Some(End::Finished)));
    for head in [head(1, 2, 1), head(2, 1, 1)] {
        assert_eq!(reader.take(3, Slot::Frame(head), 1), Taken::Nothing);
    }
    assert_eq!(reader.take(1, Slot::Frame(head(2, 1, 1)), 1), Taken::Nothing);
    assert_eq!((reader.last(), reader.epoch()), (1, 1));
    writer.credit(reader.say_now(false, Moment(1)), Moment(1));
    assert!(writer.is_flushed());
}

#[test]
fn what_is_not_stored_and_was_left_alone_lasts_for_as_long_as_its_reader_is_heard() {
    let idle = std::time::Duration::from_secs(60);
    let (start, later) = (Moment(1), Moment(1) + idle / 2);
    let mut writer = Writer::unstored(1, [1; 16]).up();
    writer.offer_bytes(b"1").unwrap();
    writer.end(End::Abandoned);
    assert!(matches!(writer.next(start), Action::Send(_)));
    writer.leave_alone(idle, start);
    assert_eq!(writer.wakes_at(), start + idle);
    // That a caller is there says nothing of a reader.
    writer.credit(Credit { epoch: 0, slot: 1, ..Credit::default() }, later);
    assert_eq!(writer.wakes_at(), start + idle);
    writer.credit(Credit { reader: 1, epoch: 1, slot: 1, ..Credit::default() }, later);
    assert_eq!(writer.wakes_at(), later + idle);
    assert!(matches!(writer.next(start + idle), Action::Send(_)));
    assert_eq!(writer.next(later + idle), Action::Wait);
    assert_eq!((writer.broken(), writer.wakes_at()), (Some(&Broken::Left), Moment::FAR));

    // What is stored needs no reader.
    let mut stored = Writer::new(1, [1; 16]).up();
    stored.end(End::Abandoned);
    stored.leave_alone(idle, start);
    assert!(matches!(stored.next(start + idle), Action::Write(_)));
}

/// The log was empty again when the writer came, for the time of what lay there was over.
#[test]
fn a_reader_that_is_past_what_a_later_writer_begins_with_is_told_and_so_is_the_writer() {
    let frame = |by: u8, epoch, first| Slot::Frame(Head { writer: [by; 16], ..head(epoch, first, 1) });
    let reads = |until: u64| {
        let mut reader = Reader::new(1, true);
        for slot in 1..=until {
            assert_eq!(reader.take(slot, frame(1, 1, slot), 1), Taken::Items);
        }
        reader
    };
    let began = |epoch: u32, is_alone: bool| {
        let mut writer = Writer::new(epoch, [9; 16]);
        writer.begin(true);
        if !is_alone {
            writer.next(Moment(1));
            writer.found_last(Ok(None));
        } else {
            writer.offer_bytes(b"1").unwrap();
            write(&mut writer);
        }
        stored(&mut writer, 1);
        writer
    };
    for (epoch, is_alone) in [(2, false), (1, true)] {
        let mut reader = reads(3);
        // It comes again where it was, and is no other.
        assert_eq!(reader.take(2, frame(1, 1, 2), 1), Taken::Nothing);
        assert_eq!(reader.take(1, frame(9, epoch, 1), 1), Taken::Lost);
        let mut writer = began(epoch, is_alone);
        writer.credit(reader.say_now(false, Moment(1)), Moment(1));
        assert!(matches!(writer.broken(), Some(Broken::Refused(text)) if text.contains("removed")));
    }
    // One that has not come so far yet.
    let mut writer = began(2, false);
    writer.credit(reads(0).say_now(false, Moment(1)), Moment(1));
    assert_eq!(writer.broken(), None);
    // Two of the same number, of which it reads the other.
    let mut writer = began(1, true);
    writer.credit(Credit { slot: 1, ..reads(1).say_now(false, Moment(1)) }, Moment(1));
    assert_eq!(writer.broken(), Some(&Broken::Replaced));
}

#[test]
fn who_waits_for_room_hears_from_its_reader_that_a_later_one_writes() {
    let large = vec![0; WINDOW_BYTES as usize];
    let mut earlier = Writer::new(1, [1; 16]);
    assert_eq!(earlier.offer_bytes(&large), Ok(true));
    let first = write(&mut earlier);
    earlier.answered(first.slot, Answer::Stored, Moment(1));
    let mut reader = Reader::new(1, true);
    reader.take(1, Slot::Frame(Head { count: 1, ..head(1, 1, 0) }), WINDOW_BYTES);
    earlier.credit(reader.say_now(false, Moment(1)), Moment(1));
    assert_eq!(earlier.offer_bytes(&large), Ok(false));
    reader.read(WINDOW_BYTES);
    // A later one that has not begun may become one more than the one that is read.
    let mut joining = Writer::joining([3; 16]);
    joining.begin(true);
    reader.take(2, Slot::Frame(head(2, 2, 0)), 0);
    for writer in [&mut earlier, &mut joining] {
        writer.credit(reader.say_now(false, Moment(1)), Moment(1));
    }
    assert_eq!((earlier.offer_bytes(&large), joining.broken()), (Err(Broken::Replaced), None));
}

#[test]
fn a_log_that_refuses_for_long_breaks_the_stream() {
    let mut writer = Writer::new(1, [1; 16]);
    writer.offer_bytes(&item(1, 1)).unwrap();
    write(&mut writer);
    let mut now = Moment(1);
    let mut refusals = VecDeque::new();
    while writer.broken().is_none() {
        refusals.push_back(writer.answered(1, Answer::Refused("full".into()), now));
        now = now + std::time::Duration::from_secs(1);
        writer.seen(1, Ok(Slot::Empty));
    }
    assert_eq!(refusals.len(), 16);
    assert_eq!(writer.broken(), Some(&Broken::Refused("full".into())));
}

/// What cannot be written there cannot be looked at either.
#[test]
fn a_log_that_is_not_there_breaks_the_stream_too() {
    let mut writer = Writer::new(1, [1; 16]);
    writer.offer_bytes(&item(1, 1)).unwrap();
    let first = write(&mut writer);
    // A look that nobody answers says nothing by itself.
    let Action::Look { .. } = writer.answered(1, Answer::InDoubt, Moment(1)) else { panic!() };
    let Action::Look { .. } = writer.seen(1, Err(())) else { panic!() };
    for second in 0..15 {
        let refused = Answer::Refused("nobody stores items here".into());
        let now = Moment(1) + std::time::Duration::from_secs(second);
        let Action::Look { .. } = writer.answered(1, refused, now) else { panic!() };
        assert_eq!(writer.seen(1, Err(())), Action::Write(first.clone()));
    }
    let now = Moment(1) + std::time::Duration::from_secs(15);
    writer.answered(1, Answer::Refused("nobody stores items here".into()), now);
    assert_eq!(writer.broken(), Some(&Broken::Refused("nobody stores items here".into())));
}

#[test]
fn what_was_taken_before_the_seal_is_written_and_nothing_else_is_taken() {
    let mut writer = Writer::new(1, [1; 16]);
    assert_eq!(writer.offer_bytes(&item(1, 1)), Ok(true));
    writer.seal();
    assert_eq!(writer.offer_bytes(&item(1, 2)), Err(Broken::Stopped));
    let first = write(&mut writer);
    stored(&mut writer, first.slot);
    assert_eq!((writer.is_flushed(), writer.stored_by_now()), (true, 1));
}

#[test]
fn an_end_that_is_said_while_a_frame_is_on_its_way_follows_in_one_of_its_own() {
    let mut writer = Writer::new(1, [1; 16]);
    writer.offer_bytes(&item(1, 1)).unwrap();
    let first = write(&mut writer);
    writer.end(End::Finished);
    writer.answered(1, Answer::InDoubt, Moment(1));
    assert_eq!(writer.seen(1, Ok(Slot::Empty)), Action::Write(first));
    let Action::Write(end) = stored(&mut writer, 1) else { panic!() };
    assert_eq!((end.slot, end.first, end.end), (2, 2, Some(End::Finished)));
}
