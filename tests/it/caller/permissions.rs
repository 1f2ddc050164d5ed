//! What callers meet under the permissions that are printed for them: everything that is meant works, and nobody can
//! speak in another's name. All roles and attacks, on all servers, are in `tests/security/`.

use std::time::Duration;

use requite::{
    CallError, Client, Name, Permissions, Setup, Why,
    async_nats::{self, Event, HeaderMap, ServerError},
    prelude::*,
};
use requite_test::NatsServer;
use tokio::sync::mpsc;

use super::fixture::{Clerk, ClerkClient, SOON, Stamped, until, within};

/// A user for each role, in one account.
fn users() -> String {
    let name = |text: &str| text.parse::<Name>().unwrap();
    let (rq, clerk) = (name("rq"), name("clerk"));
    let user = |user: &str, of: fn(&Name, &Name, &Name) -> Permissions| {
        format!(r#"{{ user: {user}, password: x, permissions: {} }}"#, of(&rq, &clerk, &name(user)))
    };
    let users = [
        user("setup", Permissions::setup),
        user("office", Permissions::worker),
        user("shop", Permissions::caller),
        user("mallory", Permissions::caller),
        "{ user: root, password: x }".into(),
    ];
    format!("authorization {{ users: [{}] }}", users.join(", "))
}

/// Set up by one user, served by another.
struct Guarded {
    nats: NatsServer,
    clerk: Clerk,
    worker: requite::RunningServer,
}

impl Guarded {
    async fn new() -> Self {
        let nats = NatsServer::builder().config(users()).credentials("root", "x").start().await.unwrap();
        let clerk = Clerk::new();
        let setup = Server::new(&connect(&nats, "setup").await).serve(clerk.clone());
        setup.prepare().await.unwrap();
        let office = Server::new(&connect(&nats, "office").await).serve(clerk.clone());
        let worker = office.setup(Setup::Verify).start().await.unwrap();
        Self { nats, clerk, worker }
    }

    async fn client(&self, user: &str) -> ClerkClient {
        ClerkClient::new(connect(&self.nats, user).await)
    }
}

async fn connect(nats: &NatsServer, user: &str) -> Client {
    Client::builder().url(nats.url_as(user, "x")).caller(user).connect().await.unwrap()
}

#[tokio::test]
async fn everything_that_is_meant_works() {
    let office = Guarded::new().await;
    let shop = office.client("shop").await;
    assert_eq!(within(SOON, shop.stamp("a".into()).require_worker()).await.unwrap().run, 1);
    let first = within(SOON, shop.stamp("b".into()).key("order")).await.unwrap();
    let other = office.client("shop").await;
    assert_eq!(within(SOON, other.stamp("b".into()).key("order")).await.unwrap(), first);
    assert_eq!(within(SOON, other.attach_stamp("order")).await.unwrap(), first);

    // A handler that outlives its first heartbeat is claimed for, beaten for and watched.
    let (seen, mut signs) = mpsc::unbounded_channel();
    let held = within(SOON, shop.hold("c".into()).start()).await.unwrap();
    let held = held.on_event(move |event| drop(seen.send(event.clone())));
    let held = tokio::spawn(std::future::IntoFuture::into_future(held));
    let alive = async { while !matches!(signs.recv().await.unwrap(), requite::CallEvent::Alive { .. }) {} };
    within(SOON, alive).await;
    let queued = within(SOON, shop.queue("d".into()).start()).await.unwrap();
    office.clerk.has_begun(4).await;
    let waits = within(SOON, shop.queue("e".into()).start_within(Duration::from_millis(50))).await;
    assert!(
        matches!(&waits, Err(CallError::Unknown(unknown)) if unknown.why == Why::NotStarted),
        "{waits:?}"
    );
    office.clerk.let_go();
    assert_eq!(within(SOON, held).await.unwrap().unwrap().text, "c");
    assert_eq!(within(SOON, queued).await.unwrap().text, "d");
    let stats = office.worker.stats();
    assert!(stats.claims > 0 && stats.heartbeats > 0 && stats.lost_leases == 0, "{stats:?}");
}

/// A connection of mallory's that notes what the server denies.
async fn mallory(office: &Guarded) -> (async_nats::Client, mpsc::UnboundedReceiver<String>) {
    let (denied, denials) = mpsc::unbounded_channel();
    let options = async_nats::ConnectOptions::with_user_and_password("mallory".into(), "x".into())
        .custom_inbox_prefix("_INBOX.mallory")
        .event_callback(move |event| {
            if let Event::ServerError(ServerError::Other(text)) = event {
                let _ = denied.send(text);
            }
            std::future::ready(())
        });
    (options.connect(office.nats.url()).await.unwrap(), denials)
}

#[tokio::test]
async fn nobody_can_publish_in_anothers_name() {
    let office = Guarded::new().await;
    let call =
        within(SOON, office.client("shop").await.hold("mine".into()).key("order").start()).await.unwrap();
    office.clerk.has_begun(1).await;
    let id = call.id().clone();
    let (mallory, mut denials) = mallory(&office).await;
    for subject in [
        format!("rq.req.clerk.stamp.shop.{id}"),
        format!("rq.out.clerk.shop.{id}"),
        format!("rq.put.0123456789abcdef0123456789abcdef.out.clerk.shop.{id}"),
        format!("rq.in.shop.clerk.{id}"),
        format!("rq.sig.clerk.shop.{id}"),
        format!("rq.ctl.clerk.shop.{id}.ping"),
        format!("$JS.API.DIRECT.GET.rq_OUT_clerk.rq.out.clerk.shop.{id}"),
        "rq.dead.clerk.stamp.shop.k.a".into(),
        "rq.ctl.clerk.-w.abc.mine".into(),
        "$JS.API.STREAM.INFO.rq_OUT_clerk".into(),
        "$JS.API.STREAM.MSG.GET.rq_OUT_clerk".into(),
        "$JS.API.STREAM.PURGE.rq_OUT_clerk".into(),
        "$JS.API.CONSUMER.MSG.NEXT.rq_REQ_clerk.stamp".into(),
        "$JS.ACK.rq_REQ_clerk.hold.1.1.1.0.0".into(),
    ] {
        mallory.publish(subject.clone(), "x".into()).await.unwrap();
        let denied = within(SOON, denials.recv()).await.unwrap();
        assert!(denied.to_lowercase().contains("publish") && denied.contains(&subject), "{denied}");
    }
    for subject in ["rq.in.shop.>", "rq.req.>", "_INBOX.shop.>", "rq.put.>"] {
        let _subscription = mallory.subscribe(subject).await.unwrap();
        let denied = within(SOON, denials.recv()).await.unwrap();
        assert!(denied.to_lowercase().contains("subscription") && denied.contains(subject), "{denied}");
    }
    office.clerk.let_go();
    assert_eq!(within(SOON, call).await.unwrap(), Stamped { run: 1, text: "mine".into() });
}

/// The one way past the permissions: the server's answers go where the asker wants them.
#[tokio::test]
async fn reflected_answers_speak_in_nobodys_name() {
    let office = Guarded::new().await;
    let own = office.client("mallory").await;
    office.clerk.let_go();
    let own_id = {
        let call = within(SOON, own.hold("forged".into()).key("order").start()).await.unwrap();
        let id = call.id().clone();
        within(SOON, call).await.unwrap();
        id
    };
    office.clerk.hold_back();
    let call =
        within(SOON, office.client("shop").await.hold("mine".into()).key("order").start()).await.unwrap();
    office.clerk.has_begun(2).await;
    assert_eq!(*call.id(), own_id, "one key, one id: only the caller's name keeps them apart");

    let (mallory, _denials) = mallory(&office).await;
    let inbox = format!("rq.in.shop.clerk.{own_id}");
    let read = format!("$JS.API.DIRECT.GET.rq_OUT_clerk.rq.out.clerk.mallory.{own_id}");
    mallory.publish_with_reply(read.clone(), inbox.clone(), "".into()).await.unwrap();
    // The same, aimed at the streams: as a record, and as a request of the shop.
    mallory.publish_with_reply(read.clone(), format!("rq.out.clerk.shop.{own_id}"), "".into()).await.unwrap();
    mallory.publish_with_reply(read, format!("rq.req.clerk.stamp.shop.{own_id}"), "".into()).await.unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("Rq-V", "1");
    let request = "rq.req.clerk.stamp.mallory.abcdefghijklmnopqrstuvwxyz.1";
    mallory.publish_with_reply_and_headers(request, inbox, headers, "x".into()).await.unwrap();
    mallory.flush().await.unwrap();

    // The server itself refuses the reflected record as a request: it carries an expectation.
    until("mallory's own bad request is buried", async || office.worker.stats().dead_letters == 1).await;
    office.clerk.let_go();
    assert_eq!(within(SOON, call).await.unwrap(), Stamped { run: 2, text: "mine".into() });
    assert_eq!(office.clerk.runs(), 2);
}
