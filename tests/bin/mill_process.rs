//! A worker or a caller for tests to kill, stop and terminate.

use anyhow::Context;
use tests::role::Role;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    Role::of_this_process()?.context("only tests start this, with a role")?.play().await
}
