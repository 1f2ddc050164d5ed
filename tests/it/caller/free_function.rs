//! Services that are free functions: served, called and found again like any other.

use requite::{CallError, prelude::*};
use requite_test::NatsServer;

use super::fixture::{LEASE, SHOP, SOON, connect, serve, stored, within};

#[derive(Debug, PartialEq, Serialize, Deserialize, thiserror::Error, CallError)]
enum ChargeError {
    #[error("nothing to pay")]
    Nothing,
    #[error("bank unreachable")]
    #[retry(after = "10ms")]
    BankDown,
}

/// The attempt that succeeds, and the key that all attempts have.
#[service(name = "billing")]
#[handler(lease = "6s", attempts = 3)]
async fn charge(cx: &Context, succeeds_in: u32) -> Result<(u32, String), ChargeError> {
    match cx.attempt() {
        _ if succeeds_in == 0 => Err(ChargeError::Nothing),
        attempt if attempt < succeeds_in => Err(ChargeError::BankDown),
        attempt => Ok((attempt, cx.idempotency_key())),
    }
}

#[service]
async fn double_entry(cents: i64) -> [i64; 2] {
    [cents, -cents]
}

#[tokio::test]
async fn a_free_function_is_retried_and_its_outcome_found_again() {
    let nats = NatsServer::start().await.unwrap();
    let worker = serve(&nats.url(), Charge).await;
    let billing = ChargeClient::new(connect(&nats.url(), SHOP).await);

    let answer = within(LEASE + SOON, billing.charge(3).key("order")).await.unwrap();
    assert_eq!(answer.0, 3);
    assert_eq!(within(SOON, billing.charge(3).key("order")).await.unwrap(), answer);
    assert_eq!(within(SOON, billing.attach_charge("order")).await.unwrap(), answer);
    let failed = within(SOON, billing.charge(0)).await;
    assert!(matches!(failed, Err(CallError::Failed(ChargeError::Nothing))), "{failed:?}");
    let gave_up = within(LEASE + SOON, billing.charge(4)).await;
    assert!(matches!(gave_up, Err(CallError::Failed(ChargeError::BankDown))), "{gave_up:?}");
    assert_eq!(worker.stats().runs, 3 + 1 + 3);
}

#[tokio::test]
async fn a_free_function_answers_as_when_it_is_called_directly() {
    let nats = NatsServer::start().await.unwrap();
    let _worker = serve(&nats.url(), DoubleEntry).await;
    let ledger = DoubleEntryClient::new(connect(&nats.url(), SHOP).await);
    assert_eq!(within(SOON, ledger.double_entry(7)).await.unwrap(), double_entry(7).await);
    assert_eq!(stored(&nats, "rq_OUT_double-entry").await, 1, "the service is named after the function");
}
