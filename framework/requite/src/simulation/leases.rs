//! Whether one run may follow another: the rules of P5 and P6, with the times in which a worker was out of reach.

use std::{collections::BTreeMap, time::Duration};

use super::{
    history::{Kind, Over, Run, Seen, Stop},
    plan::End,
};
use crate::{
    broker::simulated::{self, Passage},
    protocol::time::{ASK_OWNER, LeaseTimes, MARGIN},
    service::Method,
};

/// What travelling, waking and drawing lots may add up to.
const SLACK: Duration = Duration::from_millis(500);
/// How the subject of a barrier on several servers ends: it names no delivery, as other acks do.
const BARRIER: &str = ".0.0";

/// When each worker was out of reach.
pub(super) struct Leases<'a> {
    seen: &'a Seen,
    /// On several servers.
    replicated: bool,
    /// When answers to a worker's keeper were lost or late, by process.
    unanswered: BTreeMap<&'a str, Vec<Duration>>,
}

impl<'a> Leases<'a> {
    pub(super) fn new(seen: &'a Seen, log: &[Passage], replicated: bool) -> Self {
        let mut unanswered: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
        for (worker, keeper) in &seen.keepers {
            let of_keeper = || log.iter().filter(|it| it.link == *keeper);
            let lost = of_keeper().filter(|it| it.seen == simulated::Seen::Lost);
            let hung = of_keeper().filter(|it| it.seen == simulated::Seen::Hung);
            let barriers = hung.filter(|it| it.subject.ends_with(BARRIER));
            // A leader's last answers are part of its election.
            let elections = seen.troubles.iter().filter(|it| it.kind == Kind::Leaderless);
            let elections: Vec<Duration> = elections.map(|it| it.from).collect();
            let last = |at: Duration| elections.iter().any(|from| at.abs_diff(*from) <= SLACK);
            let answers = lost.filter(|it| it.subject.starts_with("_INBOX.") && !last(it.at));
            unanswered.insert(worker, answers.chain(barriers).map(|it| it.at).collect());
        }
        Self { seen, replicated, unanswered }
    }

    /// How much of a time a worker's keeper was out of reach; `own` leaves out what hit all workers. One election alone
    /// is no excuse: leases outlive it.
    fn out_of_reach(&self, worker: &str, from: Duration, to: Duration, own: bool) -> Duration {
        let troubles = self.seen.troubles.iter().filter(|it| it.silences_keeper());
        let hit = troubles.filter(|it| match &it.worker {
            Some(name) => name == worker,
            None => !own,
        });
        let hit = hit.map(|it| (it.kind, it.to.min(to).saturating_sub(it.from.max(from))));
        let hit: Vec<_> = hit.filter(|(_, span)| !span.is_zero()).collect();
        match *hit {
            [(Kind::Leaderless, _)] => Duration::ZERO,
            _ => hit.iter().map(|(_, span)| span).sum(),
        }
    }

    /// Whether `next` may start after `before`, of the same request.
    pub(super) fn may_follow(&self, before: &Run, next: &Run, method: &Method) -> Result<(), &'static str> {
        let (over_at, over) = before.over.expect("every run is over when the simulation is");
        // Leases end by the server's clock.
        if self.seen.is_stepped(next.began) {
            return Ok(());
        }
        let let_go = self.seen.drained.get(&before.worker).is_some_and(|at| *at <= over_at);
        if let_go && over == Over::Dropped && before.worker == next.worker {
            return Err("a worker that drains starts what it has let go");
        }
        let together = over_at > next.began;
        let excused = self.could_not_stop(before, next)
            || self.was_forgotten(before, next, method)
            || self.was_handed_on(before, next);
        if together && !excused {
            return Err("two runs at a time");
        }
        let drained = self.seen.drained.get(&before.worker).is_some_and(|at| *at <= next.began);
        let died = self.seen.died.get(&before.worker).is_some_and(|at| *at <= next.began);
        let has_reason = over == Over::Ended(End::Retry)
            || died
            || (drained && (over == Over::Dropped || (let_go && (method.up || method.down))))
            || self.lease_was_lost(before, next, method)
            || self.was_forgotten(before, next, method)
            || self.was_handed_on(before, next);
        if has_reason { Ok(()) } else { Err("a second run without a reason") }
    }

    /// The worker was out of reach for so long that its lease could run out.
    fn lease_was_lost(&self, before: &Run, next: &Run, method: &Method) -> bool {
        let times = LeaseTimes::new(method.lease);
        // A run that had to wait for its start may begin under a lease that nobody renews any more.
        let (from, to) = (before.began.saturating_sub(method.lease), next.began);
        let unanswered = self.unanswered.get(&*before.worker).into_iter().flatten();
        let unanswered = unanswered.filter(|at| (from..=to).contains(at)).count();
        let silent = times.heartbeat() * u32::try_from(unanswered).expect("few");
        let out = self.out_of_reach(&before.worker, from, to, false);
        // The first heartbeat comes within four thirds of the interval, and the next one an interval later.
        out + silent + SLACK >= method.lease - MARGIN - times.heartbeat() * 7 / 3
    }

    /// The worker stood still when its lease ended: it could not drop the handler before it went on.
    fn could_not_stop(&self, before: &Run, next: &Run) -> bool {
        let (over_at, _) = before.over.expect("every run is over when the simulation is");
        let own = self.seen.troubles.iter().filter(|it| it.worker.as_deref() == Some(&*before.worker));
        own.filter(|it| it.holds_handlers())
            .any(|it| it.from <= next.began + SLACK && over_at <= it.to + SLACK)
    }

    /// A killed server forgot the delivery, and its owner did not come back in time to claim what it ran: on one
    /// replica, a request without a claim is taken after a heartbeat interval and the margin (section 4, step 3).
    fn was_forgotten(&self, before: &Run, next: &Run, method: &Method) -> bool {
        let within = LeaseTimes::new(method.lease).owner_claims_within();
        self.seen.stops.iter().any(|Stop { at, pause, lost }| {
            let back = *at + *pause;
            let after = *lost && *at > before.began && back < next.began;
            after && self.out_of_reach(&before.worker, back, next.began, true) + SLACK >= within
        })
    }

    /// A NAK of an earlier owner that hung in the network handed the request on while its owner answered nobody.
    fn was_handed_on(&self, before: &Run, next: &Run) -> bool {
        let asked = next.began.saturating_sub(ASK_OWNER + SLACK);
        let unheard = self.out_of_reach(&before.worker, asked, next.began, true);
        let hung = self.seen.late_naks.iter().any(|at| *at <= next.began);
        self.replicated && hung && unheard + SLACK >= ASK_OWNER
    }

    /// A run ends at the latest when its lease does: its worker was cut off for longer, by one trouble and no other.
    pub(super) fn lets_go(&self, run: &Run, method: &Method) -> Result<(), &'static str> {
        let (over_at, _) = run.over.expect("every run is over when the simulation is");
        let own =
            self.seen.troubles.iter().filter(|it| it.worker.as_ref().is_none_or(|it| *it == run.worker));
        let mut during = own.filter(|it| it.to > run.began && it.from < over_at);
        let (Some(trouble), None) = (during.next(), during.next()) else { return Ok(()) };
        if !trouble.silences_keeper() {
            return Ok(());
        }
        let last = trouble.from.max(run.began) + method.lease - MARGIN + SLACK * 2;
        let last = if trouble.holds_handlers() { last.max(trouble.to + SLACK) } else { last };
        if trouble.to > last && over_at > last { Err("went on without a lease") } else { Ok(()) }
    }
}
