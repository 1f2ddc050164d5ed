//! When a restarted server hands out again what it had handed out before, by the same test on both brokers. The random
//! sequences keep away from such moments.

use std::time::Duration;

use tokio::time::Instant;

use super::super::configs;
use crate::{
    broker::{Broker, Outgoing, Subscription, api},
    name::Name,
    simulation::PROCESSORS,
    subject::{self, AckSubject, ServiceSubjects},
    wire::jetstream::StreamConfig,
};

const SECOND: u64 = 1_000_000_000;
const LEASE: Duration = Duration::from_secs(4);
/// How long requests are queued before they are handed out.
const QUEUED: Duration = Duration::from_millis(2_500);
/// They are published that long after a full second, so that they are handed out three quarters after one.
const FRACTION: u64 = SECOND / 4;
/// What a busy machine may add, on either side.
const SLACK: Duration = Duration::from_millis(200);
/// The server is back by then, which leaves it 1.5 s to look at leases before the first that it has to keep ends.
const BACK: Duration = Duration::from_millis(3_900);
const TRIES: usize = 5;

/// Since the requests were published.
#[derive(Clone, Copy, Debug)]
struct Times {
    handed_out: Duration,
    /// The server is back.
    back: Duration,
    /// The request that was left alone, and the one for which a heartbeat was sent.
    again: [Duration; 2],
}

/// `clock` is the server's.
async fn play<B: Broker>(
    broker: &B,
    namespace: &str,
    clock: impl Fn() -> u64,
    restart: impl AsyncFnOnce(),
) -> Times {
    let (namespace, service): (Name, Name) = (namespace.parse().unwrap(), "svc".parse().unwrap());
    let subjects = ServiceSubjects::new(&namespace, &service);
    let stream = subjects.request_stream();
    let requests = configs::stream(stream.clone(), vec![subjects.requests("m")]);
    let requests = StreamConfig { retention: "workqueue".into(), ..requests };
    api::create_stream(broker, &requests).await.unwrap();
    let consumer = configs::consumer("m", subjects.requests("m"), LEASE);
    api::put_consumer(broker, &stream, &consumer, "create").await.unwrap();
    let inbox = broker.new_inbox();
    let mut pulled = broker.subscribe(format!("{inbox}.*")).await.unwrap();
    let pull = async |number: u32| {
        let reply = Some(format!("{inbox}.{number}"));
        let body = r#"{"batch":2,"expires":20000000000}"#;
        let pull = Outgoing { reply, ..Outgoing::new(subject::api::pull(&stream, "m"), body) };
        broker.publish(pull).await.unwrap();
    };
    let passed = (clock() + SECOND - FRACTION) % SECOND;
    tokio::time::sleep(Duration::from_nanos(SECOND - passed)).await;
    let began = Instant::now();
    for id in 0..2 {
        let subject = subjects.any_request().replace('>', &format!("m.caller.i.{id}"));
        api::store(broker, Outgoing::new(subject, ""), LEASE).await;
    }
    tokio::time::sleep_until(began + QUEUED).await;
    pull(0).await;
    pulled.next().await.unwrap();
    let second = pulled.next().await.unwrap().reply.unwrap();
    broker.request(Outgoing::new(second, "+WPI"), LEASE).await.unwrap();
    let handed_out = began.elapsed();
    restart().await;
    while !broker.is_connected() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let back = began.elapsed();
    pull(1).await;
    let mut again = [Duration::ZERO; 2];
    for _ in 0..2 {
        let reply = pulled.next().await.unwrap().reply.unwrap();
        let sequence = AckSubject::parse(&reply).unwrap().stream_sequence;
        again[usize::try_from(sequence).unwrap() - 1] = began.elapsed();
    }
    Times { handed_out, back, again }
}

/// A lease is counted from the publish unless a heartbeat was sent, and from the full second before either.
fn check(who: &str, times: Times) {
    let second = Duration::from_secs(1);
    let [left_alone, kept] = times.again;
    let (publish, heartbeat) = (LEASE - second / 4, LEASE + QUEUED - second * 3 / 4);
    assert!(left_alone + SLACK >= publish && left_alone + SLACK < heartbeat, "{who}: {times:?}");
    assert!(kept + SLACK >= heartbeat && kept + SLACK < QUEUED + LEASE, "{who}: {times:?}");
}

#[tokio::test]
async fn both_brokers_cut_the_leases_that_they_restore() {
    let _alone = PROCESSORS.lock().await;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let simulated = std::thread::spawn(|| {
        runtime.unwrap().block_on(async {
            let simulation = super::Simulation::new(1);
            let broker = simulation.connect("player").unwrap();
            let restart = async || {
                simulation.restart(super::DOWN);
                // Until it is down.
                tokio::time::sleep(Duration::from_millis(1)).await;
            };
            play(&broker, "restored", || simulation.server_time(), restart).await
        })
    });
    check("simulated", simulated.join().unwrap());
    let mut server = requite_test::NatsServer::start().await.unwrap();
    let broker = super::connect(&server).await;
    let now = || crate::wire::jetstream::nanos(std::time::UNIX_EPOCH.elapsed().unwrap());
    for attempt in 0..TRIES {
        let restart = async || {
            tokio::time::sleep(super::WRITTEN).await;
            server.restart().await.unwrap();
        };
        let times = play(&broker, &format!("restored{attempt}"), now, restart).await;
        // Otherwise the machine was late: the fractions of a second are others, or leases ended before the server was back.
        if times.handed_out < QUEUED + SLACK && times.back < BACK {
            return check("real", times);
        }
    }
    panic!("the machine was late {TRIES} times");
}
