//! Everything that is meant, under the permissions that are printed for it: it works, and the server denies nobody
//! anything.

mod streams;

use std::{future::IntoFuture, time::Duration};

use requite::{CallError, CallEvent, CancelAnswer, RequestId, Server, Setup, Unavailable, Why};
use requite_test::NatsCluster;
use serde_json::{Value, json};

use crate::{
    actor::{Actor, Sent, next},
    stage::{Depot, DepotClient, Layout, Mint, PASSWORD, PATIENCE, Stage, connect, until, users},
};

/// The result of `work`: nothing may hang.
async fn soon<T>(what: &str, work: impl IntoFuture<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("no result: {what}"))
}

/// Every flow on one server; returns their names.
pub(crate) async fn all_flows(version: &str, layout: Layout) -> Vec<&'static str> {
    let stage = Stage::new(version, layout).await;
    let mut done = vec!["set-up creates"];
    set_up_again(&stage).await;
    done.push("set-up verifies");
    done.extend(change_of_workers(&stage).await);
    let (keeper, other) =
        tokio::join!(stage.keeper(Duration::from_secs(5)), stage.keeper(Duration::from_secs(5)));
    let callers = async {
        let (calls, limits, failures, streams) =
            tokio::join!(calls(&stage), limits(&stage), failures(&stage), streams::all(&stage));
        [calls, limits, failures, streams].concat()
    };
    let (slow, callers, asked) = tokio::join!(slow_handler(&stage), callers, asks_the_owner(&stage));
    done.extend([slow, asked].into_iter().chain(callers));
    done.extend(observer(&stage).await);
    let [keeper, other] = [keeper, other].map(|it| (it.stats(), it));
    assert!(keeper.0.heartbeats + other.0.heartbeats > 0 && keeper.0.lost_leases + other.0.lost_leases == 0);
    tokio::join!(keeper.1.shutdown(), other.1.shutdown());
    done.push("drain");
    assert_eq!(stage.violations(), Vec::<String>::new(), "on {version}, {layout:?}");
    done
}

async fn set_up_again(stage: &Stage) {
    let setup = connect(&stage.nats.url(), "setup").await;
    let server = Server::new(&setup).serve(stage.vault.clone()).serve(Mint);
    server.setup(Setup::Verify).prepare().await.unwrap();
}

/// A worker that is gone, and one that lets go: the next one ends what they have begun.
async fn change_of_workers(stage: &Stage) -> [&'static str; 2] {
    let shop = stage.caller("shop").await;
    let ((dies, runtime), stops) = (stage.mortal().await, stage.keeper(Duration::ZERO).await);
    let mut orphans = Vec::new();
    while dies.in_hand() == 0 || stops.in_hand() == 0 {
        let name = format!("orphan {}", orphans.len());
        orphans.push(tokio::spawn(shop.hold(name.clone()).into_future()));
        until("it runs", async || stage.vault.runs(&name) == 1).await;
    }
    let ran = |times| (0..orphans.len()).all(|n| stage.vault.runs(&format!("orphan {n}")) == times);
    // Neither beats nor pulls any more; its leases end.
    runtime.shutdown_background();
    let next = stage.keeper(Duration::ZERO).await;
    stops.shutdown().await;
    until("all run again", async || ran(2)).await;
    assert!(next.stats().claims >= orphans.len() as u64, "{:?}", next.stats());
    stage.vault.open_gate();
    for orphan in orphans {
        soon("an orphan", orphan).await.unwrap().unwrap();
    }
    next.shutdown().await;
    stage.vault.close_gate();
    ["take-over from a dead worker", "take-over from one that stops"]
}

async fn calls(stage: &Stage) -> Vec<&'static str> {
    let (shop, elsewhere) = tokio::join!(stage.caller("shop"), stage.caller("shop"));
    soon("unkeyed", shop.stamp("a".into())).await.unwrap();
    soon("keyed", shop.stamp("b".into()).key("order")).await.unwrap();
    soon("repeated", elsewhere.stamp("b".into()).key("order")).await.unwrap();
    assert_eq!(stage.vault.runs("b"), 1);
    soon("attached by key", elsewhere.attach_stamp("order")).await.unwrap();
    let accepted = soon("started", shop.wait(2).start()).await.unwrap();
    let id = accepted.id().clone();
    let (first, second) =
        tokio::join!(soon("awaited", accepted), soon("attached by id", elsewhere.attach_wait("").id(id)));
    assert_eq!((first.unwrap(), second.unwrap()), (2, 2));
    let mut cancelled = soon("accepted", shop.wait(3).start()).await.unwrap();
    let mut events = cancelled.events();
    while !matches!(soon("started", events.next()).await, Some(CallEvent::Started { .. })) {}
    assert_eq!(soon("cancel", cancelled.cancel()).await, Ok(CancelAnswer::Signalled));
    assert_eq!(soon("goes on", cancelled).await.unwrap(), 3);
    soon("with a worker", shop.stamp("c".into()).require_worker()).await.unwrap();
    // A method that another version of the service has.
    let other = DepotClient::new(shop.client().clone());
    let missing = soon("missing", other.keep(1).accept_within(Duration::from_secs(2))).await;
    let is_told = match &missing {
        Err(CallError::Unavailable(Unavailable::NoSuchMethod { .. })) => stage.layout == Layout::OneAccount,
        Err(CallError::Unknown(unknown)) => {
            stage.layout == Layout::TwoAccounts && unknown.why == Why::AcceptanceUnknown
        }
        _ => false,
    };
    assert!(is_told, "{:?}: {missing:?}", stage.layout);
    vec![
        "call of a method that does not exist",
        "call without key",
        "call with key",
        "repeated call",
        "attach by key from another process",
        "attach by id from another process",
        "call that requires a worker",
        "cancelled call",
    ]
}

async fn limits(stage: &Stage) -> Vec<&'static str> {
    let shop = stage.caller("shop").await;
    let silent = soon("accepted", shop.wait(4).silent_for(Duration::from_millis(50)).start()).await.unwrap();
    owner_answers(stage, silent.id()).await;
    assert_eq!(soon("silent", silent).await.unwrap(), 4);
    let busy: Vec<_> = (0..2).map(|n| tokio::spawn(shop.queue(format!("busy {n}")).into_future())).collect();
    until("every slot is taken", async || (0..2).all(|n| stage.vault.runs(&format!("busy {n}")) == 1)).await;
    let waits = soon("waits", shop.queue("late".into()).start_within(Duration::from_millis(50))).await;
    assert!(
        matches!(&waits, Err(CallError::Unknown(unknown)) if unknown.why == Why::NotStarted),
        "a worker says that it serves the method: {waits:?}"
    );
    stage.vault.open_gate();
    for call in busy {
        soon("busy", call).await.unwrap().unwrap();
    }
    vec!["the owner says that it lives", "start_within asks the workers"]
}

/// Asks as the call does after a silence, of which there is none here: signals come before it.
async fn owner_answers(stage: &Stage, id: &RequestId) {
    let asks = Actor::connect(&stage.nats.url(), "shop").await;
    let inbox = format!("{}.-ask", asks.nats.new_inbox());
    let mut answers = asks.subscribe(&inbox).await;
    let question = Sent::to(format!("rq.ctl.vault.shop.{id}.ping")).header("Rq-V", "1").reply(inbox);
    until("the owner answers", async || {
        asks.send(&question).await;
        next(&mut answers, Duration::from_millis(100)).await.is_some_and(|it| it.payload == "mine")
    })
    .await;
}

async fn failures(stage: &Stage) -> Vec<&'static str> {
    let shop = stage.caller("shop").await;
    soon("stuck", shop.stick("door".into())).await.unwrap();
    assert_eq!(stage.vault.runs("door"), 2);
    let burst = soon("burst", shop.burst("pipe".into())).await;
    assert!(matches!(burst, Err(CallError::Aborted(_))), "{burst:?}");
    // What no caller wrote, from somebody who may.
    stage.root.store(&Sent::to("rq.req.vault.stamp.-nobody.k.a")).await;
    until("both are kept", async || {
        stage.root.ask("$JS.API.STREAM.INFO.rq_DEAD_vault", "").await["state"]["messages"] == 2
    })
    .await;
    vec!["released and run again", "dead letter of a panic", "dead letter of a foreign message"]
}

/// Three leases and more.
async fn slow_handler(stage: &Stage) -> &'static str {
    let shop = stage.caller("shop").await;
    assert_eq!(soon("slow", shop.wait(20)).await.unwrap(), 20);
    "20 s under a lease of 6 s"
}

/// A request that is delivered again while its owner lives: the other worker asks, and leaves it alone.
async fn asks_the_owner(stage: &Stage) -> &'static str {
    let shop = stage.caller("shop").await;
    let call = soon("started", shop.wait(10).key("asked").start()).await.unwrap();
    let record = format!("rq.out.vault.shop.{}", call.id());
    until("it is claimed", async || stage.root.stored("rq_OUT_vault", &record).await.is_some()).await;
    let request = format!("rq.req.vault.wait.shop.{}", call.id());
    let stored = stage.root.stored("rq_REQ_vault", &request).await.unwrap();
    let mut questions = stage.root.subscribe("rq.ctl.vault.-w.*.mine").await;
    // As the server would, if it had forgotten who has it.
    let ack = format!("$JS.ACK.rq_REQ_vault.wait.1.{}", stage.ack_numbers("wait", &stored).await);
    stage.root.nats.publish(ack, "-NAK".into()).await.unwrap();
    let question = next(&mut questions, PATIENCE).await.expect("the owner is asked");
    let reply = question.reply.unwrap();
    assert!(reply.ends_with(".-ask"), "{reply}");
    assert_eq!(soon("asked for", call).await.unwrap(), 10);
    "a newcomer asks the owner"
}

/// What an observer is for, and that it is answered.
async fn observer(stage: &Stage) -> [&'static str; 4] {
    let auditor = Actor::connect(&stage.nats.url(), "auditor").await;
    let read = json!({ "seq": 1, "next_by_subj": ">" });
    for (question, body) in [
        ("STREAM.NAMES", Value::Null),
        ("STREAM.INFO.rq_REQ_vault", json!({ "subjects_filter": ">" })),
        ("STREAM.INFO.rq_DEAD_vault", json!({ "subjects_filter": ">" })),
        ("CONSUMER.NAMES.rq_REQ_vault", Value::Null),
        ("CONSUMER.INFO.rq_REQ_vault.wait", Value::Null),
        ("STREAM.MSG.GET.rq_OUT_vault", read.clone()),
        ("STREAM.MSG.GET.rq_ITM_vault", read.clone()),
        ("STREAM.MSG.GET.rq_DEAD_vault", read),
    ] {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = auditor.ask(&format!("$JS.API.{question}"), body).await;
        assert!(answer["error"].is_null(), "{question}: {answer}");
    }
    [
        "observer sees streams and consumers",
        "observer reads records",
        "observer reads items",
        "observer reads dead letters",
    ]
}

/// Three replicas: set-up sends a message through every consumer, workers confirm by its ack.
pub(crate) async fn flows_on_three_replicas(version: &str) -> Vec<&'static str> {
    let builder = NatsCluster::builder().version(version).config(users(Layout::OneAccount));
    let cluster = builder.credentials("root", PASSWORD).start(3).await.unwrap();
    let urls = cluster.urls().join(",");
    let setup = Server::new(&connect(&urls, "setup").await).serve(Depot);
    setup.replicas(3).prepare().await.unwrap();
    let server = Server::new(&connect(&urls, "keeper").await).serve(Depot).replicas(3);
    let keeper = server.setup(Setup::Verify).start().await.unwrap();
    let shop = DepotClient::new(connect(&urls, "shop").await);
    soon("a long one", shop.keep(8).key("order")).await.unwrap();
    soon("again", shop.keep(8).key("order")).await.unwrap();
    let poured = streams::on_replicas(&shop).await;
    let stats = keeper.stats();
    assert!(stats.barriers > 0 && stats.runs == 2 && stats.lost_leases == 0, "{stats:?}");
    keeper.shutdown().await;
    for node in cluster.nodes() {
        let log = node.log();
        let denied: Vec<_> = log.lines().filter(|line| line.contains("Violation")).collect();
        assert!(denied.is_empty(), "{denied:?}");
    }
    vec!["set-up of three replicas", "barriers on three replicas", poured]
}
