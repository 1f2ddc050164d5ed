//! What comes back: values and errors in the caller's own types, in both encodings.

use std::collections::BTreeMap;

use requite::{CallError, Client, Reason, Rejected, prelude::*};
use requite_test::NatsServer;

use super::fixture::{Office, SHOP, SOON, connect, serve, until, within};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Payment {
    Cash,
    Card(u64),
    Account { iban: String, reference: Option<String> },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Bill {
    payment: Payment,
    discount: Option<f64>,
    lines: Vec<(String, i64)>,
    tags: BTreeMap<String, Option<bool>>,
    unit: (),
    #[serde(default)]
    note: Option<Option<String>>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, CallError)]
enum BillError {
    Empty,
    Declined { why: String, retry_at: Option<u64> },
    Several(Vec<BillError>),
}

impl std::fmt::Display for BillError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => f.write_str("empty"),
            Self::Declined { why, .. } => write!(f, "declined: {why}"),
            Self::Several(errors) => errors.iter().try_for_each(|error| write!(f, "{error};")),
        }
    }
}

impl std::error::Error for BillError {}

struct Cashier;

#[service(name = "cashier")]
impl Cashier {
    #[handler(lease = "6s")]
    async fn settle(&self, bill: Bill) -> Result<Bill, BillError> {
        match &bill.payment {
            _ if bill.lines.is_empty() => Err(BillError::Empty),
            Payment::Card(0) => Err(BillError::Several(vec![
                BillError::Empty,
                BillError::Declined { why: "zero".into(), retry_at: None },
            ])),
            Payment::Account { iban, .. } if !iban.is_ascii() || iban.contains(['\r', '\n']) => {
                Err(BillError::Declined { why: iban.clone(), retry_at: Some(7) })
            }
            _ => Ok(bill),
        }
    }

    /// Its text breaks lines and is longer than anything that is shown.
    #[handler(lease = "6s")]
    async fn crash(&self, text: String) -> Option<String> {
        panic!("{text}")
    }

    #[handler(lease = "6s")]
    async fn fill(&self, bytes: usize) -> String {
        "x".repeat(bytes)
    }

    #[handler(lease = "6s")]
    async fn nothing(&self) {}
}

fn bill(payment: Payment) -> Bill {
    Bill {
        payment,
        discount: Some(0.1),
        lines: vec![("tea".into(), -3), ("🦀".into(), i64::MIN)],
        tags: [("a".into(), None), ("b\r\n".into(), Some(true))].into(),
        unit: (),
        note: None,
    }
}

/// A server with a cashier, and a client of each encoding.
async fn cashiers() -> (NatsServer, requite::RunningServer, [CashierClient; 2]) {
    let nats = NatsServer::start().await.unwrap();
    let worker = serve(&nats.url(), Cashier).await;
    let json = Client::builder().url(nats.url()).caller("json").json().connect().await.unwrap();
    let packed = connect(&nats.url(), SHOP).await;
    (nats, worker, [CashierClient::new(packed), CashierClient::new(json)])
}

#[tokio::test]
async fn values_come_back_as_they_were() {
    let (_nats, _worker, clients) = cashiers().await;
    for client in &clients {
        for payment in [
            Payment::Cash,
            Payment::Card(u64::MAX),
            Payment::Account { iban: "DE1".into(), reference: None },
            Payment::Account { iban: "DE1".into(), reference: Some(String::new()) },
        ] {
            let mut sent = bill(payment);
            for discount in [Some(0.1), None] {
                sent.discount = discount;
                assert_eq!(within(SOON, client.settle(sent.clone())).await.unwrap(), sent);
            }
        }
        within(SOON, client.nothing()).await.unwrap();
    }
}

#[tokio::test]
async fn final_errors_come_back_as_the_callers_own_enum() {
    let (_nats, worker, clients) = cashiers().await;
    for client in &clients {
        let empty = Bill { lines: Vec::new(), ..bill(Payment::Cash) };
        let failed = within(SOON, client.settle(empty)).await;
        assert!(matches!(failed, Err(CallError::Failed(BillError::Empty))), "{failed:?}");

        let failed = within(SOON, client.settle(bill(Payment::Card(0))).key("zero")).await;
        let Err(CallError::Failed(BillError::Several(errors))) = failed else { panic!("{failed:?}") };
        assert_eq!(errors, [BillError::Empty, BillError::Declined { why: "zero".into(), retry_at: None }]);
        // Stored like a value: a retry gets the same error, without a run.
        let runs = worker.stats().runs;
        let again = within(SOON, client.settle(bill(Payment::Card(0))).key("zero")).await;
        assert!(matches!(again, Err(CallError::Failed(BillError::Several(_)))), "{again:?}");
        assert_eq!(worker.stats().runs, runs);
    }
    assert_eq!(worker.stats().dead_letters, 0, "a final error is an answer");
}

/// Nothing in an error's text may end a header, a line of a log, or a worker.
#[tokio::test]
async fn errors_with_line_ends_and_of_any_length_come_back_whole() {
    let (_nats, worker, clients) = cashiers().await;
    for client in &clients {
        for why in ["a\r\nNats-TTL: 1s\r\n\r\nb".to_owned(), "ü\r\n".repeat(50_000)] {
            let payment = Payment::Account { iban: why.clone(), reference: None };
            let failed = within(SOON, client.settle(bill(payment))).await;
            let Err(CallError::Failed(BillError::Declined { why: came, .. })) = failed else {
                panic!("{failed:?}")
            };
            assert_eq!(came, why);
        }
    }
    until("the last outcome is counted", async || worker.stats().outcomes == 4).await;
}

#[tokio::test]
async fn a_panic_is_an_error_on_one_short_line() {
    let (_nats, worker, clients) = cashiers().await;
    for client in &clients {
        let failed = within(SOON, client.crash("a\r\nb\x1b[31m".repeat(10_000))).await;
        let Err(CallError::Aborted(aborted)) = failed else { panic!("{failed:?}") };
        assert_eq!((aborted.reason, aborted.attempt), (Reason::Panicked, 1));
        assert!(aborted.text.chars().count() <= 300 && !aborted.text.contains(char::is_control), "{aborted}");
        assert!(aborted.text.starts_with("a  b"), "{aborted}");
    }
    assert_eq!(worker.stats().dead_letters, 2, "a panic is kept for people");
}

#[tokio::test]
async fn a_value_that_cannot_be_stored_is_an_error_of_its_own() {
    let (_nats, worker, clients) = cashiers().await;
    for client in &clients {
        let failed = within(SOON, client.fill(2 << 20)).await;
        let Err(CallError::Aborted(aborted)) = failed else { panic!("{failed:?}") };
        assert_eq!(aborted.reason, Reason::TooLarge);
        assert_eq!(within(SOON, client.fill(500_000)).await.unwrap().len(), 500_000);
    }
    assert_eq!(worker.stats().redeliveries, 0);
}

/// The same name, another type: a caller that was built against another contract.
#[service(name = "cashier")]
#[allow(dead_code)] // only its client is used
trait OtherCashier {
    #[handler]
    async fn settle(&self, amount: u64) -> u64;
    #[handler]
    async fn nothing(&self) -> u64;
}

#[tokio::test]
async fn a_request_of_another_type_is_rejected_and_never_runs() {
    let (nats, worker, _) = cashiers().await;
    let client = OtherCashierClient::new(connect(&nats.url(), SHOP).await);
    let rejected = within(SOON, client.settle(7).key("order")).await;
    assert!(matches!(rejected, Err(CallError::Rejected(Rejected::Undecodable { .. }))), "{rejected:?}");
    let again = within(SOON, client.settle(7).key("order")).await;
    assert!(matches!(again, Err(CallError::Rejected(Rejected::Undecodable { .. }))), "{again:?}");
    assert_eq!(worker.stats().dead_letters, 1);

    let unreadable = within(SOON, client.nothing()).await;
    let Err(CallError::Aborted(aborted)) = unreadable else { panic!("{unreadable:?}") };
    assert_eq!(aborted.reason, Reason::Undecodable);
}

#[tokio::test]
async fn a_trace_context_of_any_kind_does_no_harm() {
    let office = Office::open().await;
    let client = office.client().await;
    for trace in
        ["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "", "a\r\nRq-V: 9", &"x".repeat(5_000)]
    {
        let answer = within(SOON, client.stamp("a".into()).trace_parent(trace).deadline(SOON / 2)).await;
        assert!(answer.is_ok(), "{}: {answer:?}", trace.len());
    }
}

#[tokio::test]
async fn limits_of_any_size_do_no_harm() {
    let office = Office::open().await;
    let client = office.client().await;
    let for_ever = std::time::Duration::MAX;
    let call = client.stamp("a".into()).deadline(for_ever).accept_within(for_ever);
    within(SOON, call.start_within(for_ever).silent_for(for_ever)).await.unwrap();
    // Whatever comes of it, it comes at once.
    let at_once = std::time::Duration::from_secs(2);
    let _ = within(at_once, client.stamp("b".into()).deadline(std::time::Duration::ZERO)).await;
    within(at_once, client.hold("c".into()).deadline(std::time::Duration::ZERO)).await.unwrap_err();
}
