//! Streams of a caller that speaks JSON: both directions, stored or not, and read by one that does not.

use futures_util::StreamExt;
use requite::{Accepted, Client, Items, Sink, async_nats};
use serde::Deserialize;
use serde_bytes::ByteBuf;

use super::{
    fixture::{BeltClient, Hall, Jammed},
    flow::all,
};
use crate::caller::fixture::{SHOP, SOON, within};

const LAST: u64 = 1_000;

/// A frame, as far as it matters here.
#[derive(Deserialize)]
struct Frame {
    content_type: String,
    items: Vec<ByteBuf>,
}

const UP: &str = "rq.in.*.belt.*.*.up.*";
const DOWN: &str = "rq.in.*.belt.*.*.down.*";
const UP_UNSTORED: &str = "rq.ctl.belt.*.*.*.up";
const DOWN_UNSTORED: &str = "rq.sig.belt.*.*.*.down";

/// A client that speaks JSON, and somebody who hears all frames.
struct Office {
    hall: Hall,
    client: BeltClient,
    spy: async_nats::Client,
}

impl Office {
    async fn open() -> Self {
        let hall = Hall::open().await;
        let client = Client::builder().url(hall.nats.url()).caller(SHOP).json().connect().await.unwrap();
        let spy = async_nats::connect(hall.nats.url()).await.unwrap();
        Self { client: BeltClient::new(client), spy, hall }
    }

    async fn hears(&self, subject: &str) -> async_nats::Subscriber {
        let frames = self.spy.subscribe(subject.to_owned()).await.unwrap();
        self.spy.flush().await.unwrap();
        frames
    }

    /// The numbers that travelled there, each as JSON has it.
    async fn carried(&self, subject: &str, mut frames: async_nats::Subscriber) -> Vec<u64> {
        let end = subject.replace('*', "end");
        // What the server sent before this is heard before it.
        self.spy.publish(end.clone(), "".into()).await.unwrap();
        let mut numbers = Vec::new();
        loop {
            let message = within(SOON, frames.next()).await.unwrap();
            if message.subject.as_str() == end {
                return numbers;
            }
            let frame: Frame = rmp_serde::from_slice(&message.payload).unwrap();
            assert_eq!(frame.content_type, "application/json");
            for item in frame.items {
                let text = std::str::from_utf8(&item).unwrap();
                numbers.push(text.parse::<u64>().unwrap());
            }
        }
    }
}

fn numbers(step: u64) -> Vec<u64> {
    (1..=LAST).map(|number| number * step).collect()
}

async fn talk((mut numbers, mut doubles, call): (Sink<u64>, Items<u64>, Accepted<u64, Jammed>)) {
    for number in 1..=LAST {
        within(SOON, numbers.send(number)).await.unwrap();
    }
    within(SOON, numbers.finish()).await.unwrap();
    assert_eq!(all(&mut doubles).await.unwrap(), self::numbers(2));
    assert_eq!(within(SOON, call).await.unwrap(), LAST);
}

#[tokio::test]
async fn stored_streams_travel_as_json_both_ways() {
    let office = Office::open().await;
    let up = office.hears(UP).await;
    let down = office.hears(DOWN).await;
    talk(within(SOON, office.client.double().open()).await.unwrap()).await;
    assert_eq!(office.carried(UP, up).await, numbers(1));
    assert_eq!(office.carried(DOWN, down).await, numbers(2));
}

#[tokio::test]
async fn streams_that_are_not_stored_travel_as_json_both_ways() {
    let office = Office::open().await;
    let up = office.hears(UP_UNSTORED).await;
    let down = office.hears(DOWN_UNSTORED).await;
    talk(within(SOON, office.client.double_unstored().open()).await.unwrap()).await;
    // What nobody said yet that he has, may have been sent again.
    let once = async |subject, frames| {
        let mut carried = office.carried(subject, frames).await;
        carried.sort_unstable();
        carried.dedup();
        carried
    };
    assert_eq!(once(UP_UNSTORED, up).await, numbers(1));
    assert_eq!(once(DOWN_UNSTORED, down).await, numbers(2));
}

#[tokio::test]
async fn a_returned_stream_of_a_caller_that_speaks_json_is_read_by_one_that_does_not() {
    let office = Office::open().await;
    let down = office.hears(DOWN).await;
    let (mut items, call) = within(SOON, office.client.count_to(LAST).key("one").open()).await.unwrap();
    assert_eq!(all(&mut items).await.unwrap(), numbers(1));
    within(SOON, call).await.unwrap();
    assert_eq!(office.carried(DOWN, down).await, numbers(1));
    let attach = office.hall.client.attach_count_to("one");
    let (mut items, call) = within(SOON, attach.open()).await.unwrap();
    assert_eq!(all(&mut items).await.unwrap(), numbers(1));
    within(SOON, call).await.unwrap();
}
