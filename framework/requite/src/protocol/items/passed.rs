//! What a writer finds of those before it.

use super::slot::Head;
use crate::wire::frame::End;

/// The frames in the last slots that are taken, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Passed {
    heads: Vec<Head>,
    /// A frame that may lie behind a slot that is still empty: it takes no part, but knows what is stored before it.
    ahead: Option<Head>,
}

impl Passed {
    pub(super) fn ahead(&mut self, head: Head) {
        self.ahead = Some(head);
    }

    /// One more. What an earlier writer had on its way may still come to lie behind a later one's: it says nothing.
    pub(super) fn push(&mut self, head: Head) {
        if head.epoch < self.epoch() {
            return;
        }
        if head.epoch > self.epoch() {
            *self = Self::default();
        }
        // Where a writer went back, what it had sent from there on says nothing.
        while self.heads.pop_if(|it| it.first >= head.first).is_some() {}
        self.heads.push(head);
    }

    pub(super) fn epoch(&self) -> u32 {
        self.heads.last().into_iter().chain(&self.ahead).map(|head| head.epoch).max().unwrap_or(0)
    }

    /// The number of the last item that a reader takes in, and how the stream ended with it. What the frames do not show
    /// themselves they say: what was stored when they were sent.
    pub(super) fn last(&self) -> (u64, Option<End>) {
        let settled = self.heads.iter().chain(&self.ahead).map(|head| head.settled.min(head.first - 1)).max();
        self.heads.iter().fold((settled.unwrap_or(0), None), |(last, end), head| {
            if head.first == last + 1 { (head.last(), head.end.or(end)) } else { (last, end) }
        })
    }
}
