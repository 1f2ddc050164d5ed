//! Whatever happens to a request and its workers, the guarantees hold.

use proptest::prelude::*;

use super::{
    model::{Fate, Setting, World},
    *,
};

/// Something that happens, to which worker, and how.
type Step = (u8, u8, u8);

fn settings() -> impl Strategy<Value = Setting> {
    let flags = any::<[bool; 6]>();
    let deadline = prop::option::weighted(0.3, 90u64..250);
    (flags, 1u32..5, deadline).prop_map(
        |([replicated, doubtful, resend, fenced, once, bad], attempts, deadline)| Setting {
            terms: Terms { once: once && fenced, fenced, attempts, replicated, ..plain() },
            resend: doubtful && resend,
            fresh: !(doubtful && bad),
            undecodable: bad && resend,
            deadline,
        },
    )
}

fn fate(how: u8) -> Fate {
    match how % 12 {
        0 | 1 => Fate::AnswerLost,
        2 => Fate::Lost,
        3 | 4 => Fate::Late,
        5 => Fate::Full,
        _ => Fate::Answered,
    }
}

fn ending(how: u8) -> Ending {
    match how % 6 {
        0 => Ending::Value,
        1 => Ending::Error { retry: None },
        2 | 3 => Ending::Error { retry: Some(Duration::from_secs(u64::from(how) / 16)) },
        4 => Ending::Panicked,
        _ => Ending::TimedOut,
    }
}

fn happen(world: &mut World, (what, who, how): Step) {
    let span = Duration::from_millis(u64::from(how) * 20);
    if world.workers() == 0 {
        return world.deliver();
    }
    // The newest are the ones that matter most.
    let who = world.workers() - 1 - usize::from(who) % world.workers().min(4);
    match what {
        0..=9 => world.act(who, fate(how)),
        10 | 11 => world.deliver(),
        12 | 13 => world.beat(who, !how.is_multiple_of(8), !how.is_multiple_of(4)),
        14 => world.advance(span),
        15 => world.advance(span * 8),
        16 | 17 => world.end(who, ending(how)),
        18 => world.reconnect(who),
        19 => world.arrive(),
        20 if how.is_multiple_of(2) => world.let_go(who),
        20 => world.overdue(who),
        21 if how.is_multiple_of(2) => world.crash(who),
        21 => world.forget_deliveries(),
        22 => world.pass(how % 16),
        23 | 24 => world.checkpoint(who),
        25 => world.drain(who),
        26 | 27 => world.cancel(how.is_multiple_of(4).then_some(who)),
        28..=30 => world.look_to_cancel(fate(how)),
        _ => world.advance(Duration::from_secs(31)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    /// One outcome that is never replaced, one handler at a time, no start after the outcome, an ack only after it,
    /// `Rejected` only for what never ran, no start of what is cancelled, one start for `once`, checkpoints in their order and found, no handler that a
    /// stopping worker lets run on behind one, and an end: see the assertions of the model.
    #[test]
    fn every_request_ends_in_one_outcome(
        setting in settings(),
        steps in prop::collection::vec((0u8..32, any::<u8>(), any::<u8>()), 1..120),
    ) {
        let mut world = World::new(setting);
        for step in steps {
            happen(&mut world, step);
        }
        world.recover();
    }
}
