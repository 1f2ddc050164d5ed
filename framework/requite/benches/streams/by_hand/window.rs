//! How far a writer may be ahead of what it has heard.

#[derive(Debug)]
pub(super) struct Window {
    items: u64,
    last: u64,
}

impl Window {
    pub(super) fn new(items: u64) -> Self {
        Self { items, last: 0 }
    }

    /// Whether the item of that number may be sent.
    pub(super) fn has_room(&self, number: u64) -> bool {
        number <= self.last + self.items
    }

    /// The last item that the other side has.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    pub(super) fn move_to(&mut self, last: u64) {
        self.last = last;
    }
}
