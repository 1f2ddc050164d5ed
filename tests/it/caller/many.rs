//! Several services, workers and clients in one process: nobody gets what is another's.

use requite::prelude::*;
use requite_test::NatsServer;
use tokio::task::JoinSet;

use super::fixture::{SOON, connect, within};

struct Doubler;

#[service(name = "doubler")]
impl Doubler {
    #[handler(lease = "6s", concurrency = 4)]
    async fn double(&self, n: u64) -> u64 {
        tokio::task::yield_now().await;
        2 * n
    }
}

struct Namer(&'static str);

#[service(name = "namer")]
impl Namer {
    #[handler(lease = "6s")]
    async fn name(&self, cx: &Context, n: u64) -> String {
        format!("{} {} {n}", self.0, cx.caller())
    }

    #[handler(lease = "6s")]
    async fn double(&self, n: u64) -> String {
        format!("{n}{n}")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mixed_calls_of_many_clients_all_get_their_own_answer() {
    let nats = NatsServer::start().await.unwrap();
    let worker = connect(&nats.url(), "office").await;
    let one = Server::new(&worker).serve(Doubler).serve(Namer("one")).start().await.unwrap();
    let two = Server::new(&worker).serve(Doubler).start().await.unwrap();
    let clients = [
        connect(&nats.url(), "shop").await,
        connect(&nats.url(), "shop").await,
        connect(&nats.url(), "bank").await,
    ];

    let mut calls = JoinSet::new();
    for n in 0..64 {
        let client = clients[n as usize % clients.len()].clone();
        let caller = client.caller().clone();
        calls.spawn(async move {
            let (doubler, namer) = (DoublerClient::new(client.clone()), NamerClient::new(client));
            match n % 4 {
                0 => assert_eq!(doubler.double(n).await.unwrap(), 2 * n),
                1 => assert_eq!(namer.name(n).await.unwrap(), format!("one {caller} {n}")),
                2 => assert_eq!(namer.double(n).await.unwrap(), format!("{n}{n}")),
                _ => assert_eq!(doubler.double(n).key(n.to_string()).await.unwrap(), 2 * n),
            }
        });
    }
    within(2 * SOON, async {
        while let Some(call) = calls.join_next().await {
            call.unwrap();
        }
    })
    .await;
    let runs = one.stats().runs + two.stats().runs;
    assert_eq!(runs, 64);
    assert_eq!(one.stats().redeliveries + two.stats().redeliveries, 0);
}

#[tokio::test]
async fn namespaces_on_one_server_never_meet() {
    let nats = NatsServer::start().await.unwrap();
    let client = async |namespace: &str| {
        Client::builder().url(nats.url()).caller("shop").namespace(namespace).connect().await.unwrap()
    };
    let (live, test) = (client("live").await, client("test").await);
    let live_worker = Server::new(&live).serve(Namer("live")).start().await.unwrap();
    let test_worker = Server::new(&test).serve(Namer("test")).start().await.unwrap();
    let answer = within(SOON, NamerClient::new(live).name(1).key("order")).await.unwrap();
    assert_eq!(answer, "live shop 1");
    let answer = within(SOON, NamerClient::new(test).name(1).key("order")).await.unwrap();
    assert_eq!(answer, "test shop 1");
    assert_eq!((live_worker.stats().runs, test_worker.stats().runs), (1, 1));
}
