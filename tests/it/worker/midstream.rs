//! A worker that is killed in the middle of a stream that is stored: the next one goes on behind what is stored, or the reader
//! is told that the stream begins anew; nothing is missing, and nothing comes twice.

use std::time::Duration;

use requite::{Accepted, Call, Items, ItemsError, RunningServer, ServerStream};
use requite_test::NatsServer;

use tests::{
    entry::Step,
    mill::{Flour, Job, MillClient, MillError, Work},
    stream::{Pour, Sack},
};

use super::site::{PATIENCE, Site, job};

const DRAIN: Duration = Duration::from_secs(1);
/// Its half is more than a writer may send before its reader has read.
const ITEMS: u64 = 36_000;
/// Where the first worker is killed. Behind the middle it sends one by one.
const READ: u64 = ITEMS / 2 + 20;

/// What comes next; that nothing is heard for a while is not of interest here.
async fn next(sacks: &mut Items<Sack>) -> Option<Result<Sack, ItemsError>> {
    let next = async {
        loop {
            match sacks.next().await {
                Some(Err(ItemsError::Silent { .. })) => {}
                next => return next,
            }
        }
    };
    tokio::time::timeout(PATIENCE, next).await.expect("something comes, or the end")
}

/// A request whose first worker was killed amid its stream, and that a second one has.
struct Death {
    site: Site,
    _second: RunningServer,
    sacks: Items<Sack>,
    call: Accepted<Flour, MillError>,
    _nats: NatsServer,
}

impl Death {
    async fn amid(
        stream: impl FnOnce(&MillClient, Job) -> Call<Flour, MillError, ServerStream<Sack>>,
    ) -> Self {
        let nats = NatsServer::start().await.unwrap();
        let site = Site::new(&nats.url(), "rq").await;
        let first = site.process("first", DRAIN).await;
        let bread = job("bread", Work::Pour(Pour::to_the_gate(ITEMS)));
        let open = stream(&site.caller().await, bread).deadline(PATIENCE).open();
        let (mut sacks, call) = open.await.unwrap();
        for number in 1..=READ {
            assert_eq!(next(&mut sacks).await, Some(Ok(Sack { attempt: 1, number })));
        }
        first.kill().await.unwrap();
        let second = site.worker("second").await;
        site.reaches("second", "bread", Step::Start).await;
        site.ledger.open_gate();
        Self { site, _second: second, sacks, call, _nats: nats }
    }

    /// What is left of the first attempt: the number of its last item, and what comes behind that.
    async fn rest(&mut self) -> (u64, Result<Sack, ItemsError>) {
        let mut last = READ;
        loop {
            match next(&mut self.sacks).await.expect("the second attempt has items") {
                Ok(Sack { attempt: 1, number }) if number == last + 1 => last = number,
                other => return (last, other),
            }
        }
    }

    /// All else are items of the second attempt, behind this one; and each attempt ran once.
    async fn ends(mut self, mut last: u64) {
        while let Some(sack) = next(&mut self.sacks).await {
            assert_eq!(sack, Ok(Sack { attempt: 2, number: last + 1 }));
            last += 1;
        }
        assert!(last >= ITEMS, "{last}");
        let flour = tokio::time::timeout(PATIENCE, self.call).await.expect("it ends").unwrap();
        assert_eq!((flour.worker.as_str(), flour.attempt, flour.sent), ("second", 2, last));
        self.site.settled().await;
        assert_eq!(self.site.story("bread"), ["first Start 1", "second Start 2", "second End 2"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stream_of_a_killed_worker_goes_on_behind_what_is_stored() {
    let mut death = Death::amid(|mill, job| mill.resume(job)).await;
    let (last, then) = death.rest().await;
    assert_eq!(then, Ok(Sack { attempt: 2, number: last + 1 }));
    death.ends(last + 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stream_of_a_killed_worker_that_begins_anew_says_so() {
    let mut death = Death::amid(|mill, job| mill.anew(job)).await;
    let (_, then) = death.rest().await;
    assert_eq!(then, Err(ItemsError::Restarted { attempt: 2 }));
    death.ends(0).await;
}
