//! What goes into one frame, and which frames go at once.

use super::*;
use crate::wire::frame::Encoded;

#[test]
fn items_of_a_power_of_two_fill_a_frame_with_what_encodes_them() {
    for size in [16, 64, 128].map(|kib| kib << 10) {
        let mut writer = Writer::new(1, [1; 16]);
        // MessagePack puts five bytes before as many.
        let item = vec![0; size + 5];
        while writer.offer_bytes(&item) == Ok(true) {}
        let Action::Write(first) = writer.next(Moment(1)) else { panic!() };
        assert_eq!(first.count * size as u64, 256 << 10);
    }
}

#[test]
fn the_first_item_of_a_frame_lies_where_it_was_encoded() {
    let (mut writer, mut own, large) = (Writer::new(1, [1; 16]), Encoded::default(), [7; 128 << 10]);
    let mut is_there = Vec::new();
    for slot in 1..=3 {
        own.anew().extend_from_slice(&large);
        let first = own.item().as_ptr();
        assert_eq!(writer.offer(&mut own), Ok(true));
        own.anew().extend_from_slice(&large);
        assert_eq!(writer.offer(&mut own), Ok(true));
        let frame = write(&mut writer);
        assert_eq!(frame.count, 2);
        is_there.push(frame.payload.as_ptr_range().contains(&first));
        assert_eq!(stored(&mut writer, slot), Action::Wait);
    }
    // The room is that of a whole frame once it is known what one takes.
    assert_eq!(is_there.last(), Some(&true));
}

#[test]
fn full_frames_go_several_at_a_time_once_it_is_certain_whose_the_stream_is() {
    let mut writer = full_frames(2);
    assert_eq!(write(&mut writer).slot, 1);
    assert_eq!(writer.next(Moment(1)), Action::Wait);
    writer.answered(1, Answer::Stored, Moment(1));
    // Nothing has to come behind what is full.
    assert_eq!(write(&mut writer).slot, 2);
    for number in 3..=8 {
        // The fourth frame may still grow.
        let len = if number == 4 { 1 } else { 8 };
        assert_eq!(writer.offer_bytes(&[number; 8][..len]), Ok(true));
        let next = writer.next(Moment(1));
        assert_eq!(matches!(next, Action::Write(_)), [3, 5, 6].contains(&number), "{next:?}");
    }
    // Slot 2 is not known to be taken.
    for slot in 3..=5 {
        assert_eq!(stored(&mut writer, slot), Action::Wait);
    }
    assert_eq!(writer.stored_by_now(), 1);
    let Action::Write(next) = stored(&mut writer, 2) else { panic!() };
    assert_eq!((next.slot, writer.stored_by_now()), (6, 5));
    assert_eq!(read(&next).0.settled, 5);
}

#[test]
fn a_full_frame_that_is_not_stored_goes_at_once_behind_what_comes_before_it() {
    let mut writer = Writer::unstored(2, [1; 16]).fitting(8);
    let credit = |slot, misses| Credit { epoch: 2, items: 9, bytes: 99, slot, misses, ..Credit::default() };
    let full = |writer: &mut Writer, number| {
        assert_eq!(writer.offer_bytes(&[number; 8]), Ok(true));
        let (full, has_more) = writer.next_full(Moment(1));
        (full.map(|it| it.slot), has_more)
    };
    // Before anything else, the reader has to hear of a later writer.
    writer.begin(false);
    writer.credit(credit(1, false), Moment(1));
    assert_eq!(full(&mut writer, 1), (None, true));
    assert!([1, 2].iter().all(|slot| matches!(writer.next(Moment(1)), Action::Send(it) if it.slot == *slot)));
    assert_eq!(full(&mut writer, 2), (Some(3), false));
    // What may still grow is left to whoever looks when it has not.
    assert_eq!(writer.offer_bytes(&[3]), Ok(true));
    assert_eq!(writer.next_full(Moment(1)), (None, true));
    // What is missed goes first.
    writer.credit(credit(2, true), Moment(1));
    assert_eq!(full(&mut writer, 4), (None, true));
    assert!(
        [2, 3, 4, 5]
            .iter()
            .all(|slot| matches!(writer.next(Moment(1)), Action::Send(it) if it.slot == *slot))
    );
    // Where nothing is kept nobody knows yet when to send it again.
    writer.credit(credit(6, false), Moment(1));
    assert_eq!((full(&mut writer, 5), full(&mut writer, 6)), ((Some(6), true), (Some(7), false)));
    writer.stop(Broken::Closed);
    assert_eq!(writer.next_full(Moment(1)), (None, true));
}
