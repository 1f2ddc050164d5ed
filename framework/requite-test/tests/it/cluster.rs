//! Three servers, and what happens when one fails.

use std::time::Duration;

use requite_test::{NatsCluster, NatsServer, ServerError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{alive, ask};

#[tokio::test]
async fn cluster_survives_the_kill_of_its_leader() {
    let mut cluster = NatsCluster::start(3).await.unwrap();
    assert_eq!(cluster.urls().len(), 3);
    let stream = r#"{"name":"ORDERS","subjects":["orders.>"],"num_replicas":3}"#;
    let made = ask(cluster.node(0), "$JS.API.STREAM.CREATE.ORDERS", stream).await;
    assert!(made.get("error").is_none(), "{made}");

    let leader = cluster.wait_ready().await.unwrap();
    let pid = {
        let node = cluster.node_by_name(&leader).unwrap();
        let pid = node.pid().unwrap();
        node.kill9().await;
        pid
    };
    assert!(!alive(pid));
    let next = cluster.wait_ready().await.unwrap();
    assert_ne!(next, leader);
    let survivor = cluster.nodes().iter().find(|node| node.name() == next).unwrap();
    let made = ask(survivor, "$JS.API.STREAM.CREATE.MORE", r#"{"name":"MORE","subjects":["more"]}"#).await;
    assert!(made.get("error").is_none(), "{made}");

    cluster.node_by_name(&leader).unwrap().restart().await.unwrap();
    cluster.wait_ready().await.unwrap();
}

#[tokio::test]
async fn clusters_side_by_side_do_not_join() {
    let (one, two) = tokio::join!(NatsCluster::start(3), NatsCluster::start(3));
    let (mut one, mut two) = (one.unwrap(), two.unwrap());
    let (first, second) = (one.wait_ready().await.unwrap(), two.wait_ready().await.unwrap());
    assert!(one.node_by_name(&first).is_some() && one.node_by_name(&second).is_none());
    assert!(two.node_by_name(&second).is_some() && two.node_by_name(&first).is_none());
}

#[tokio::test]
async fn one_of_three_is_never_ready() {
    let builder = NatsCluster::builder().version("2.14.6").patience(Duration::from_secs(10));
    let mut cluster = builder.start(3).await.unwrap();
    cluster.node_mut(1).kill9().await;
    cluster.node_mut(2).kill9().await;
    let error = cluster.wait_ready().await.unwrap_err();
    assert!(
        matches!(error, ServerError::NotReady { .. }) && error.to_string().contains("no majority"),
        "{error}"
    );
    cluster.node_mut(1).restart().await.unwrap();
    cluster.wait_ready().await.unwrap();
}

/// Whether a message is stored by way of this node.
async fn stores(cluster: &NatsCluster, node: usize) -> bool {
    let answer = cluster.node(node).ask("orders.new", "x").await;
    answer.is_ok_and(|answer| String::from_utf8_lossy(&answer).contains("\"seq\""))
}

/// How many routes a node has.
async fn routes(server: &NatsServer) -> u64 {
    let mut stream = TcpStream::connect(server.monitor_url().trim_start_matches("http://")).await.unwrap();
    stream.write_all(b"GET /routez HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    serde_json::from_str::<serde_json::Value>(body).unwrap()["num_routes"].as_u64().unwrap()
}

async fn until_stored(cluster: &NatsCluster, node: usize) {
    let stored = async {
        while !stores(cluster, node).await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), stored).await.unwrap();
}

#[tokio::test]
async fn node_that_is_cut_off_keeps_its_clients_and_takes_nothing() {
    let cluster = NatsCluster::builder().severable().start(3).await.unwrap();
    let stream = r#"{"name":"ORDERS","subjects":["orders.>"],"num_replicas":3}"#;
    let made = ask(cluster.node(0), "$JS.API.STREAM.CREATE.ORDERS", stream).await;
    assert!(made.get("error").is_none(), "{made}");
    for node in [0, 1, 2] {
        until_stored(&cluster, node).await;
    }

    assert!(routes(cluster.node(1)).await > 0);
    cluster.cut(1).await;
    // None goes past the proxies, whatever the nodes told each other.
    let alone = async { while routes(cluster.node(1)).await > 0 {} };
    tokio::time::timeout(Duration::from_secs(20), alone).await.unwrap();
    until_stored(&cluster, 0).await;
    assert!(!stores(&cluster, 1).await && stores(&cluster, 2).await);
    cluster.rejoin(1).await.unwrap();
    until_stored(&cluster, 1).await;

    cluster.freeze(2);
    until_stored(&cluster, 0).await;
    assert!(!stores(&cluster, 2).await && stores(&cluster, 1).await);
    cluster.rejoin(2).await.unwrap();
    until_stored(&cluster, 2).await;
}
