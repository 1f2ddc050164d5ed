//! A thousand streams at once in one worker, and what is left of those that are over.

use requite::{Items, RunningServer, Sink, prelude::*};
use requite_test::NatsServer;

use super::flow::all;
use crate::caller::fixture::{SHOP, SOON, connect, serve, until, within};

const STREAMS: u64 = 1_000;

struct Station;

#[service(name = "station")]
impl Station {
    /// Sends everything back with the platform's number, once all are there.
    #[handler(concurrency = 1000)]
    async fn platform(&self, number: u64, mut trains: Items<u64>, mut seen: Sink<u64>) -> u64 {
        let mut count = 0;
        while let Some(Ok(train)) = trains.next().await {
            count += 1;
            if seen.send(number * 1_000 + train).await.is_err() {
                break;
            }
        }
        count
    }

    /// Sends nothing.
    #[handler]
    async fn siding(&self, _trains: Sink<u64>) {}
}

async fn station(url: &str) -> (RunningServer, StationClient) {
    (serve(url, Station).await, StationClient::new(connect(url, SHOP).await))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_streams_flow_at_once_in_one_worker() {
    let nats = NatsServer::start().await.unwrap();
    let (worker, client) = station(&nats.url()).await;
    let mut platforms = Vec::new();
    for number in 0..STREAMS {
        platforms.push((number, within(SOON, client.platform(number).open()).await.unwrap()));
    }
    // All of them are under way before any of them ends.
    for (number, (trains, seen, _)) in &mut platforms {
        within(SOON, trains.send(1)).await.unwrap();
        assert_eq!(within(SOON * 3, seen.next()).await, Some(Ok(*number * 1_000 + 1)));
    }
    assert_eq!(worker.in_hand() as u64, STREAMS);
    let talks = platforms.into_iter().map(|(number, (mut trains, mut seen, call))| {
        tokio::spawn(async move {
            for train in 2..=20 {
                trains.send(train).await.unwrap();
            }
            trains.finish().await.unwrap();
            let wanted: Vec<u64> = (2..=20).map(|train| number * 1_000 + train).collect();
            assert_eq!(all(&mut seen).await.unwrap(), wanted);
            assert_eq!(call.await.unwrap(), 20);
        })
    });
    for talk in talks.collect::<Vec<_>>() {
        within(SOON * 6, talk).await.unwrap();
    }
}

#[tokio::test]
async fn nothing_is_left_of_a_call_whose_sink_was_not_used() {
    let nats = NatsServer::start().await.unwrap();
    let (_worker, client) = station(&nats.url()).await;
    let tasks = tokio::runtime::Handle::current().metrics();
    let siding = async || {
        let (mut seen, call) = within(SOON, client.siding().open()).await.unwrap();
        assert_eq!(within(SOON, seen.next()).await, None);
        within(SOON, call).await.unwrap();
    };
    siding().await;
    let before = tasks.num_alive_tasks();
    for _ in 0..50 {
        siding().await;
    }
    until("the tasks of all calls have ended", async || tasks.num_alive_tasks() < before + 10).await;
}
