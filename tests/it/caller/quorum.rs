//! A cluster that lost its majority: callers learn it in time, and nothing that was accepted is lost.

use std::{
    future::IntoFuture,
    time::{Duration, Instant},
};

use requite::{CallError, RunningServer, Unavailable, Unknown, Why, prelude::*};
use requite_test::NatsCluster;

use super::fixture::{SHOP, SOON, connect, within};

struct Echo;

#[service(name = "echo")]
impl Echo {
    #[handler(lease = "20s")]
    async fn echo(&self, text: String) -> String {
        text
    }
}

async fn serve_replicated(cluster: &NatsCluster) -> RunningServer {
    let office = connect(&cluster.urls().join(","), "office").await;
    Server::new(&office).replicas(3).serve(Echo).start().await.unwrap()
}

#[tokio::test]
async fn two_lost_servers_of_three_are_told_in_time_and_heal() {
    let mut cluster = NatsCluster::start(3).await.unwrap();
    let _worker = within(3 * SOON, serve_replicated(&cluster)).await;
    let client = EchoClient::new(connect(&cluster.url(0), SHOP).await);
    let first = within(3 * SOON, client.echo("a".into()).key("order")).await.unwrap();

    cluster.node_mut(1).kill9().await;
    cluster.node_mut(2).kill9().await;
    let patience = Duration::from_secs(3);
    for number in 0..2 {
        let begun = Instant::now();
        let key = format!("lost {number}");
        let lost = within(2 * SOON, client.echo("b".into()).key(key).accept_within(patience)).await;
        assert!(
            matches!(
                lost,
                Err(CallError::Unavailable(Unavailable::NoQuorum)
                    | CallError::Unknown(Unknown { why: Why::AcceptanceUnknown, .. }))
            ),
            "{lost:?}"
        );
        assert!(begun.elapsed() < patience + Duration::from_secs(1), "{:?}", begun.elapsed());
    }

    // A call that waits for the majority to come back is accepted then.
    let waiting = tokio::spawn(client.echo("c".into()).key("waits").accept_within(6 * SOON).into_future());
    cluster.node_mut(1).restart().await.unwrap();
    assert_eq!(within(6 * SOON, waiting).await.unwrap().unwrap(), "c");
    assert_eq!(within(3 * SOON, client.echo("a".into()).key("order")).await.unwrap(), first);
}
