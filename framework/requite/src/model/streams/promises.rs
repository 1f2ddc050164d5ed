//! What must hold in every state, and what has to have happened in some.

use stateright::Property;

use super::{
    Streams,
    eye::Eye,
    setting::Comes,
    world::{Pen, World},
};
use crate::{
    model::marks::marks,
    protocol::items::{slot::Slot, writer::Broken},
};

macro_rules! promises {
    ($($promise:ident: $name:literal),+ $(,)?) => {
        /// What a step can break.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(super) enum Promise {
            $($promise),+
        }

        fn of_steps() -> Vec<Property<Streams>> {
            vec![$(Property::always($name, |_, world: &World| world.broken != Some(Promise::$promise))),+]
        }
    };
}

promises! {
    InOrder: "items come without gap or repeat, and two attempts are not mixed",
    RestartedWhereAnew: "a reader is told of a stream that is begun anew, and of no other",
    ShutOut: "once a later writer has begun, nothing of an earlier one is taken in",
    Follows: "what a reader takes follows from what it has",
    NoneLeftOut: "no slot stays empty that a reader must find taken",
}

const STORED: &str = "what a writer says is stored is what readers have";
const SAME: &str = "whoever reads later reads the same";
const WHOLE: &str = "with its outcome a stream is whole, and nothing comes to it any more";
const FINISHED: &str = "everything comes before the end, and nothing behind it";
pub(super) const ENDS: &str = "if nothing goes wrong any more, the stream comes to its end";

/// Every promise; those that a state shows by itself first.
pub(super) fn properties() -> Vec<Property<Streams>> {
    let mut all = vec![
        Property::always(STORED, |_, world: &World| world.has_what_is_stored()),
        Property::always(SAME, |_, world: &World| Eye::opened(&world.log) == world.eye),
        Property::always(WHOLE, |_, world: &World| world.is_whole()),
        Property::always(FINISHED, |streams: &Streams, world: &World| {
            let (_, items) = streams.setting.writers[0];
            world.eye.reader.end().is_none() || world.eye.seen.len() as u64 == items
        }),
        Property::always(ENDS, |streams: &Streams, world: &World| {
            world.broken.is_some() || world.ends(streams)
        }),
    ];
    all.extend(of_steps());
    all
}

impl World {
    fn has_what_is_stored(&self) -> bool {
        let counts = usize::from(self.eye.by);
        let has = |(at, pen): (usize, &Pen)| {
            let mut later = self.pens.iter().take(counts).skip(at + 1);
            let begun_anew = later.any(|it| it.comes == Comes::Anew);
            // Before it has begun, a writer may find more of others.
            let is_certain = pen.writer.found().is_some();
            begun_anew || !is_certain || pen.writer.stored_by_now() <= self.eye.reader.last()
        };
        self.pens.iter().enumerate().all(has)
    }

    /// As the outcome has a reader see it, which may come whenever the outcome is there.
    fn is_whole(&self) -> bool {
        self.outcome.is_none_or(|(epoch, items)| {
            let reader = self.eye.reader;
            // An attempt that ended without an item has left no frame that says that it began anew.
            let is_earlier = reader.epoch() < epoch;
            if items == 0 { is_earlier || reader.last() == 0 } else { !is_earlier && reader.last() == items }
        })
    }
}

marks! {
    of Streams;

    /// An earlier writer's frame came to lie behind a later one's.
    Overlapped,
    /// A writer found its slot taken, and went back.
    Displaced,
    /// A later writer's first frame found its slot taken by an earlier one's.
    BeganAgain,
    /// A writer found that somebody else has the stream.
    Replaced,
    /// Whoever joined found that the stream has ended.
    FoundTheEnd,
    /// A frame was stored before one that comes before it.
    Overtaken,
    /// A frame that says nothing, because it comes again.
    CameAgain,
    /// A write that nobody had waited for any more arrived.
    LateWrite,
    DoubtWasStored,
    DoubtWasNot,
    Restarted,
    /// A later writer's items came behind an earlier one's.
    WentOn,
}

/// What a look at a slot has shown a writer.
pub(super) fn mark_look(streams: &Streams, before: &Pen, after: &Pen, there: Slot) {
    let is_open = before.writer.found().is_some();
    match there {
        Slot::Frame(head) if head.writer == before.id() => streams.mark(Mark::DoubtWasStored),
        Slot::Empty if before.doubted => streams.mark(Mark::DoubtWasNot),
        Slot::Empty => {}
        _ if after.writer.broken() == Some(&Broken::Replaced) => streams.mark(Mark::Replaced),
        _ if is_open => streams.mark(Mark::Displaced),
        _ if before.begins() => streams.mark(Mark::BeganAgain),
        _ => {}
    }
    if after.writer.broken() == Some(&Broken::Ended) {
        streams.mark(Mark::FoundTheEnd);
    }
}
