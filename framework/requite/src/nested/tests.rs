//! Calls that handlers make, on a simulated server.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    Attach, Call, CallError, Client, Context, HandlerError, Rejected, Retry, RunningServer, Server,
    ServiceDefinition, Unknown, Why,
    broker::{
        AnyBroker,
        simulated::{Seen, Simulation},
    },
    client::{Config, call},
    service::{Method, handler},
};

const HOP: Method = Method::new("relay", "hop");
const HOUR: Duration = Duration::from_secs(3600);
const DEADLINE: Duration = Duration::from_secs(10);
/// What a hop takes.
const STEP: Duration = Duration::from_secs(2);

/// How a hop calls the next one.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Manner {
    Usual,
    Keyed,
    Detached,
    Spawned,
}

/// What became of a hop's own call.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
#[error("{0}")]
struct Lost(String);

impl HandlerError for Lost {
    fn retry(&self) -> Retry {
        Retry::Never
    }
}

type Hops = (u32, Manner);

fn hop(client: &Client, hops: Hops) -> Call<Vec<Duration>, Lost> {
    call::call(client, HOP, &hops)
}

fn client(simulation: &Simulation, name: &str) -> Client {
    Client::over(AnyBroker::Simulated(simulation.connect(name).unwrap()), Config::simulated(name))
}

/// What this hop and those behind it have left when they have done their part.
async fn relay(client: Client, cx: Context, (hops, manner): Hops) -> Result<Vec<Duration>, Lost> {
    tokio::time::sleep(STEP).await;
    let mut all = vec![cx.remaining().unwrap()];
    if hops > 0 {
        let next = hop(&client, (hops - 1, manner)).deadline(HOUR);
        let answer = match manner {
            Manner::Usual => next.await,
            Manner::Keyed => next.key(format!("hop {hops}")).await,
            Manner::Detached => next.detached().await,
            Manner::Spawned => tokio::spawn(async { next.await }).await.unwrap(),
        };
        all.extend(answer.map_err(|error| match error {
            CallError::Rejected(Rejected::Expired) => Lost("expired".into()),
            CallError::Unknown(Unknown { why: Why::DeadlinePassed, .. }) => Lost("unknown".into()),
            other => Lost(other.to_string()),
        })?);
    }
    Ok(all)
}

struct Stage {
    simulation: Simulation,
    _worker: RunningServer,
    caller: Client,
}

impl Stage {
    async fn new() -> Self {
        let simulation = Simulation::new(1);
        // Nobody's clock but the server's is asked, and that one need not be right.
        simulation.step_clock(-3_600_000);
        let next = client(&simulation, "relay");
        let relay = handler(move |cx, hops: Hops| relay(next.clone(), cx, hops));
        let service = ServiceDefinition::new("relay", "1", "").method(HOP, relay);
        let worker = Server::new(&client(&simulation, "worker")).serve(service).start().await.unwrap();
        let caller = client(&simulation, "caller");
        Self { simulation, _worker: worker, caller }
    }

    /// What three hops have left, of the deadline of each.
    async fn three_hops(&self, manner: Manner) -> Vec<Duration> {
        let left = hop(&self.caller, (2, manner)).deadline(DEADLINE).await.unwrap();
        assert_eq!(left.len(), 3);
        left
    }

    /// What becomes of the call of a handler that is done behind its deadline.
    async fn too_late(&self, manner: Manner) -> String {
        let first = hop(&self.caller, (1, manner)).deadline(STEP / 2).start().await.unwrap();
        let id = first.id().clone();
        tokio::time::sleep(2 * STEP).await;
        let attached: Attach<Vec<Duration>, Lost> = call::attach(&self.caller, HOP, "");
        match attached.id(id).await.unwrap_err() {
            CallError::Failed(Lost(what)) => what,
            other => panic!("{other}"),
        }
    }

    fn requests(&self) -> usize {
        self.simulation.count("rq.req.>", Seen::Published)
    }
}

/// Less what the messages take.
fn is_about(left: Duration, expected: Duration) -> bool {
    (expected - Duration::from_millis(200)..=expected).contains(&left)
}

#[tokio::test(start_paused = true)]
async fn the_deadline_shrinks_from_hop_to_hop() {
    let stage = Stage::new().await;
    for manner in [Manner::Usual, Manner::Keyed] {
        for (left, hop) in stage.three_hops(manner).await.into_iter().zip(1..) {
            assert!(is_about(left, DEADLINE - hop * STEP), "{manner:?}, hop {hop}: {left:?}");
        }
    }
    for manner in [Manner::Detached, Manner::Spawned] {
        let left = stage.three_hops(manner).await;
        let whole = is_about(left[0], DEADLINE - STEP) && is_about(left[1], HOUR - STEP);
        assert!(whole, "{manner:?}: {left:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn behind_the_deadline_nothing_is_sent_any_more() {
    let stage = Stage::new().await;
    for (manner, what) in [(Manner::Usual, "expired"), (Manner::Keyed, "unknown")] {
        let before = stage.requests();
        assert_eq!(stage.too_late(manner).await, what);
        assert_eq!(stage.requests(), before + 1, "{manner:?}");
    }
}
