//! A service written as an impl, with all that a handler may be.

#![deny(warnings, clippy::all, missing_docs, unreachable_pub)]

use requite::prelude::*;
use std::fmt;

/// The amount and the account.
#[derive(Serialize, Deserialize)]
struct Order {
    account: u64,
    cents: u64,
}

#[derive(Serialize, Deserialize)]
struct Receipt;

#[derive(Debug, Serialize, Deserialize, CallError)]
enum ChargeError {
    Declined {
        why: String,
    },
    #[retry]
    BankDown,
    #[retry(after = "30s")]
    Busy(u32),
}

impl fmt::Display for ChargeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Declined { why } => write!(f, "declined: {why}"),
            Self::BankDown => f.write_str("bank down"),
            Self::Busy(queue) => write!(f, "{queue} wait"),
        }
    }
}

impl std::error::Error for ChargeError {}

struct Billing {
    limit: u64,
}

/// Money in, receipts out.
#[service(name = "billing", version = "1.2.0")]
impl Billing {
    /// Charges a card.
    #[handler(
        lease = "30s",
        max_run = "2h",
        attempts = 3,
        concurrency = 8,
        retention = "24h",
        name = "charge"
    )]
    async fn charge(&self, cx: &Context, order: Order) -> Result<Receipt, ChargeError> {
        let _ = cx;
        match order.cents {
            cents if cents > self.limit => Err(ChargeError::Declined { why: "limit".into() }),
            0 => Err(ChargeError::Busy(1)),
            1 => Err(ChargeError::BankDown),
            _ => Ok(Receipt),
        }
    }

    #[handler(once, fenced = true)]
    async fn refund(&self, Order { account, .. }: Order) -> u64 {
        self.double(account)
    }

    #[handler]
    async fn ping(&self) {}

    /// A name that `Arc` has as well.
    #[handler]
    async fn clone(&self, mut text: String) -> String {
        text.push('!');
        text
    }

    #[handler]
    async fn r#type(&self, _unused: Option<u64>) -> Vec<String> {
        Vec::new()
    }

    #[cfg(any())]
    #[handler]
    async fn left_out(&self) -> NoSuchType {}

    #[cfg(unix)]
    #[handler]
    async fn system(&self) -> String {
        "unix".into()
    }

    #[cfg(not(unix))]
    #[handler]
    async fn system(&self) -> String {
        "other".into()
    }

    #[deprecated = "ask the bank"]
    #[handler]
    async fn old(&self) {}

    fn double(&self, account: u64) -> u64 {
        account * 2
    }
}

async fn calls(client: &BillingClient) {
    let _ = client.charge(Order { account: 1, cents: 2 }).await;
    let _ = client.refund(Order { account: 1, cents: 2 }).await;
    let _ = client.ping().await;
    let _ = client.clone("text".into()).await;
    let _ = client.r#type(None).await;
    let _ = client.system().await;
    let _ = (client.attach_charge("order-1"), client.attach_type(String::from("key")));
}

fn main() {
    let _definition = requite::Service::definition(Billing { limit: 100 });
    let _ = calls;
}
