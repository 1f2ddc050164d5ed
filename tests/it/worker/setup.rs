//! Set-up refuses what the protocol cannot rest on, each with an error that names the setting; nothing is mended or
//! made again in silence.

use std::time::Duration;

use requite::{Client, RunningServer, ServeError, Server, Setup, SetupError, StreamLimits};
use requite_test::NatsServer;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
};

use tests::{entry::Step, mill::Work};

use super::site::{PATIENCE, Site, call, eventually, job};

fn refused(started: Result<RunningServer, ServeError>) -> SetupError {
    match started.map(|_| ()) {
        Err(ServeError::Setup(error)) => error,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stream_that_is_missing_is_an_error_unless_it_may_be_made() {
    let nats = NatsServer::start().await.unwrap();
    let site = Site::new(&nats.url(), "rq").await;
    let verify = async || {
        let server = site.server(&site.url, site.mill("one")).await;
        server.setup(Setup::Verify).start().await
    };
    let missing = |error: SetupError| match error {
        SetupError::Missing { what } => what,
        other => panic!("not missing: {other:?}"),
    };
    assert_eq!(missing(refused(verify().await)), "rq_OUT_mill");
    site.worker("one").await.shutdown().await;
    verify().await.unwrap().shutdown().await;

    site.ask("$JS.API.CONSUMER.DELETE.rq_REQ_mill.once", "").await;
    assert_eq!(missing(refused(verify().await)), "consumer once of rq_REQ_mill");
    for stream in ["rq_DEAD_mill", "rq_REQ_mill", "rq_ITM_mill", "rq_OUT_mill"] {
        site.ask(&format!("$JS.API.STREAM.DELETE.{stream}"), "").await;
        assert_eq!(missing(refused(verify().await)), stream);
    }
    let names = site.ask("$JS.API.STREAM.NAMES", "").await;
    assert_eq!(names["total"], 0, "nothing is made by a look: {names}");
}

/// A worker that may not do what every request needs does not start: it would keep what it cannot end.
#[tokio::test(flavor = "multi_thread")]
async fn permission_that_is_missing_is_named() {
    let denied = ["rq.put.>", "rq.put.*.chk.>", "rq.dead.>", "$JS.API.STREAM.MSG.GET.>"];
    let users = (0..denied.len()).map(|n| {
        format!(
            r#"{{ user: "{n}", password: "x", permissions: {{ publish: {{ deny: "{}" }} }} }}"#,
            denied[n]
        )
    });
    let users = users.collect::<Vec<_>>().join(", ");
    let config = format!(r#"authorization {{ users: [{{ user: "all", password: "x" }}, {users}] }}"#);
    let nats = NatsServer::builder().config(config).credentials("all", "x").start().await.unwrap();
    let site = Site::new(&nats.url_as("all", "x"), "rq").await;
    site.worker("one").await.shutdown().await;
    for (n, pattern) in denied.iter().enumerate() {
        let server = site.server(&nats.url_as(&n.to_string(), "x"), site.mill("two")).await;
        match refused(server.setup(Setup::Verify).start().await) {
            SetupError::PermissionDenied { subject } => {
                let alike = |(part, of): (&str, &str)| matches!(of, "*" | ">") || part == of;
                assert!(subject.split('.').zip(pattern.split('.')).all(alike), "{subject}");
            }
            other => panic!("not a permission: {other:?}"),
        }
    }
    for stream in ["OUT", "DEAD"] {
        assert_eq!(site.stream(stream).await["state"]["messages"], 0, "nothing is stored by a look");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn setting_that_somebody_changed_is_named() {
    let nats = NatsServer::start().await.unwrap();
    let site = Site::new(&nats.url(), "rq").await;
    site.worker("one").await.shutdown().await;
    let drift = async |setup| {
        let server = site.server(&site.url, site.mill("one")).await;
        match refused(server.setup(setup).start().await) {
            SetupError::Drift { what, setting, wanted, found } => (what, setting, wanted, found),
            other => panic!("no drift: {other:?}"),
        }
    };

    site.set_ack_wait("grind", Duration::from_secs(60)).await;
    let (what, setting, wanted, found) = drift(Setup::Create).await;
    assert_eq!((what.as_str(), setting), ("consumer grind of rq_REQ_mill", "ack_wait"));
    assert_eq!((wanted.as_str(), found.as_str()), ("6000000000", "60000000000"));

    // A shorter one loses leases: set-up lengthens it, a mere look refuses.
    site.set_ack_wait("grind", Duration::from_secs(2)).await;
    assert_eq!(drift(Setup::Verify).await.1, "ack_wait");
    let lengthens = site.server(&site.url, site.mill("one")).await.setup(Setup::Create);
    lengthens.start().await.unwrap().shutdown().await;
    assert_eq!(site.consumer("grind").await["config"]["ack_wait"], 6_000_000_000_u64);

    let mut config = site.stream("OUT").await["config"].take();
    config["allow_direct"] = false.into();
    site.ask("$JS.API.STREAM.UPDATE.rq_OUT_mill", &config).await;
    assert_eq!(drift(Setup::Create).await.1, "allow_direct");
}

#[tokio::test(flavor = "multi_thread")]
async fn lease_that_is_too_short_for_replicas_is_refused() {
    let nats = NatsServer::start().await.unwrap();
    let site = Site::new(&nats.url(), "rq").await;
    let server = async || site.server(&site.url, site.mill("one")).await;
    // Whatever is said of other limits before or after.
    for server in [server().await.replicas(3), server().await.replicas(3).limits(StreamLimits::default())] {
        match refused(server.start().await) {
            SetupError::LeaseTooShort { method, lease, least } => {
                assert_eq!((method.as_str(), lease, least), ("grind", super::LEASE, Duration::from_secs(20)));
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Three replicas on a single server: the refusal is the server's, and so are its words.
#[tokio::test(flavor = "multi_thread")]
async fn refusal_of_the_server_is_told_in_its_words() {
    let nats = NatsServer::start().await.unwrap();
    let site = Site::new(&nats.url(), "rq").await;
    let server = site.server(&site.url, site.silo("one")).await.replicas(3);
    match refused(server.start().await) {
        SetupError::Refused { what, text } => {
            assert_eq!(what, "rq_OUT_silo");
            assert!(text.contains("replicas"), "{text}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn server_that_is_too_old_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("nats://{}", listener.local_addr().unwrap());
    tokio::spawn(old_server(listener));
    let client = Client::builder().url(url).connect().await.unwrap();
    let mill = tests::mill::Mill { worker: "one".into(), ledger: tests::ledger::Ledger::at("/dev/null") };
    match refused(Server::new(&client).serve(mill).start().await) {
        SetupError::ServerTooOld { version } => assert_eq!(version, "2.11.9"),
        other => panic!("{other:?}"),
    }
}

/// As much of an old nats-server as a connection needs.
async fn old_server(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let (read, mut write) = stream.into_split();
            let info = r#"{"server_id":"OLD","server_name":"old","version":"2.11.9","proto":1,"go":"","host":"127.0.0.1","port":4222,"headers":true,"jetstream":true,"max_payload":1048576}"#;
            let _ = write.write_all(format!("INFO {info}\r\n").as_bytes()).await;
            let mut lines = BufReader::new(read).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                if line == "PING" {
                    let _ = write.write_all(b"PONG\r\n").await;
                }
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn consumer_deleted_while_serving_is_not_made_again_and_may_be_put_back() {
    let nats = NatsServer::start().await.unwrap();
    let site = Site::new(&nats.url(), "rq").await;
    let worker = site.worker("one").await;
    let caller = site.caller().await;
    caller.grind(job("before", Work::Wait(0))).deadline(PATIENCE).await.unwrap();
    site.settled().await;
    let config = site.consumer("grind").await["config"].take();
    site.ask("$JS.API.CONSUMER.DELETE.rq_REQ_mill.grind", "").await;

    let waits = call(caller.grind(job("bread", Work::Wait(0))).deadline(PATIENCE));
    // Another method shows that the worker lives, and for longer than it takes to look at the consumer several times.
    for n in 0..5 {
        caller.once(job(n, Work::Wait(1000))).deadline(PATIENCE).await.unwrap();
    }
    assert_eq!(site.consumer("grind").await["error"]["err_code"], 10014, "nobody made it again");
    assert!(site.story("bread").is_empty());

    let body = serde_json::json!({ "stream_name": "rq_REQ_mill", "config": config, "action": "create" });
    site.ask("$JS.API.CONSUMER.CREATE.rq_REQ_mill.grind", body).await;
    assert_eq!(waits.await.unwrap().unwrap().attempt, 1);
    assert_eq!(worker.stats().redeliveries, 0);
}

/// An operator who shortens the lease under a running worker.
#[tokio::test(flavor = "multi_thread")]
async fn worker_does_not_bind_to_a_consumer_with_a_shorter_lease() {
    let mut nats = NatsServer::start().await.unwrap();
    let site = Site::new(&nats.url(), "rq").await;
    let worker = site.worker("one").await;
    let caller = site.caller().await;
    site.set_ack_wait("grind", Duration::from_secs(1)).await;
    nats.restart().await.unwrap();
    // The worker binds again after the restart, and finds what it cannot rest on.
    caller.once(job("other method", Work::Wait(0))).deadline(PATIENCE).await.unwrap();
    let waits = call(caller.grind(job("bread", Work::Wait(0))).deadline(PATIENCE));
    for n in 0..3 {
        caller.once(job(n, Work::Wait(1000))).deadline(PATIENCE).await.unwrap();
    }
    assert!(site.story("bread").is_empty());
    assert_eq!(site.consumer("grind").await["num_waiting"], 0);
    site.set_ack_wait("grind", super::LEASE).await;
    waits.await.unwrap().unwrap();
    eventually("it is done", async || site.count(Step::End) == 5).await;
    drop(worker);
}
