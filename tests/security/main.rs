//! The permissions of the framework on real servers: every flow that is meant works under them, and every attack that
//! we know of is refused, comes to nothing, or is a limit that the documentation names.
//!
//! `-- --nocapture` shows the tables.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // also in the functions that the tests share

mod actor;
mod attacks;
mod attempt;
mod flows;
mod forgeries;
mod stage;
mod target;

use std::{pin::Pin, time::Duration};

use actor::{Actor, Sent};
use attacks::{HEARS, ITEMS, READS, REFLECTIONS, Row, SETTLES, STREAMS, WRITES};
use attempt::{Expected, judge};
use stage::{Layout, PATIENCE, Stage, VaultClient, until};
use target::Target;

/// The oldest server that is supported, one between, and the newest.
const VERSIONS: [&str; 3] = ["2.12.8", "2.14.6", "2.15.1"];

/// What comes of `work`, which may not hang. Boxed, because together they are too large for the stack of a test.
async fn ends<T>(work: Pin<Box<impl Future<Output = T>>>) -> T {
    tokio::time::timeout(4 * PATIENCE, work).await.expect("it ends")
}

async fn flows_work_on(version: &str) {
    let (one, two) = tokio::join!(
        ends(Box::pin(flows::all_flows(version, Layout::OneAccount))),
        ends(Box::pin(flows::all_flows(version, Layout::TwoAccounts)))
    );
    for (layout, done) in [(Layout::OneAccount, one), (Layout::TwoAccounts, two)] {
        for flow in &done {
            println!("{version:<7} | {layout:<12} | {flow}");
        }
        println!("proof | permitted flows, {layout}, {version} | {} flows | 0 denials", done.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_meant_works_on_the_oldest_server() {
    flows_work_on(VERSIONS[0]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_meant_works_on_the_server_between() {
    flows_work_on(VERSIONS[1]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_meant_works_on_the_newest_server() {
    flows_work_on(VERSIONS[2]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_meant_works_on_three_replicas() {
    let done = flows::flows_on_three_replicas(VERSIONS[2]).await;
    println!("proof | permitted flows, three replicas, {} | {} flows | 0 denials", VERSIONS[2], done.len());
}

/// Every row of the table on one server: denied, without effect, or a limit that is known.
async fn attacks_fail_on(version: &str, layout: Layout) {
    let stage = Stage::new(version, layout).await;
    let keeper = stage.keeper(Duration::from_secs(5)).await;
    let shop = stage.caller("shop").await;
    let secret = stage.secret("rq_OUT_vault").await;
    for mine in [
        format!("rq.put.{secret}.out.vault.shop.{}", target::ORDER),
        format!("rq.itm.vault.shop.{}.up.1", target::ORDER),
    ] {
        stage.root.store(&Sent::to(mine).body("the shop's")).await;
    }
    let url = stage.nats.url();
    let actors = [
        Actor::connect(&url, "mallory").await,
        Actor::connect(&url, "minter").await,
        Actor::connect(&url, "auditor").await,
        Actor::connect(&url, "keeper").await,
    ];
    let (mut number, mut counts) = (0, [0; 3]);
    for row in [READS, HEARS, WRITES, SETTLES, STREAMS, REFLECTIONS, ITEMS].into_iter().flatten() {
        for actor in actors.iter().filter(|it| row.actors.contains(&it.name)) {
            let expected = try_row(&stage, &shop, actor, row, number).await;
            number += 2;
            counts[expected as usize] += 1;
            println!("{version:<7} | {layout:<12} | {:<8} | {:<50} | {expected:?}", actor.name, row.name);
        }
    }
    stage.vault.open_gate();
    assert_eq!(shop.stamp("still here".into()).await.unwrap(), "still here");
    until("what was held is answered", async || keeper.in_hand() == 0).await;
    keeper.shutdown().await;
    let [denied, nothing, works] = counts;
    println!(
        "proof | attacks, {layout}, {version} | {} attempts | {denied} denied, {nothing} without effect, {works} known limits",
        denied + nothing + works
    );
}

async fn try_row(stage: &Stage, shop: &VaultClient, actor: &Actor, row: &Row, number: usize) -> Expected {
    let (tried, shown) = (
        Target::new(stage, shop, row.needs, number).await,
        Target::new(stage, shop, row.needs, number + 1).await,
    );
    let (attempt, control) = ((row.attempt)(&tried), row.control.unwrap_or(row.attempt)(&shown));
    judge(stage, actor, &format!("{} {}", actor.name, row.name), &attempt, &control).await;
    attempt.expected
}

async fn forgeries_fail_on(version: &str, layout: Layout) {
    let tried = ends(Box::pin(forgeries::all_forgeries(version, layout))).await;
    for forgery in &tried {
        println!("{version:<7} | {layout:<12} | forged   | {forgery:<50} | Nothing");
    }
    println!("proof | forgeries, {layout}, {version} | {} forgeries | nobody believed one", tried.len());
}

async fn nothing_else_works_on(version: &str) {
    for layout in [Layout::OneAccount, Layout::TwoAccounts] {
        tokio::join!(ends(Box::pin(attacks_fail_on(version, layout))), forgeries_fail_on(version, layout));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_meant_fails_on_the_oldest_server() {
    nothing_else_works_on(VERSIONS[0]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_meant_fails_on_the_server_between() {
    nothing_else_works_on(VERSIONS[1]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_meant_fails_on_the_newest_server() {
    nothing_else_works_on(VERSIONS[2]).await;
}
