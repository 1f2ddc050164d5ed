//! What is asked about a stream: who writes it, one after the other, and what may go wrong how often.

/// How a writer comes by the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Comes {
    /// Before all others: the first attempt, or whoever made the call.
    First,
    /// A later attempt that begins anew.
    Anew,
    /// A later attempt that goes on behind what is stored.
    GoesOn,
    /// Another process of the caller, which does not know how many came before.
    Joins,
}

/// What goes wrong. Each costs one of the faults that a setting allows, whenever it strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A write is not answered; it arrives at any time, or never.
    LateWrite,
    /// The log takes nothing for a moment.
    Refused,
    /// A look is not answered.
    Unanswered,
    /// A look is answered by a replica that lags: it finds nothing.
    Lagging,
    /// Somebody who has no part in the stream takes one of the next slots.
    Occupied,
}

/// One configuration, explored to its end.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) name: &'static str,
    /// Each writer, and how many items there are once it is done. One that is still there may write beside those behind it.
    pub(super) writers: &'static [(Comes, u64)],
    /// From a caller: its end is in the stream, and not in an outcome.
    pub(super) up: bool,
    /// Items come whenever they come, and not as soon as there is room.
    pub(super) slowly: bool,
    pub(super) faults: &'static [Fault],
    /// How many of them strike in one run.
    pub(super) budget: u8,
}

impl Setting {
    pub(super) fn allows(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }
}

const LEADER: &[Fault] = &[Fault::LateWrite, Fault::Refused, Fault::Unanswered, Fault::Occupied];
const REPLICAS: &[Fault] = &[Fault::LateWrite, Fault::Lagging, Fault::Occupied];
const LATE: &[Fault] = &[Fault::LateWrite];

/// What is explored, with faults enough for a run of continuous integration.
pub(super) fn settings() -> Vec<Setting> {
    use Comes::{Anew, First, GoesOn, Joins};
    let down = Setting {
        name: "",
        writers: &[(First, 3), (GoesOn, 3)],
        up: false,
        slowly: false,
        faults: LEADER,
        budget: 2,
    };
    let up = Setting { up: true, faults: REPLICAS, ..down.clone() };
    let late = Setting { faults: LATE, budget: 1, ..down.clone() };
    vec![
        Setting { name: "goes on", ..down.clone() },
        Setting { name: "goes on slowly", slowly: true, ..down.clone() },
        Setting { name: "begins anew", writers: &[(First, 3), (Anew, 2)], ..down.clone() },
        Setting { name: "begins anew with nothing", writers: &[(First, 2), (Anew, 0)], ..down },
        Setting { name: "goes on, many on their way", writers: &[(First, 5), (GoesOn, 5)], ..late.clone() },
        Setting {
            name: "goes on, then anew",
            writers: &[(First, 2), (GoesOn, 3), (Anew, 2)],
            ..late.clone()
        },
        Setting { name: "anew, then goes on", writers: &[(First, 2), (Anew, 2), (GoesOn, 3)], ..late },
        Setting { name: "joins", writers: &[(First, 3), (Joins, 3)], ..up.clone() },
        Setting { name: "two join", writers: &[(First, 2), (Joins, 2), (Joins, 2)], budget: 1, ..up.clone() },
        Setting { name: "nobody before two join", writers: &[(Joins, 2), (Joins, 2)], ..up },
    ]
}
