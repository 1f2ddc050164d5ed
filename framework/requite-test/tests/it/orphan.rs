//! What becomes of servers whose test process is killed.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use requite_test::NatsServer;

use crate::{alive, until};

/// Set for the process that is to be killed.
const VICTIM: &str = "REQUITE_TEST_VICTIM";

/// Nothing by itself; the two below run it in a process of its own, which it never leaves.
#[tokio::test]
async fn victim() {
    let Ok(pause) = std::env::var(VICTIM) else { return };
    let mut server = NatsServer::start().await.unwrap();
    if pause == "paused" {
        server.pause().unwrap();
    }
    println!("\nvictim {} {} {}", server.pid().unwrap(), server.watchdog_pid(), server.store_dir().display());
    std::future::pending().await
}

async fn kill_victim(state: &str) {
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "orphan::victim", "--nocapture"])
        .env(VICTIM, state)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    let line =
        lines.map(Result::unwrap).find(|line| line.starts_with("victim ")).expect("the victim has a server");
    let words: Vec<&str> = line.split(' ').collect();
    let (server, watchdog) = (words[1].parse().unwrap(), words[2].parse().unwrap());
    assert!(alive(server) && alive(watchdog));

    victim.kill().unwrap();
    victim.wait().unwrap();
    until("the orphan is gone", || !alive(server)).await;
    until("its watchdog is gone", || !alive(watchdog)).await;
    let store = PathBuf::from(words[3]);
    assert!(!store.join("jetstream/$G").exists());
}

#[tokio::test]
async fn orphan_is_killed() {
    kill_victim("running").await;
}

#[tokio::test]
async fn paused_orphan_is_killed() {
    kill_victim("paused").await;
}
