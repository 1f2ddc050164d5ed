//! Whatever the broker and the workers answer, and if they never do, a call ends as it must.

use proptest::prelude::*;

use super::{model::World, *};

fn some_limits() -> impl Strategy<Value = Limits> {
    let span = || prop::option::of((0u64..60_000).prop_map(Duration::from_millis));
    (0u64..20_000, span(), span(), 0u64..120_000, 1u64..20_000).prop_map(
        |(accept, start_within, silent_for, deadline, read_after)| Limits {
            accept_by: ms(accept),
            start_within,
            silent_for,
            deadline: ms(deadline),
            read_after: Duration::from_millis(read_after),
        },
    )
}

fn happen(world: &mut World, what: u8, how: u8) {
    match what {
        0..=6 => world.answer(how),
        7 => world.sleep(Duration::from_millis(u64::from(how))),
        8 => world.sleep(Duration::from_millis(u64::from(how) * 40)),
        9 => world.reconnect(how.is_multiple_of(2)),
        10 => world.take(),
        11 if how.is_multiple_of(8) => world.deny(),
        11 | 12 => world.write(Kind::Claim, how.is_multiple_of(2)),
        13 => world.write(Kind::Released, how.is_multiple_of(2)),
        14 if how.is_multiple_of(2) => world.write(Kind::Outcome, how.is_multiple_of(4)),
        14 => world.write(Kind::Unknown, how % 4 == 1),
        15 if how.is_multiple_of(8) => world.signal(Event::StoredBefore),
        _ => world.signal(Event::Alive),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    /// It ends by its deadline and a second, never publishes once acceptance is known, never calls a request refused
    /// that was taken, and never wakes up for nothing: see the assertions of the model.
    #[test]
    fn every_call_ends_in_time(
        limits in some_limits(),
        (keyed, attached) in any::<(bool, bool)>(),
        steps in prop::collection::vec((0u8..17, any::<u8>()), 0..80),
        silent in any::<bool>(),
    ) {
        let mut world = World::new(limits, keyed, attached && keyed);
        for (what, how) in steps {
            if world.verdict.is_some() {
                return Ok(());
            }
            happen(&mut world, what, how);
        }
        for how in 0..=u8::MAX {
            if world.verdict.is_none() && !silent {
                world.answer(how);
            }
        }
        world.sleep(Duration::from_secs(200));
        prop_assert!(world.verdict.is_some(), "no end");
    }
}
