//! Run with `cargo run --bin chat`: the guest's connection is cut in the middle of a talk, and the talk goes on.

#![allow(clippy::print_stdout, reason = "what an example prints is what it shows")]

use std::{collections::BTreeSet, time::Duration};

use examples::{Clock, Nats};
use requite::{Items, ItemsError, Sink, prelude::*};
use requite_test::Proxy;
use tokio::{sync::Semaphore, time::sleep};

const BEFORE: [&str; 3] = ["Good evening.", "Is the kitchen open?", "I take the soup."];
const DURING: [&str; 2] = ["Hello?", "And some bread."];
const AFTER: [&str; 2] = ["It was good.", "The bill, please."];
/// Has a permit for each answer that is stored.
static ANSWERED: Semaphore = Semaphore::const_new(0);

/// Answers every line until the guest ends the talk, or is gone, and says how many there were.
#[service(name = "chat")]
async fn talk(mut lines: Items<String>, mut answers: Sink<String>) -> usize {
    let mut heard = 0;
    while let Some(Ok(line)) = lines.next().await {
        heard += 1;
        sleep(Duration::from_millis(200)).await;
        if answers.send(format!("noted: {line}")).await.is_err() || answers.flush().await.is_err() {
            break;
        }
        ANSWERED.add_permits(1);
    }
    heard
}

async fn say(clock: Clock, lines: &mut Sink<String>, texts: &[&str]) -> anyhow::Result<()> {
    for text in texts {
        sleep(Duration::from_millis(400)).await;
        lines.send((*text).into()).await?;
        clock.print(format!("guest   {text}"));
    }
    Ok(())
}

async fn listen(clock: Clock, mut answers: Items<String>) -> Result<Vec<String>, ItemsError> {
    let mut received = Vec::new();
    while let Some(answer) = answers.next().await.transpose()? {
        clock.print(format!("waiter  {answer}"));
        received.push(answer);
    }
    Ok(received)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let (nats, clock) = (Nats::from_env().await?, Clock::start());
    let server = Server::connect(nats.url()).await?.serve(Talk).start().await?;
    let proxy = Proxy::start(nats.address().await?).await?;
    let waiter = TalkClient::connect(&proxy.url()).await?;
    let (mut lines, answers, call) = waiter.talk().deadline(Duration::from_secs(60)).open().await?;
    let listening = tokio::spawn(listen(clock, answers));
    say(clock, &mut lines, &BEFORE).await?;
    lines.flush().await?;
    proxy.cut().await;
    clock.print("cut");
    ANSWERED.acquire_many(3).await?.forget();
    clock.print("the third answer is stored all the same");
    say(clock, &mut lines, &DURING).await?;
    proxy.heal().await?;
    clock.print("healed");
    say(clock, &mut lines, &AFTER).await?;
    lines.finish().await?;
    let (heard, received) = (call.await?, listening.await??);
    let sent = [&BEFORE[..], &DURING, &AFTER].concat();
    let lost = sent.iter().filter(|line| !received.iter().any(|it| it.ends_with(**line))).count();
    let repeated = received.len() - received.iter().collect::<BTreeSet<_>>().len();
    let (runs, sent, received) = (server.stats().runs, sent.len(), received.len());
    println!("runs={runs} sent={sent} heard={heard} received={received} lost={lost} repeated={repeated}");
    Ok(())
}
