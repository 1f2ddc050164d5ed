//! A contract: what both sides of `typed_contract` know of each other. In a real system this is a small crate of its own.

use requite::prelude::*;

/// Who opens an account.
#[derive(Serialize, Deserialize, Debug)]
pub struct Person {
    /// Full name.
    pub name: String,
}

/// An account that was opened.
#[derive(Serialize, Deserialize, Debug, PartialEq, Eq)]
pub struct Account {
    /// Counts accounts from 1.
    pub number: u32,
}

/// Why no account was opened.
#[derive(Serialize, Deserialize, Debug, PartialEq, Eq, thiserror::Error, CallError)]
pub enum OpenError {
    /// Final: the same request fails again.
    #[error("{name} has account {number} already")]
    Taken {
        /// Who asked.
        name: String,
        /// The account that is there.
        number: u32,
    },
    /// Tried again by the worker, up to `attempts` times, before the caller hears of it.
    #[error("the ledger is busy")]
    #[retry(after = "100ms")]
    Busy,
}

/// User accounts.
#[service(name = "accounts", version = "1.0.0")]
pub trait Accounts {
    /// Opens an account; one for each person.
    #[handler(attempts = 3)]
    async fn open(&self, cx: &Context, who: Person) -> Result<Account, OpenError>;

    /// How many accounts there are.
    #[handler]
    async fn count(&self) -> u32;
}
