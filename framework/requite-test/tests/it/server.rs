//! One server: its life and its faults.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use requite_test::{NatsServer, ServerError};

use crate::{alive, ask, fill, messages, until};

#[tokio::test]
async fn server_answers_with_jetstream() {
    let server = NatsServer::start().await.unwrap();
    let account = ask(&server, "$JS.API.INFO", "").await;
    assert_eq!(account["type"], "io.nats.jetstream.api.v1.account_info_response", "{account}");
    assert_eq!(server.url(), format!("nats://127.0.0.1:{}", server.port()));
    assert!(server.log().contains("Server is ready"));
    assert!(server.store_dir().join("jetstream").is_dir());
    if cfg!(target_os = "linux") {
        assert!(server.memory_bytes().unwrap() > 1_000_000);
        assert!(server.cpu_time().unwrap() < Duration::from_secs(10));
    }
}

#[tokio::test]
async fn pinned_versions_run() {
    for version in ["2.12.8", "2.14.6", "2.15.1"] {
        let server = NatsServer::builder().version(version).start().await.unwrap();
        assert!(server.log().contains(&format!("Version:  {version}")), "{}", server.log());
        fill(&server).await;
    }
}

#[tokio::test]
async fn restart_keeps_port_and_store() {
    let mut server = NatsServer::start().await.unwrap();
    fill(&server).await;
    let (url, first) = (server.url(), server.pid());
    server.restart().await.unwrap();
    assert_eq!(server.url(), url);
    assert_ne!(server.pid(), first);
    assert_eq!(messages(&server).await, 1);
}

#[tokio::test]
async fn kill9_is_a_crash_and_restart_recovers() {
    let mut server = NatsServer::start().await.unwrap();
    fill(&server).await;
    let pid = server.pid().unwrap();
    server.kill9().await;
    assert!(!alive(pid));
    assert_eq!(server.pid(), None);
    assert!(matches!(server.ask("$JS.API.INFO", "").await, Err(ServerError::NoAnswer { .. })));
    assert!(matches!(server.pause(), Err(ServerError::NotRunning { .. })));
    server.kill9().await;
    server.restart().await.unwrap();
    assert_eq!(messages(&server).await, 1);
    assert!(!server.log().contains("Server Exiting"), "that was no crash");
}

#[tokio::test]
async fn terminate_stops_also_a_paused_server() {
    let mut server = NatsServer::start().await.unwrap();
    server.pause().unwrap();
    server.terminate().await.unwrap();
    assert_eq!(server.pid(), None);
    assert!(server.log().contains("Server Exiting"));
}

#[tokio::test]
async fn paused_server_is_silent_until_resumed() {
    let mut server = NatsServer::start().await.unwrap();
    server.pause().unwrap();
    let silence = server.ask("$JS.API.INFO", "").await.unwrap_err();
    assert!(silence.to_string().contains("does not answer"), "{silence}");
    server.resume().unwrap();
    server.wait_ready().await.unwrap();
    ask(&server, "$JS.API.INFO", "").await;
}

#[tokio::test]
async fn upgrade_keeps_the_store() {
    let mut server = NatsServer::builder().version("2.12.8").start().await.unwrap();
    fill(&server).await;
    server.restart_with("2.15.1").await.unwrap();
    assert_eq!(server.binary().release().to_string(), "2.15.1");
    assert_eq!(messages(&server).await, 1);
}

#[tokio::test]
async fn nobody_gets_the_port_while_the_server_is_down() {
    let mut server = NatsServer::start().await.unwrap();
    server.kill9().await;
    // One who asks for just any free port is treated as strictly as one that does not set SO_REUSEADDR.
    if cfg!(target_os = "linux") {
        let other = tokio::net::TcpSocket::new_v4().unwrap();
        let taken = other.bind(([127, 0, 0, 1], server.port()).into()).unwrap_err();
        assert_eq!(taken.kind(), std::io::ErrorKind::AddrInUse);
    }
    server.restart().await.unwrap();
}

#[tokio::test]
async fn servers_side_by_side_share_nothing() {
    let (one, two) = tokio::join!(NatsServer::start(), NatsServer::start());
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_ne!(one.port(), two.port());
    fill(&one).await;
    fill(&two).await;
    drop(one);
    assert_eq!(messages(&two).await, 1);
}

#[tokio::test]
async fn users_and_permissions_are_configured() {
    let server = NatsServer::builder()
        .config(r#"authorization { users: [ { user: ada, password: "pw", permissions: { publish: ["$JS.API.INFO"] } } ] }"#)
        .credentials("ada", "pw")
        .start()
        .await
        .unwrap();
    assert_eq!(server.url_as("ada", "pw"), format!("nats://ada:pw@127.0.0.1:{}", server.port()));
    ask(&server, "$JS.API.INFO", "").await;
    let refused = server.ask("$JS.API.STREAM.NAMES", "").await.unwrap_err();
    assert!(refused.to_string().contains("Permissions Violation"), "{refused}");
}

#[tokio::test]
async fn server_that_lets_nobody_in_still_gets_ready() {
    let server =
        NatsServer::builder().config(r#"authorization { user: ada, password: "pw" }"#).start().await.unwrap();
    let refused = server.ask("$JS.API.INFO", "").await.unwrap_err();
    assert!(refused.to_string().contains("Authorization Violation"), "{refused}");
}

#[tokio::test]
async fn wrong_configuration_is_shown_from_the_log() {
    let error = NatsServer::builder().config("no_such_setting: 1").start().await.unwrap_err();
    assert!(matches!(error, ServerError::Exited { .. }), "{error}");
    assert!(error.to_string().contains("no_such_setting"), "{error}");
}

#[tokio::test]
async fn server_that_never_gets_ready_is_given_up() {
    let limit = Duration::from_millis(300);
    // A server that listens to its monitor alone, as far as the probe can see.
    let builder =
        NatsServer::builder().config("tls { cert_file: /nowhere, key_file: /nowhere }").patience(limit);
    assert!(matches!(builder.start().await, Err(ServerError::Exited { .. })));
    let builder = NatsServer::builder().config("jetstream: disabled").patience(limit);
    let error = builder.start().await.unwrap_err();
    assert!(matches!(error, ServerError::NotReady { .. }), "{error}");
    assert!(error.to_string().contains("JetStream is off"), "{error}");
}

#[tokio::test]
async fn reload_takes_users_away_and_lets_them_in_again() {
    let users = |names: &[&str]| {
        let users = names.iter().map(|name| format!(r#"{{ user: "{name}", password: "x" }}"#));
        format!("authorization {{ users: [{}] }}", users.collect::<Vec<_>>().join(", "))
    };
    let both = users(&["ada", "bob"]);
    let mut server = NatsServer::builder().config(&both).credentials("ada", "x").start().await.unwrap();
    let (pid, url) = (server.pid(), server.url());
    server.reload(users(&["bob"])).await.unwrap();
    let error = server.ask("$JS.API.INFO", "").await.unwrap_err();
    assert!(error.to_string().contains("Authorization Violation"), "{error}");
    let error = server.reload(format!("{both}\nnonsense {{")).await.unwrap_err();
    assert!(error.to_string().contains("not reloaded"), "{error}");
    server.reload(&both).await.unwrap();
    ask(&server, "$JS.API.INFO", "").await;
    assert_eq!((server.pid(), server.url()), (pid, url));
}

#[tokio::test]
async fn drop_removes_everything() {
    for paused in [false, true] {
        let mut server = NatsServer::start().await.unwrap();
        if paused {
            server.pause().unwrap();
        }
        let (pid, watchdog) = (server.pid().unwrap(), server.watchdog_pid().try_into().unwrap());
        let store = server.store_dir();
        drop(server);
        assert!(!alive(pid) && !alive(watchdog) && !store.parent().unwrap().exists());
    }
}

#[tokio::test]
async fn panic_removes_everything() {
    let server = NatsServer::start().await.unwrap();
    let (pid, store) = (server.pid().unwrap(), server.store_dir());
    let panicked = std::panic::catch_unwind(AssertUnwindSafe(move || {
        let _alive_until_unwound = server;
        panic!("on purpose");
    }));
    assert!(panicked.is_err() && !alive(pid) && !store.parent().unwrap().exists());
}

#[tokio::test]
async fn aborted_task_leaves_no_server() {
    let (sent, received) = std::sync::mpsc::channel();
    let giving_up = tokio::spawn(async move {
        let server = NatsServer::start().await.unwrap();
        sent.send(server.pid().unwrap()).unwrap();
        std::future::pending::<()>().await;
        drop(server);
    });
    let pid = tokio::task::spawn_blocking(move || received.recv().unwrap()).await.unwrap();
    giving_up.abort();
    until("the server of an aborted task is gone", || !alive(pid)).await;
}

#[tokio::test(start_paused = true)]
async fn paused_clock_does_not_disturb() {
    let mut server = NatsServer::start().await.unwrap();
    server.restart().await.unwrap();
    ask(&server, "$JS.API.INFO", "").await;
}
