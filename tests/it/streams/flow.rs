//! Items flow in their order, all of them, and then the call's value.

use requite::{CallError, Items, ItemsError};

use super::fixture::{Hall, Jammed};
use crate::caller::fixture::{SOON, within};

/// Reads until nothing comes any more. Each item has its own limit: how long all of them take says nothing.
pub(super) async fn all(items: &mut Items<u64>) -> Result<Vec<u64>, ItemsError> {
    let mut all = Vec::new();
    while let Some(item) = within(SOON, items.next()).await {
        all.push(item?);
    }
    Ok(all)
}

#[tokio::test]
async fn a_returned_stream_comes_in_its_order_and_ends_with_the_call() {
    let hall = Hall::open().await;
    for last in [0, 1, 7, 100_000] {
        let (mut items, call) = within(SOON, hall.client.count_to(last).open()).await.unwrap();
        assert_eq!(all(&mut items).await.unwrap(), (1..=last).collect::<Vec<_>>());
        within(SOON, call).await.unwrap();
    }
}

#[tokio::test]
async fn the_items_before_an_error_are_read_and_the_error_is_the_calls() {
    let hall = Hall::open().await;
    let (mut items, call) = within(SOON, hall.client.jam(5).open()).await.unwrap();
    for wanted in 1..5 {
        assert_eq!(within(SOON, items.next()).await, Some(Ok(wanted)));
    }
    assert_eq!(within(SOON, items.next()).await, Some(Err(ItemsError::Failed)));
    assert_eq!(within(SOON, items.next()).await, None);
    assert!(matches!(within(SOON, call).await, Err(CallError::Failed(Jammed::At(5)))));
}

#[tokio::test]
async fn a_callers_stream_is_taken_in_its_order() {
    let hall = Hall::open().await;
    for last in [0, 1, 100_000] {
        let (mut numbers, call) = within(SOON, hall.client.sum().open()).await.unwrap();
        for number in 1..=last {
            within(SOON, numbers.send(number)).await.unwrap();
        }
        within(SOON, numbers.finish()).await.unwrap();
        assert_eq!(within(SOON, call).await.unwrap(), last * (last + 1) / 2);
    }
}

#[tokio::test]
async fn both_directions_flow_side_by_side() {
    let hall = Hall::open().await;
    let (mut numbers, mut doubles, call) = within(SOON, hall.client.double().open()).await.unwrap();
    // One at a time, as in a talk.
    for number in 1..=10 {
        within(SOON, numbers.send(number)).await.unwrap();
        assert_eq!(within(SOON, doubles.next()).await, Some(Ok(number * 2)));
    }
    let sending = tokio::spawn(async move {
        for number in 11..=100_000 {
            numbers.send(number).await.unwrap();
        }
        numbers.finish().await.unwrap();
    });
    let rest = all(&mut doubles).await.unwrap();
    assert_eq!(rest, (11..=100_000).map(|number| number * 2).collect::<Vec<_>>());
    within(SOON, sending).await.unwrap();
    assert_eq!(within(SOON, call).await.unwrap(), 100_000);
}
