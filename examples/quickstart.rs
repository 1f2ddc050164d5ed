//! Run with `cargo run --release --bin quickstart`: a slow handler, an impatient client, one run.
//!
//! The handler takes three leases. The client loses patience every second, drops its call and calls again with the same
//! key. In the end everybody who hung up asks once more, and all get the receipt of the one run.

#![allow(clippy::print_stdout, reason = "what an example prints is what it shows")]

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};
use std::{future::IntoFuture, time::Duration};

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

fn show(clock: Clock, caller: u32, event: &CallEvent) {
    let text = match event {
        CallEvent::Sent { .. } => "sends the request".into(),
        CallEvent::Accepted { .. } => "accepted".into(),
        CallEvent::Started { attempt, .. } => format!("started, attempt {attempt}"),
        CallEvent::Alive { .. } => "heartbeat".into(),
        CallEvent::Done { attempt } => format!("outcome of attempt {attempt}"),
        _ => return,
    };
    clock.print(format!("caller {caller:2}  {text}"));
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let nats = Nats::from_env().await?;
    let server = Server::connect(nats.url()).await?.serve(Billing).start().await?;
    let billing = BillingClient::connect(nats.url()).await?;
    let (key, clock, sends) = (fresh_key("order"), Clock::start(), Arc::new(AtomicU32::new(0)));

    let mut hung_up = 0;
    let receipt = loop {
        let (caller, counted) = (hung_up + 1, Arc::clone(&sends));
        let call = billing.charge(4200).key(&key).on_event(move |event| {
            counted.fetch_add(u32::from(matches!(event, CallEvent::Sent { .. })), Ordering::Relaxed);
            show(clock, caller, event);
        });
        match tokio::time::timeout(PATIENCE, call.into_future()).await {
            Ok(answer) => break answer?,
            Err(_) => clock.print(format!("caller {caller:2}  lost patience")),
        }
        hung_up += 1;
    };
    clock.print(&receipt);

    // For every send but the last, whoever hung up asks once more; asking sends nothing.
    let (sends, mut answers) = (sends.load(Ordering::Relaxed), 1);
    for _ in 1..sends {
        anyhow::ensure!(billing.attach_charge(&key).await? == receipt, "another answer");
        answers += 1;
    }
    clock.print(format!("the {hung_up} who hung up asked again and got the same receipt"));
    let stats = server.stats();
    let (runs, heartbeats, redeliveries) = (stats.runs, stats.heartbeats, stats.redeliveries);
    println!(
        "runs={runs} sends={sends} answers={answers} heartbeats={heartbeats} redeliveries={redeliveries}"
    );
    Ok(())
}
