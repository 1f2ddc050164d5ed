//! Items of no bytes, of as many as fit, and of one more.

use requite::{
    Accepted, CallError, Items, ItemsError, NoError, Reason, ServeError, Server, SetupError, Sink, SinkError,
    StreamLimits,
};
use requite_test::NatsServer;

use super::{
    fixture::{Belt, BeltClient, Hall, SinkError_},
    flow::all,
};
use crate::caller::fixture::{SHOP, SOON, connect, info, within};

/// The most that one item may take on a server with `max_payload` as it is by default.
async fn largest(hall: &Hall) -> usize {
    let (mut texts, call) = within(SOON, hall.client.sizes().open()).await.unwrap();
    let refused = within(SOON, texts.send("x".repeat(2 << 20))).await;
    let Err(SinkError::TooLarge { most, .. }) = refused else { panic!("{refused:?}") };
    // The stream can be used on.
    within(SOON, texts.send("small".into())).await.unwrap();
    within(SOON, texts.finish()).await.unwrap();
    assert_eq!(within(SOON, call).await.unwrap(), [5]);
    most
}

/// What MessagePack puts before a text of this size.
const TEXT_HEADER: usize = 5;

/// The sizes of texts that fit, where this is the most.
fn sizes(most: usize) -> [usize; 6] {
    [0, most, 0, 70_000, 0, most]
}

/// Behind each that fits comes one that does not.
fn with_too_large(most: usize) -> Vec<usize> {
    sizes(most).map(|size| [size, most + 1]).concat()
}

async fn go_up((mut texts, call): (Sink<String>, Accepted<Vec<usize>, NoError>), most: usize) {
    for size in sizes(most) {
        within(SOON, texts.send("x".repeat(size))).await.unwrap();
        let refused = within(SOON, texts.send("x".repeat(most + 1))).await;
        assert!(matches!(refused, Err(SinkError::TooLarge { .. })), "{refused:?}");
    }
    within(SOON, texts.finish()).await.unwrap();
    assert_eq!(within(SOON, call).await.unwrap(), sizes(most));
}

type Refused = Vec<Option<SinkError_>>;

async fn come_down((mut texts, call): (Items<String>, Accepted<Refused, NoError>), most: usize) {
    for size in sizes(most) {
        assert_eq!(within(SOON, texts.next()).await.unwrap().unwrap().len(), size);
    }
    assert_eq!(within(SOON, texts.next()).await, None);
    let refused = within(SOON, call).await.unwrap();
    assert_eq!(refused.len(), with_too_large(most).len());
    for pair in refused.chunks(2) {
        assert_eq!(pair[0], None);
        assert!(pair[1].as_ref().is_some_and(|it| it.0.contains("at most")), "{pair:?}");
    }
}

#[tokio::test]
async fn items_of_every_size_that_fits_are_sent_and_the_stream_goes_on_behind_one_that_does_not() {
    let hall = Hall::open().await;
    let most = largest(&hall).await - TEXT_HEADER;
    assert!(most > 1_000_000, "{most}");
    go_up(within(SOON, hall.client.sizes().open()).await.unwrap(), most).await;
    let down = within(SOON, hall.client.texts(with_too_large(most)).open()).await.unwrap();
    come_down(down, most).await;
}

#[tokio::test]
async fn items_that_are_not_stored_are_sent_in_every_size_that_fits_and_one_that_does_not_is_refused() {
    let hall = Hall::open().await;
    let most = largest(&hall).await - TEXT_HEADER;
    go_up(within(SOON, hall.client.sizes_unstored().open()).await.unwrap(), most).await;
    let down = within(SOON, hall.client.texts_unstored(with_too_large(most)).open()).await.unwrap();
    come_down(down, most).await;
}

#[tokio::test]
async fn a_returned_stream_ends_with_an_item_that_is_too_large_and_says_so() {
    let hall = Hall::open().await;
    let most = largest(&hall).await - TEXT_HEADER;
    let (mut texts, call) = within(SOON, hall.client.shelf(vec![1, most + 1, 2]).open()).await.unwrap();
    assert_eq!(within(SOON, texts.next()).await, Some(Ok("x".into())));
    assert_eq!(within(SOON, texts.next()).await, Some(Err(ItemsError::Failed)));
    let Err(CallError::Aborted(aborted)) = within(SOON, call).await else { panic!("it has a value") };
    assert_eq!(aborted.reason, Reason::TooLarge);
    assert!(aborted.text.contains("at most"), "{aborted:?}");
}

/// Of a frame as large as elsewhere such a server takes none.
#[tokio::test]
async fn frames_are_no_larger_than_the_server_takes() {
    let nats = NatsServer::builder().config("max_payload: 16384").start().await.unwrap();
    let hall = Hall::open_on(nats).await;
    let last = 50_000;
    let (mut items, call) = within(SOON, hall.client.count_to(last).open()).await.unwrap();
    assert_eq!(all(&mut items).await.unwrap().len() as u64, last);
    within(SOON, call).await.unwrap();
    let (mut numbers, call) = within(SOON, hall.client.sum_unstored().open()).await.unwrap();
    for number in 1..=last {
        within(SOON, numbers.send(number)).await.unwrap();
    }
    within(SOON, numbers.finish()).await.unwrap();
    assert_eq!(within(SOON, call).await.unwrap(), last * (last + 1) / 2);
}

/// A server acknowledges such an item, and removes it with all others.
#[tokio::test]
async fn a_stream_without_room_for_the_largest_item_is_refused_and_one_with_just_as_much_keeps_it() {
    let nats = NatsServer::start().await.unwrap();
    let start = async |item_bytes| {
        let mut limits = StreamLimits::default();
        limits.item_bytes = item_bytes;
        Server::new(&connect(&nats.url(), "office").await).serve(Belt::default()).limits(limits).start().await
    };
    let least = async |item_bytes| match start(item_bytes).await.map(drop) {
        Err(ServeError::Setup(SetupError::ItemsDoNotFit { least, .. })) => least,
        other => panic!("not refused: {other:?}"),
    };
    let enough = least(1 << 20).await;
    assert_eq!(least(enough - 1).await, enough);
    let worker = start(enough).await.unwrap();
    let client = BeltClient::new(connect(&nats.url(), SHOP).await);
    let hall = Hall { nats, belt: Belt::default(), worker, client };
    let most = largest(&hall).await - TEXT_HEADER;
    let call = within(SOON, hall.client.shelf(vec![most]).key("large").open()).await.unwrap();
    let later = BeltClient::new(connect(&hall.nats.url(), SHOP).await);
    for (mut texts, call) in [call, within(SOON, later.attach_shelf("large").open()).await.unwrap()] {
        assert_eq!(within(SOON, texts.next()).await.unwrap().unwrap().len(), most);
        assert_eq!(within(SOON, texts.next()).await, None);
        within(SOON, call).await.unwrap();
    }
    // Also of one that somebody has made smaller since.
    let Hall { nats, worker, .. } = hall;
    worker.shutdown().await;
    let mut config = info(&nats, "rq_ITM_belt").await["config"].take();
    config["max_bytes"] = (enough - 1).into();
    let answer = nats.ask("$JS.API.STREAM.UPDATE.rq_ITM_belt", config.to_string()).await.unwrap();
    assert!(!String::from_utf8_lossy(&answer).contains("error"), "{answer:?}");
    let server = Server::new(&connect(&nats.url(), "office").await).serve(Belt::default());
    let refused = server.start().await.map(drop);
    assert!(matches!(refused, Err(ServeError::Setup(SetupError::ItemsDoNotFit { .. }))), "{refused:?}");
}
