//! Checkpoints: after the claim that they name, in their order, and never in the way of an end.

use super::*;

#[test]
fn a_checkpoint_names_the_claim() {
    let (mut attempt, claim) = after(first(), plain(), [Event::Checkpoint]);
    assert_eq!(claim, write(What::Claim, 0, 1));
    assert_eq!(attempt.step(stored(3), at(100)), write(What::Checkpoint, 3, 2));
    assert_eq!(attempt.step(stored(9), at(100)), Action::None);
    // Its own sequence is no record's.
    assert_eq!(attempt.step(Event::Checkpoint, at(101)), write(What::Checkpoint, 3, 3));
    assert_eq!(attempt.step(Event::Checkpoint, at(101)), Action::None);
    assert_eq!(attempt.step(Event::Reconnected, at(101)), Action::None);
    assert_eq!(attempt.step(stored(10), at(101)), write(What::Claim, 3, 4));
    assert_eq!(attempt.step(stored(11), at(101)), write(What::Checkpoint, 11, 5));
    assert_eq!(attempt.step(Event::Ended(Ending::Value), at(102)), Action::None);
    assert_eq!(attempt.step(stored(12), at(102)), outcome(Outcome::Value, 11, 6));
    assert_eq!(attempt.step(Event::Checkpoint, at(102)), Action::None);
}

#[test]
fn a_checkpoint_in_doubt_is_barred_by_a_new_claim_before_it_is_written_again() {
    let checkpoint = [Event::Checkpoint, stored(3), IN_DOUBT];
    let then = |seen| {
        let (mut attempt, look) = after(first(), plain(), checkpoint.clone());
        assert_eq!(look, LOOK);
        let next = attempt.step(read(seen), at(100));
        (attempt, next)
    };
    let (mut attempt, claim) = then(Some(own(Kind::Claim, 3, 1)));
    assert_eq!(claim, write(What::Claim, 3, 3));
    assert_eq!(attempt.step(stored(4), at(100)), write(What::Checkpoint, 4, 4));
    assert_eq!(then(None).1, write(What::Claim, 0, 3));
    assert_eq!(then(Some(record(Kind::Outcome))).1, Action::Ack { tell: true });
    for kind in [Kind::Claim, Kind::Released, Kind::Unknown] {
        assert_eq!(then(Some(record(kind))).1, Action::Forget, "{kind:?}");
    }
}

#[test]
fn a_checkpoint_without_room_is_given_up_and_the_handler_goes_on() {
    for written in [Written::Full, Written::TooLarge] {
        let events = [Event::Checkpoint, stored(3), Event::Written(written)];
        let (mut attempt, none) = after(first(), plain(), events);
        assert_eq!(none, Action::None);
        assert_eq!(attempt.step(Event::Ended(Ending::Value), at(101)), outcome(Outcome::Value, 3, 3));
    }
}
