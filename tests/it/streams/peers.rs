//! Peers that are slow, leave, give up or vanish.

use std::{sync::atomic::Ordering, time::Duration};

use requite::{CallError, ItemsError, Reason, SinkError};
use requite_test::{NatsServer, Proxy};

use super::{
    fixture::{Belt, BeltClient, Hall},
    flow::all,
};
use crate::caller::fixture::{SHOP, SOON, connect, serve, until, within};

/// What may be sent and not read.
const CREDIT: u64 = 16 * 1024;

#[tokio::test]
async fn a_reader_that_does_not_read_stops_the_producer_until_it_does() {
    let hall = Hall::open().await;
    let (mut items, call) = within(SOON, hall.client.count_to(3 * CREDIT).open()).await.unwrap();
    let moved = || hall.belt.moved.load(Ordering::SeqCst);
    until("the producer has used up its credit", async || moved() > CREDIT).await;
    // Of what comes after, nothing does. One more was made than could be sent.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(moved(), CREDIT + 1);
    assert_eq!(all(&mut items).await.unwrap().len() as u64, 3 * CREDIT);
    within(SOON, call).await.unwrap();
}

#[tokio::test]
async fn a_handler_that_does_not_read_stops_the_caller_and_one_that_ends_tells_it() {
    let hall = Hall::open().await;
    // Nobody takes the request: it is queued.
    hall.worker.shutdown().await;
    let (mut numbers, call) = within(SOON, hall.client.wait_for().open()).await.unwrap();
    let mut sent = 0;
    while tokio::time::timeout(Duration::from_secs(1), numbers.send(sent)).await.is_ok() {
        sent += 1;
    }
    assert_eq!(sent, CREDIT);
    within(SOON, call.cancel()).await.unwrap();
    let _worker = serve(&hall.nats.url(), hall.belt.clone()).await;
    let refused = within(SOON, async {
        loop {
            if let Err(error) = numbers.send(0).await {
                return error;
            }
        }
    });
    assert_eq!(refused.await, SinkError::Ended);
    assert!(matches!(within(SOON, call).await, Err(CallError::Cancelled(_))));
}

#[tokio::test]
async fn a_reader_that_leaves_ends_the_producer() {
    let hall = Hall::open().await;
    let (mut items, call) = within(SOON, hall.client.until_left().open()).await.unwrap();
    assert_eq!(within(SOON, items.next()).await, Some(Ok(1)));
    drop(items);
    assert!(within(SOON, call).await.unwrap() > 1);
}

/// Nobody was there to hear that it left when it did.
#[tokio::test]
async fn a_reader_that_left_before_the_handler_started_ends_the_producer() {
    let hall = Hall::open().await;
    hall.worker.shutdown().await;
    let (items, call) = within(SOON, hall.client.until_left().open()).await.unwrap();
    drop(items);
    let _worker = serve(&hall.nats.url(), hall.belt.clone()).await;
    assert!(within(SOON * 2, call).await.unwrap() > 1);
}

#[tokio::test]
async fn a_caller_that_gives_up_tells_the_handler() {
    let hall = Hall::open().await;
    let (mut numbers, call) = within(SOON, hall.client.wait_for().open()).await.unwrap();
    within(SOON, numbers.send(1)).await.unwrap();
    drop(numbers);
    assert_eq!(within(SOON, call).await.unwrap(), ItemsError::Abandoned.to_string());
}

#[tokio::test]
async fn a_handler_is_told_of_a_caller_that_vanished_within_the_idle_limit() {
    let hall = Hall::open().await;
    let network = Proxy::start(([127, 0, 0, 1], hall.nats.port()).into()).await.unwrap();
    let far = BeltClient::new(connect(&network.url(), SHOP).await);
    let (mut numbers, call) = within(SOON, far.wait_for().key("vanishes").open()).await.unwrap();
    within(SOON, numbers.send(1)).await.unwrap();
    until("it has come", async || hall.belt.moved.load(Ordering::SeqCst) == 1).await;
    network.cut().await;
    let answer = within(SOON, hall.client.attach_wait_for("vanishes").open()).await.unwrap().1;
    let silent = ItemsError::Silent { idle: Duration::from_secs(3) };
    assert_eq!(within(SOON, answer).await.unwrap(), silent.to_string());
    drop((numbers, call));
}

#[tokio::test]
async fn a_returned_stream_that_nobody_reads_ends_within_the_idle_limit() {
    let hall = Hall::open().await;
    let network = Proxy::start(([127, 0, 0, 1], hall.nats.port()).into()).await.unwrap();
    let far = BeltClient::new(connect(&network.url(), SHOP).await);
    let (items, call) = within(SOON, far.unread().key("unread").open()).await.unwrap();
    network.cut().await;
    let (_items, again) = within(SOON, hall.client.attach_unread("unread").open()).await.unwrap();
    // Who attaches says that it is there, and leaves.
    drop(_items);
    assert_eq!(unread(within(SOON * 3, again).await), Reason::Unread);
    drop((items, call));
}

fn unread<E: std::fmt::Debug>(answer: Result<(), CallError<E>>) -> Reason {
    match answer {
        Err(CallError::Aborted(aborted)) => aborted.reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_returned_stream_that_its_only_reader_leaves_is_no_whole_one() {
    let hall = Hall::open().await;
    let (mut items, call) = within(SOON, hall.client.count_to(100_000).key("left").open()).await.unwrap();
    assert_eq!(within(SOON, items.next()).await, Some(Ok(1)));
    drop(items);
    assert_eq!(unread(within(SOON, call).await), Reason::Unread);
    // Whoever comes later is not told that what there is was all.
    let (mut items, again) = within(SOON, hall.client.attach_count_to("left").open()).await.unwrap();
    assert_eq!(all(&mut items).await, Err(ItemsError::Failed));
    assert_eq!(unread(within(SOON, again).await), Reason::Unread);
}

#[tokio::test]
async fn a_reader_that_leaves_takes_nothing_from_another_one() {
    let hall = Hall::open().await;
    let (mut items, call) = within(SOON, hall.client.count_to(100_000).key("two").open()).await.unwrap();
    assert_eq!(within(SOON, items.next()).await, Some(Ok(1)));
    let (mut second, _same) = within(SOON, hall.client.attach_count_to("two").open()).await.unwrap();
    assert_eq!(within(SOON, second.next()).await, Some(Ok(1)));
    drop(second);
    assert_eq!(all(&mut items).await.unwrap().len(), 99_999);
    within(SOON, call).await.unwrap();
}

#[tokio::test]
async fn a_reader_is_told_that_nothing_is_heard_of_the_worker() {
    let (nats, belt) = (NatsServer::start().await.unwrap(), Belt::default());
    let network = Proxy::start(([127, 0, 0, 1], nats.port()).into()).await.unwrap();
    let _worker = serve(&network.url(), belt.clone()).await;
    let client = BeltClient::new(connect(&nats.url(), SHOP).await);
    let (mut items, _call) = within(SOON, client.unread().open()).await.unwrap();
    for wanted in 1..=10 {
        assert_eq!(within(SOON, items.next()).await, Some(Ok(wanted)));
    }
    network.cut().await;
    let silent = ItemsError::Silent { idle: Duration::from_secs(10) };
    let mut last = 10;
    // What was sent before it vanished is read first.
    let told = within(SOON * 2, async {
        loop {
            match items.next().await {
                Some(Ok(next)) if next == last + 1 => last = next,
                other => return other,
            }
        }
    });
    assert_eq!(told.await, Some(Err(silent.clone())));
    // And then it comes back.
    network.heal().await.unwrap();
    let next = within(SOON * 3, async {
        loop {
            match items.next().await {
                Some(Err(error)) if error == silent => {}
                other => return other,
            }
        }
    });
    // The handler has not heard of its reader for as long: its stream goes on, or has ended for that.
    let next = next.await;
    assert!(next == Some(Ok(last + 1)) || next == Some(Err(ItemsError::Failed)), "{next:?}");
}
