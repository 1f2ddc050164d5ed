//! A contract in a module of its own, implemented with plain `async fn`.

#![deny(warnings, clippy::all)]

use accounts::{Account, UserAccounts, UserAccountsClient};
use requite::prelude::*;

mod accounts {
    use requite::prelude::*;

    #[derive(Serialize, Deserialize)]
    pub struct Account {
        pub id: u64,
    }

    /// User accounts.
    #[service]
    pub trait UserAccounts: Send {
        /// Opens an account.
        #[handler(lease = "6s")]
        async fn open(&self, cx: &Context, name: String) -> Account;

        #[handler]
        async fn close(&self, account: Account);

        fn limit(&self) -> u64 {
            7
        }
    }
}

struct Bank;

impl UserAccounts for Bank {
    async fn open(&self, _cx: &Context, name: String) -> Account {
        std::future::ready(()).await;
        Account { id: name.len() as u64 + self.limit() }
    }

    async fn close(&self, _account: Account) {}
}

async fn calls(client: UserAccountsClient) {
    let _ = client.open("ada".into()).await;
    let _ = client.close(Account { id: 1 }).await;
    let _ = (client.attach_open("ada"), client.client());
}

fn main() {
    let _definition = Bank.into_service();
    let _ = calls;
}
