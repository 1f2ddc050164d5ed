//! What a worker of streams may not do it finds out before it serves: items that cannot be stored would end every attempt. A
//! caller finds it out where it sends.

use requite::{Client, Name, Permissions, ServeError, Setup, SetupError, SinkError, prelude::*};
use requite_test::NatsServer;
use serde_json::{Value, json};

use super::fixture::{Belt, BeltClient};
use crate::caller::fixture::{SHOP, SOON, within};

/// What is taken from the lists of a worker, and where the server says no.
const DENIED: [(&str, &str); 2] = [
    ("rq.put.*.itm.>", ".itm.belt.-rights.-.0.down.0"),
    ("$JS.API.STREAM.MSG.GET.rq_ITM_belt", "$JS.API.STREAM.MSG.GET.rq_ITM_belt"),
];

/// What is taken from the list of a caller: its items, stored and not.
const UNSENT: [&str; 2] = ["rq.itm.belt.shop.*.*.up.*", "rq.ctl.belt.shop.*.*.up"];

/// A user who sets up, a worker with all that it needs, one for each thing that it lacks, and a caller that sends no items.
fn users() -> String {
    let [rq, belt, setup, worker] = ["rq", "belt", "setup", "worker"].map(|it| it.parse::<Name>().unwrap());
    let user = |user: &str, permissions: &Permissions, denied: &[&str]| {
        let mut permissions: Value = serde_json::from_str(&permissions.to_string()).unwrap();
        permissions["publish"]["deny"] = json!(denied);
        json!({ "user": user, "password": "x", "permissions": permissions })
    };
    let mut users = vec![
        json!({ "user": "root", "password": "x" }),
        user("setup", &Permissions::setup(&rq, &belt, &setup), &[]),
        user("worker", &Permissions::worker(&rq, &belt, &worker), &[]),
        user(SHOP, &Permissions::caller(&rq, &belt, &SHOP.parse().unwrap()), &UNSENT),
    ];
    for (n, (denied, _)) in DENIED.iter().enumerate() {
        let name = format!("lacking{n}");
        users.push(user(&name, &Permissions::worker(&rq, &belt, &name.parse().unwrap()), &[denied]));
    }
    format!("authorization {{ users: {} }}", Value::from(users))
}

#[tokio::test]
async fn worker_that_may_not_store_or_read_items_does_not_start() {
    let nats = NatsServer::builder().config(users()).credentials("root", "x").start().await.unwrap();
    let server = async |user: &str| {
        let client = Client::builder().url(nats.url_as(user, "x")).caller(user).connect().await.unwrap();
        Server::new(&client).serve(Belt::default())
    };
    server("setup").await.prepare().await.unwrap();
    let start = async |user: &str| within(SOON, server(user).await.setup(Setup::Verify).start()).await;
    start("worker").await.unwrap().shutdown().await;
    for (n, (_, wanted)) in DENIED.iter().enumerate() {
        match start(&format!("lacking{n}")).await.map(|_| ()) {
            Err(ServeError::Setup(SetupError::PermissionDenied { subject })) => {
                assert!(subject.ends_with(wanted), "{subject}");
            }
            other => panic!("{wanted}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn caller_that_may_not_send_items_is_told() {
    let nats = NatsServer::builder().config(users()).credentials("root", "x").start().await.unwrap();
    let client = async |user: &str| {
        Client::builder().url(nats.url_as(user, "x")).caller(user).connect().await.unwrap()
    };
    let _worker = Server::new(&client("root").await).serve(Belt::default()).start().await.unwrap();
    let belt = BeltClient::new(client(SHOP).await);
    let (mut stored, _call) = within(SOON, belt.sum().open()).await.unwrap();
    let (mut unstored, _other) = within(SOON, belt.sum_unstored().open()).await.unwrap();
    for (numbers, prefix) in [(&mut stored, "rq.itm.belt.shop."), (&mut unstored, "rq.ctl.belt.shop.")] {
        within(SOON, numbers.send(1)).await.unwrap();
        let refused = within(SOON, numbers.flush()).await;
        let Err(SinkError::Refused { text }) = &refused else { panic!("{refused:?}") };
        assert!(text.starts_with(&format!("no permission to publish to {prefix}")), "{text}");
        assert_eq!(within(SOON, numbers.send(2)).await, refused);
    }
}
