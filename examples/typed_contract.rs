//! Run with `cargo run --bin typed_contract`: a trait that both sides share, and errors that arrive as their own type.

#![allow(clippy::print_stdout, reason = "what an example prints is what it shows")]

use std::sync::Mutex;

use examples::{
    Nats,
    contract::{Account, Accounts, AccountsClient, OpenError, Person},
};
use requite::{CallError, Context, Server};

/// The server's side: any type that keeps the contract.
#[derive(Default)]
struct Ledger {
    names: Mutex<Vec<String>>,
}

impl Accounts for Ledger {
    async fn open(&self, cx: &Context, who: Person) -> Result<Account, OpenError> {
        if cx.attempt() == 1 {
            return Err(OpenError::Busy);
        }
        let mut names = self.names.lock().expect("nobody panics with the names in hand");
        if let Some(at) = names.iter().position(|name| *name == who.name) {
            return Err(OpenError::Taken { name: who.name, number: as_number(at + 1) });
        }
        names.push(who.name);
        Ok(Account { number: as_number(names.len()) })
    }

    async fn count(&self) -> u32 {
        as_number(self.names.lock().expect("nobody panics with the names in hand").len())
    }
}

fn as_number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let nats = Nats::from_env().await?;
    let server = Server::connect(nats.url()).await?.serve(Ledger::default().into_service()).start().await?;

    // The client's side knows the trait and nothing of `Ledger`.
    let accounts = AccountsClient::connect(nats.url()).await?;
    let ada = || Person { name: "Ada".into() };
    let opened = accounts.open(ada()).await?;
    println!("opened account {}, after the worker was busy once", opened.number);
    match accounts.open(ada()).await {
        Err(CallError::Failed(OpenError::Taken { name, number })) => {
            println!("refused: {name} has account {number}");
        }
        other => anyhow::bail!("expected a refusal, got {other:?}"),
    }
    println!("accounts: {}, runs: {}", accounts.count().await?, server.stats().runs);
    Ok(())
}
