//! Calls with streams that are cancelled while they flow: each end is told, and the call has one result.

use std::{sync::atomic::Ordering, time::Duration};

use requite::{CallError, CancelAnswer, ItemsError, SinkError};

use super::fixture::Hall;
use crate::caller::fixture::{SOON, until, within};

/// Nobody is left who could end it, and it has no end of its own.
#[tokio::test]
async fn a_returned_stream_is_read_no_further_once_its_call_is_cancelled() {
    let hall = Hall::open().await;
    let (mut items, call) = within(SOON, hall.client.count_to(u64::MAX).open()).await.unwrap();
    assert_eq!(within(SOON, items.next()).await, Some(Ok(1)));
    assert_eq!(within(SOON, call.cancel()).await.unwrap(), CancelAnswer::Signalled);
    // Sooner than a handler that goes on is dropped.
    let error = within(SOON * 2, async {
        let mut last = 1;
        loop {
            match items.next().await.expect("an error comes before the end") {
                Ok(number) => assert_eq!(number, last + 1),
                Err(error) => return error,
            }
            last += 1;
        }
    });
    assert_eq!(error.await, ItemsError::Failed);
    assert_eq!(within(SOON, items.next()).await, None);
    let Err(CallError::Cancelled(cancelled)) = within(SOON, call).await else { panic!("it has no value") };
    assert!(cancelled.may_have_run);
    until("nobody has it in hand", async || hall.worker.in_hand() == 0).await;
}

#[tokio::test]
async fn a_handler_that_is_told_may_still_send_and_its_value_counts() {
    let hall = Hall::open().await;
    let (mut numbers, mut doubles, call) = within(SOON, hall.client.talk().open()).await.unwrap();
    within(SOON, numbers.send(4)).await.unwrap();
    assert_eq!(within(SOON, doubles.next()).await, Some(Ok(8)));
    assert_eq!(within(SOON, call.cancel()).await.unwrap(), CancelAnswer::Signalled);
    assert_eq!(within(SOON, doubles.next()).await, Some(Ok(0)));
    within(SOON, numbers.send(7)).await.unwrap();
    assert_eq!(within(SOON, doubles.next()).await, None);
    assert_eq!(within(SOON, call).await.unwrap(), "cancelled, and Some(Ok(7))");
    let refused = async {
        while let Ok(()) = numbers.send(5).await {
            tokio::task::yield_now().await;
        }
        numbers.send(5).await
    };
    assert_eq!(within(SOON, refused).await, Err(SinkError::Ended));
}

#[tokio::test]
async fn a_handler_that_reads_on_is_dropped_and_its_caller_is_told() {
    let hall = Hall::open().await;
    let (mut numbers, call) = within(SOON, hall.client.deaf().open()).await.unwrap();
    within(SOON, numbers.send(1)).await.unwrap();
    until("it has come", async || hall.belt.moved.load(Ordering::SeqCst) == 1).await;
    assert_eq!(within(SOON, call.cancel()).await.unwrap(), CancelAnswer::Signalled);
    assert!(matches!(within(SOON, call).await, Err(CallError::Cancelled(_))));
    let refused = within(SOON, async {
        loop {
            if let Err(error) = numbers.send(2).await {
                return error;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert_eq!(refused.await, SinkError::Ended);
}
