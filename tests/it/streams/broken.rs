//! What does not follow from what came before, as only somebody can write who has no part in the stream: the reader is told
//! where, and nothing follows.

use requite::{Accepted, Items, ItemsError, NoError, RunningServer, Sink, SinkError, async_nats, prelude::*};
use requite_test::NatsServer;
use serde_bytes::ByteBuf;
use serde_json::Value;
use tokio::sync::watch;

use super::fixture::Stuck;
use crate::caller::fixture::{SHOP, SOON, connect, info, serve, until, within};

/// How many rungs there are before the break.
const LAST: u64 = 3;

/// A frame of a writer that nobody has heard of.
#[derive(Serialize)]
struct Frame {
    epoch: u32,
    #[serde(with = "serde_bytes")]
    writer: [u8; 16],
    slot: u64,
    first: u64,
    content_type: &'static str,
    items: Vec<ByteBuf>,
}

impl Frame {
    /// Of a later writer, neither behind what came nor from the beginning.
    fn behind_a_gap() -> Self {
        Self {
            epoch: 2,
            writer: [7; 16],
            slot: 1,
            first: LAST + 5,
            content_type: "application/msgpack",
            items: vec![ByteBuf::from(vec![LAST as u8 + 5])],
        }
    }

    fn encode(&self) -> Vec<u8> {
        rmp_serde::to_vec_named(self).unwrap()
    }
}

/// What came of every item.
type Taken = Vec<Result<u64, ItemsError>>;

/// Sends some rungs, and goes on when the test lets it. Clones are the same ladder.
#[derive(Clone, Debug)]
struct Ladder {
    go_on: watch::Receiver<bool>,
    /// What the handler that reads has read.
    read: watch::Sender<u64>,
}

#[service(name = "ladder")]
impl Ladder {
    #[handler]
    async fn climb(&self, rungs: Sink<u64>) -> Result<u64, Stuck> {
        self.send(rungs).await
    }

    /// The same, not stored.
    #[handler(volatile)]
    async fn climb_unstored(&self, rungs: Sink<u64>) -> Result<u64, Stuck> {
        self.send(rungs).await
    }

    /// What came of every rung.
    #[handler]
    async fn count(&self, rungs: Items<u64>) -> Taken {
        self.take(rungs).await
    }

    /// The same, not stored.
    #[handler(volatile)]
    async fn count_unstored(&self, rungs: Items<u64>) -> Taken {
        self.take(rungs).await
    }
}

impl Ladder {
    /// Says how many it has sent.
    async fn send(&self, mut rungs: Sink<u64>) -> Result<u64, Stuck> {
        let stuck = |error: SinkError| Stuck(error.to_string());
        for rung in 1..=LAST {
            rungs.send(rung).await.map_err(stuck)?;
            // One in a frame, so that the same place is there every time.
            rungs.flush().await.map_err(stuck)?;
        }
        let _ = self.go_on.clone().wait_for(|go_on| *go_on).await;
        Ok(LAST)
    }

    async fn take(&self, mut rungs: Items<u64>) -> Taken {
        let mut taken = Taken::new();
        while let Some(rung) = rungs.next().await {
            self.read.send_modify(|read| *read += 1);
            taken.push(rung);
        }
        taken
    }
}

/// A server, a worker with a ladder, a client, and a stranger.
struct Wall {
    nats: NatsServer,
    ladder: Ladder,
    go_on: watch::Sender<bool>,
    client: LadderClient,
    stranger: async_nats::Client,
    _worker: RunningServer,
}

impl Wall {
    async fn open() -> Self {
        let nats = NatsServer::start().await.unwrap();
        let (go_on, waits) = watch::channel(false);
        let ladder = Ladder { go_on: waits, read: watch::Sender::new(0) };
        let worker = serve(&nats.url(), ladder.clone()).await;
        let client = LadderClient::new(connect(&nats.url(), SHOP).await);
        let stranger = async_nats::connect(nats.url()).await.unwrap();
        Self { nats, ladder, go_on, client, stranger, _worker: worker }
    }

    async fn items(&self) -> Value {
        info(&self.nats, "rq_ITM_ladder").await
    }

    /// Has a frame stored behind all that are, below this prefix.
    async fn stores(&self, prefix: &str) {
        let frames = self.items().await["state"]["subjects"].as_object().unwrap().len();
        let mut headers = async_nats::HeaderMap::new();
        for (name, value) in [("Rq-V", "1"), ("Rq-Kind", "items"), ("Nats-TTL", "120s")] {
            headers.insert(name, value);
        }
        headers.insert("Nats-Expected-Last-Subject-Sequence", "0");
        let (subject, frame) = (format!("{prefix}.{}", frames + 1), Frame::behind_a_gap().encode());
        let answer = self.stranger.request_with_headers(subject, headers, frame.into()).await.unwrap();
        let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
        assert!(answer["error"].is_null(), "{answer}");
    }

    /// Sends a frame that is not stored.
    async fn sends(&self, subject: String) {
        self.stranger.publish(subject, Frame::behind_a_gap().encode().into()).await.unwrap();
        self.stranger.flush().await.unwrap();
    }

    /// Reads what comes before the break, which `breaks` makes in the stream of this id, and what comes behind it.
    async fn reads_to_the_break(
        &self,
        (mut rungs, call): (Items<u64>, Accepted<u64, Stuck>),
        breaks: impl AsyncFnOnce(String),
    ) {
        for rung in 1..=LAST {
            assert_eq!(within(SOON, rungs.next()).await, Some(Ok(rung)));
        }
        breaks(format!("ladder.{SHOP}.{}", call.id())).await;
        assert_eq!(within(SOON, rungs.next()).await, Some(Err(ItemsError::Broken { item: LAST })));
        assert_eq!(within(SOON, rungs.next()).await, None);
        // The stream has come to nothing, and the call has not.
        self.go_on.send_replace(true);
        assert_eq!(within(SOON, call).await.unwrap(), LAST);
    }

    /// The same for a handler that reads.
    async fn is_read_to_the_break(
        &self,
        (mut rungs, call): (Sink<u64>, Accepted<Taken, NoError>),
        breaks: impl AsyncFnOnce(String),
    ) {
        for rung in 1..=LAST {
            within(SOON, rungs.send(rung)).await.unwrap();
        }
        within(SOON, rungs.flush()).await.unwrap();
        until("they are read", async || *self.ladder.read.borrow() == LAST).await;
        breaks(format!("ladder.{SHOP}.{}", call.id())).await;
        let mut taken = within(SOON, call).await.unwrap();
        assert_eq!(taken.pop(), Some(Err(ItemsError::Broken { item: LAST })));
        assert_eq!(taken, (1..=LAST).map(Ok).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_caller_is_told_that_a_stored_frame_does_not_follow() {
    let wall = Wall::open().await;
    let opened = within(SOON, wall.client.climb().open()).await.unwrap();
    wall.reads_to_the_break(opened, async |stream| {
        let items = wall.items().await;
        let put = items["config"]["subject_transform"]["src"].as_str().unwrap();
        wall.stores(&format!("{}.itm.{stream}.down", put.strip_suffix(".>").unwrap())).await;
    })
    .await;
}

#[tokio::test]
async fn a_caller_is_told_that_a_frame_that_is_not_stored_does_not_follow() {
    let wall = Wall::open().await;
    let opened = within(SOON, wall.client.climb_unstored().open()).await.unwrap();
    wall.reads_to_the_break(opened, async |stream| wall.sends(format!("rq.sig.{stream}.down")).await).await;
}

#[tokio::test]
async fn a_handler_is_told_that_a_stored_frame_does_not_follow() {
    let wall = Wall::open().await;
    let opened = within(SOON, wall.client.count().open()).await.unwrap();
    wall.is_read_to_the_break(opened, async |stream| wall.stores(&format!("rq.itm.{stream}.up")).await).await;
}

#[tokio::test]
async fn a_handler_is_told_that_a_frame_that_is_not_stored_does_not_follow() {
    let wall = Wall::open().await;
    let opened = within(SOON, wall.client.count_unstored().open()).await.unwrap();
    wall.is_read_to_the_break(opened, async |stream| wall.sends(format!("rq.ctl.{stream}.up")).await).await;
}

/// Where the time of a call is over, its key may stand for another one, in whose stream the same place is another writer's.
#[tokio::test]
async fn who_goes_on_in_the_stream_of_another_call_is_told_that_it_does_not_follow() {
    let wall = Wall::open().await;
    wall.go_on.send_replace(true);
    let climbs = async || {
        let (mut rungs, call) = within(SOON, wall.client.climb().key("one").open()).await.unwrap();
        for rung in 1..=LAST {
            assert_eq!(within(SOON, rungs.next()).await, Some(Ok(rung)));
        }
        let position = rungs.position();
        assert_eq!(within(SOON, rungs.next()).await, None);
        assert_eq!(within(SOON, call).await.unwrap(), LAST);
        position
    };
    let earlier = climbs().await;
    for stream in ["REQ", "OUT", "ITM"] {
        wall.nats.ask(&format!("$JS.API.STREAM.PURGE.rq_{stream}_ladder"), "").await.unwrap();
    }
    let later = climbs().await;
    let behind = |position| wall.client.attach_climb("one").behind(position).open();
    let (mut rungs, call) = within(SOON, behind(earlier)).await.unwrap();
    assert_eq!(within(SOON, rungs.next()).await, Some(Err(ItemsError::Broken { item: LAST })));
    assert_eq!(within(SOON, rungs.next()).await, None);
    assert_eq!(within(SOON, call).await.unwrap(), LAST);
    // Its own is there.
    let (mut rungs, _call) = within(SOON, behind(later)).await.unwrap();
    assert_eq!(within(SOON, rungs.next()).await, None);
}
