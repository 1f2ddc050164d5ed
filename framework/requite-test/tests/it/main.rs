//! What the runner promises, tried on real servers.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // also in the functions that the tests share

mod cluster;
mod download;
mod finder;
mod orphan;
mod proxy;
mod server;

use std::fs;
use std::time::{Duration, Instant};

use requite_test::NatsServer;

/// Whether the process runs. A zombie does not: where nobody reaps orphans, they stay.
fn alive(pid: u32) -> bool {
    let pid = rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap();
    let zombie = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, fields)| fields.starts_with('Z'))
    };
    rustix::process::test_kill_process(pid).is_ok() && !zombie()
}

/// Waits for a condition that nothing announces.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "still not: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn ask(server: &NatsServer, subject: &str, payload: &str) -> serde_json::Value {
    serde_json::from_slice(&server.ask(subject, payload).await.unwrap()).unwrap()
}

/// Makes the stream ORDERS with one message.
async fn fill(server: &NatsServer) {
    let stream =
        ask(server, "$JS.API.STREAM.CREATE.ORDERS", r#"{"name":"ORDERS","subjects":["orders.>"]}"#).await;
    assert!(stream.get("error").is_none(), "{stream}");
    let stored = ask(server, "orders.new", "an order").await;
    assert_eq!(stored["seq"], 1, "{stored}");
}

async fn messages(server: &NatsServer) -> serde_json::Value {
    ask(server, "$JS.API.STREAM.INFO.ORDERS", "").await["state"]["messages"].take()
}
