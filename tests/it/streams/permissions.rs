//! What a worker of streams may not do it finds out before it serves: items that cannot be stored would end every attempt.

use requite::{Client, Name, Permissions, ServeError, Setup, SetupError, prelude::*};
use requite_test::NatsServer;
use serde_json::{Value, json};

use super::fixture::Belt;
use crate::caller::fixture::{SOON, within};

/// What is taken from the lists of a worker, and where the server says no.
const DENIED: [(&str, &str); 2] = [
    ("rq.put.*.itm.>", ".itm.belt.-rights.-.0.down.0"),
    ("$JS.API.STREAM.MSG.GET.rq_ITM_belt", "$JS.API.STREAM.MSG.GET.rq_ITM_belt"),
];

/// A user who sets up, a worker with all that it needs, and one for each thing that it lacks.
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
