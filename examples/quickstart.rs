//! Run with `cargo run --release --bin quickstart`: a slow handler, an impatient client, one run.
//!
//! The handler takes three leases. The client loses patience every second, drops its call and calls again with the same
//! key. In the end everybody who hung up asks once more, and all get the receipt of the one run.

#![allow(clippy::print_stdout, reason = "what an example prints is what it shows")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use examples::{Clock, Nats, fresh_key};
use requite::{CallEvent, prelude::*};

const PATIENCE: Duration = Duration::from_secs(1);

struct Billing;

#[service(name = "quickstart")]
impl Billing {
    /// Charges a card, at a bank that takes its time: three leases.
    #[handler(lease = "6s")]
    async fn charge(&self, cx: &Context, cents: u64) -> String {
        tokio::time::sleep(Duration::from_secs(18)).await;
        format!("receipt: {cents} cents, charged in attempt {}", cx.attempt())
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let nats = Nats::from_env().await?;
    let server = Server::connect(nats.url()).await?.serve(Billing).start().await?;
    let billing = BillingClient::connect(nats.url()).await?;
    let (key, clock, sends) = (fresh_key("order"), Clock::start(), Arc::new(AtomicU32::new(0)));

    let mut hung_up = 0;
    let receipt = loop {
        let caller = hung_up + 1;
        let sends = Arc::clone(&sends);
        let call = billing.charge(4200).key(&key).on_event(move |event| match event {
            CallEvent::Sent { .. } => {
                sends.fetch_add(1, Ordering::Relaxed);
                clock.print(format!("caller {caller:2}  sends the request"));
            }
            CallEvent::Accepted => clock.print(format!("caller {caller:2}  accepted")),
            CallEvent::Started { attempt, .. } => {
                clock.print(format!("caller {caller:2}  started, attempt {attempt}"));
            }
            CallEvent::Alive { .. } => clock.print(format!("caller {caller:2}  heartbeat")),
            CallEvent::Done { attempt } => {
                clock.print(format!("caller {caller:2}  outcome of attempt {attempt}"))
            }
            _ => {}
        });
        match tokio::time::timeout(PATIENCE, async { call.await }).await {
            Ok(answer) => break answer?,
            Err(_) => clock.print(format!("caller {caller:2}  lost patience")),
        }
        hung_up += 1;
    };
    clock.print(&receipt);

    // Those who hung up ask for the answer to what they sent; asking sends nothing.
    let mut answers = 1;
    for _ in 0..hung_up {
        anyhow::ensure!(billing.attach_charge(&key).await? == receipt, "another answer");
        answers += 1;
    }
    clock.print(format!("all {hung_up} who hung up asked again and got the same receipt"));
    let (stats, sends) = (server.stats(), sends.load(Ordering::Relaxed));
    let (runs, heartbeats, redeliveries) = (stats.runs, stats.heartbeats, stats.redeliveries);
    println!(
        "runs={runs} sends={sends} answers={answers} heartbeats={heartbeats} redeliveries={redeliveries}"
    );
    Ok(())
}
