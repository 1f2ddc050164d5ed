//! Where a reader of a stored stream is.

use serde::{Deserialize, Serialize};

use super::frame::{LAST, WriterId};

/// Where a reader of a stream is: behind which item, of which attempt. Kept beside what was made of the items, it has another
/// process go on with the next one, through [`Attach::behind`](crate::Attach::behind).
///
/// ```no_run
/// # use futures_util::{Stream, stream};
/// # use requite::{Items, Position, prelude::*};
/// # struct Bank;
/// # #[service] impl Bank { #[handler] fn statement(&self, account: u64) -> impl Stream<Item = i64> { stream::iter([account as i64]) } }
/// # fn store(entry: i64, position: Position) {}
/// # async fn run(bank: BankClient, position: Position) -> Result<(), Box<dyn std::error::Error>> {
/// let (mut entries, call) = bank.attach_statement("today").behind(position).open().await?;
/// while let Some(entry) = entries.next().await {
///     store(entry?, entries.position());
/// }
/// call.await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Position {
    pub(crate) attempt: u32,
    pub(crate) item: u64,
    /// The slot of the frame that has this item; 0 before the first.
    pub(crate) slot: u64,
    /// Who wrote it, and how many items, and bytes of this writer's items, come before it.
    pub(crate) writer: WriterId,
    pub(crate) before: u64,
    pub(crate) bytes: u64,
}

impl Position {
    /// The number of the last item that was read, counted from 1; 0 before the first.
    pub fn item(&self) -> u64 {
        self.item
    }

    /// Which attempt has sent it, counted from 1; 0 before the first item.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The same, of whoever may have kept anything.
    pub(crate) fn sane(self) -> Self {
        let Self { item, slot, before, bytes, .. } = self;
        let [item, slot, before, bytes] = [item, slot, before, bytes].map(|it| it.min(LAST));
        Self { item, slot, before, bytes, ..self }
    }

    /// How many items of that frame were read.
    pub(crate) fn read(&self) -> u64 {
        self.item.saturating_sub(self.before)
    }
}
