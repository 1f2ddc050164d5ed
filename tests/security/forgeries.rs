//! What arrives although nobody may send it, because the server's own answers go where the question says, and what a
//! stream takes although it is not what it seems: nobody believes it.

mod items;

use std::time::Duration;

use requite::{RequestId, RunningServer, async_nats::Message};
use serde_json::json;

use crate::{
    actor::{Actor, Sent, arrived, next},
    stage::{Layout, PATIENCE, Stage, VaultClient, until},
};

/// Every forgery on one server; returns what was tried.
pub(crate) async fn all_forgeries(version: &str, layout: Layout) -> Vec<&'static str> {
    let stage = Stage::new(version, layout).await;
    let keeper = stage.keeper(Duration::from_secs(5)).await;
    let shop = stage.caller("shop").await;
    let url = stage.nats.url();
    let (mallory, minter) = (Actor::connect(&url, "mallory").await, Actor::connect(&url, "minter").await);
    let mut tried = inbox(&stage, &shop, &mallory, &minter).await;
    tried.push(message_id(&stage, &shop, &mallory).await);
    tried.extend(headers(&stage, &mallory).await);
    tried.extend(items::all(&stage, &shop, &mallory, &minter).await);
    if layout == Layout::OneAccount {
        // In two accounts neither gets that far: the server takes over what is asked.
        tried.push(occupied_id(&stage, &shop, &mallory, &keeper).await);
        tried.push(reply_subjects(&stage, &mallory).await);
    }
    keeper.shutdown().await;
    tried
}

/// A record as the server pushed it to its caller.
async fn pushed_outcome(stage: &Stage, text: &str) -> Vec<u8> {
    let mut wire = stage.root.subscribe("rq.in.mallory.>").await;
    stage.root.denied().await;
    let mallory = stage.caller("mallory").await;
    stage.vault.open_gate();
    assert_eq!(mallory.hold(text.into()).key(text).await.unwrap(), text);
    stage.vault.close_gate();
    let is_outcome =
        |it: &Message| it.headers.as_ref().is_some_and(|it| it.get("Rq-Kind") == Some(&"outcome".into()));
    loop {
        let message = next(&mut wire, PATIENCE).await.expect("the outcome is pushed");
        if is_outcome(&message) {
            return message.payload.to_vec();
        }
    }
}

/// Messages on the inboxes of calls that wait.
async fn inbox(stage: &Stage, shop: &VaultClient, mallory: &Actor, minter: &Actor) -> Vec<&'static str> {
    // The best that a forger can have: the outcome of the same request, with another value.
    let mut outcome = pushed_outcome(stage, "paper").await;
    let value = outcome.windows(5).position(|it| it == b"paper").expect("the value is in it");
    outcome[value..value + 5].copy_from_slice(b"faked");
    pushed_outcome(stage, "other").await;
    let id = shop_id(stage, "other").await;
    let call = shop.hold("paper".into()).key("first").start().await.unwrap();
    until("it is in hand", async || stage.vault.runs("paper") == 2).await;
    let inbox = format!("rq.in.shop.vault.{}", call.id());
    let mut tap = stage.root.subscribe(&inbox).await;
    stage.root.denied().await;

    // A request of her own that looks like it: a worker who is in league with her has it sent to the inbox.
    mallory.send(&genuine(format!("rq.req.mint.coin.mallory.{}", call.id()), call.id(), &outcome)).await;
    mallory.denied().await;
    let pull = Sent::to("$JS.API.CONSUMER.MSG.NEXT.rq_REQ_mint.coin").body(json!({ "batch": 1 }));
    minter.send(&pull.reply(&inbox)).await;
    let redirected = next(&mut tap, PATIENCE).await.expect("the pull is redirected");
    assert_eq!(redirected.payload, outcome);

    for sent in [
        Sent::to(format!("$JS.API.DIRECT.GET.rq_OUT_vault.rq.out.vault.mallory.{id}")).reply(&inbox),
        Sent::request(format!("rq.req.mint.coin.mallory.{id}"), "x").reply(&inbox),
    ] {
        mallory.send(&sent).await;
        // In two accounts it goes to the shop directly, past everybody in the other account.
        if stage.layout == Layout::OneAccount {
            next(&mut tap, PATIENCE).await.expect("it is reflected");
        }
    }
    assert_eq!(mallory.denied().await, Vec::<String>::new());

    // Whoever may write on the inbox is believed: that nobody may is what protects it.
    let believes = shop.hold("paper".into()).key("second").start().await.unwrap();
    let forged = genuine(format!("rq.in.shop.vault.{}", believes.id()), believes.id(), &outcome);
    stage.root.send(&forged).await;
    assert_eq!(believes.await.unwrap(), "faked");
    stage.vault.open_gate();
    assert_eq!(call.await.unwrap(), "paper");
    vec!["a redirected pull on an inbox", "another outcome on an inbox", "an acknowledgement on an inbox"]
}

/// The outcome of the shop's call as the server pushes it.
fn genuine(subject: String, id: &RequestId, outcome: &[u8]) -> Sent {
    let stored = format!("rq.out.vault.shop.{id}");
    let headers = [("Rq-V", "1"), ("Rq-Kind", "outcome"), ("Nats-Stream", "rq_OUT_vault")];
    let sent = headers.into_iter().fold(Sent::to(subject), |sent, (name, value)| sent.header(name, value));
    sent.header("Nats-Subject", stored).bytes(outcome)
}

/// The id that a key has for any caller, who knows the key and no secret of the shop's.
async fn shop_id(stage: &Stage, key: &str) -> RequestId {
    let mallory = stage.caller("mallory").await;
    mallory.hold(key.into()).key(key).start().await.unwrap().id().clone()
}

/// The message id of a call that the shop is about to make: the stream takes the call for a repetition.
async fn message_id(stage: &Stage, shop: &VaultClient, mallory: &Actor) -> &'static str {
    let id =
        stage.caller("mallory").await.stamp("hers".into()).key("squat").start().await.unwrap().id().clone();
    let own = Sent::request("rq.req.vault.hold.mallory.k.squattersquattersquattersq", "squats");
    let squatted = own.header("Nats-Msg-Id", format!("stamp.shop.{id}"));
    mallory.send(&squatted).await;
    until("it is stored", async || stage.vault.runs("squats") == 1).await;
    let same = Sent::request(format!("rq.req.vault.stamp.root.{id}"), "x");
    let answer = stage.root.publish(&same.header("Nats-Msg-Id", format!("stamp.shop.{id}"))).await;
    assert_eq!(answer["duplicate"], true, "{answer}");
    assert_eq!(shop.stamp("the shop's".into()).key("squat").await.unwrap(), "the shop's");
    "another's message id"
}

/// A message in the place of a request that the shop is about to make.
async fn occupied_id(
    stage: &Stage,
    shop: &VaultClient,
    mallory: &Actor,
    keeper: &RunningServer,
) -> &'static str {
    let id =
        stage.caller("mallory").await.stamp("hers".into()).key("seat").start().await.unwrap().id().clone();
    let buried = keeper.stats().dead_letters;
    let own = Sent::request(format!("rq.req.mint.coin.mallory.{id}"), "x");
    let seat = format!("rq.req.vault.stamp.shop.{id}");
    mallory.send(&own.reply(&seat)).await;
    until("it is buried", async || keeper.stats().dead_letters > buried).await;
    // Until the ack is there too, the stream would say that it has the request.
    let filter = json!({ "subjects_filter": seat });
    until("it is gone", async || {
        let info = stage.root.ask("$JS.API.STREAM.INFO.rq_REQ_vault", filter.clone()).await;
        info["state"].is_object() && info["state"]["subjects"].is_null()
    })
    .await;
    assert_eq!(shop.stamp("its own".into()).key("seat").await.unwrap(), "its own");
    "an acknowledgement as another's request"
}

/// Questions whose answers are to go where workers may write and strangers may not.
async fn reply_subjects(stage: &Stage, mallory: &Actor) -> &'static str {
    let question = || Sent::to("rq.ctl.vault.mallory.-any.stamp").header("Rq-V", "1");
    let dead = "rq.dead.vault.stamp.shop.k.a";
    let mut tap = stage.root.subscribe(dead).await;
    let mut own = mallory.subscribe("_INBOX.mallory.1.-ask").await;
    stage.root.denied().await;
    mallory.send(&question().reply(dead)).await;
    mallory.send(&question().reply("_INBOX.mallory.1.-ask")).await;
    let answer = next(&mut own, PATIENCE).await.expect("a question is answered");
    assert_eq!(answer.payload, "mine");
    // Both questions were answered on one connection, or not at all.
    stage.root.denied().await;
    assert!(arrived(&mut tap).is_empty(), "the worker answers anywhere");
    "a reply subject that workers may write to"
}

/// What the server does for a header, on a stream that allows it, on requests and on items.
async fn headers(stage: &Stage, mallory: &Actor) -> Vec<&'static str> {
    let name = "prey_headers";
    let allowed = json!({
        "name": name, "subjects": ["prey.*"], "allow_rollup_hdrs": true, "allow_msg_ttl": true,
        "allow_msg_schedules": true, "allow_atomic": true,
    });
    let made = stage.root.ask(&format!("$JS.API.STREAM.CREATE.{name}"), allowed).await;
    assert!(made["error"].is_null(), "{made}");
    let mut tried = Vec::new();
    for (number, (what, headers)) in [
        ("Nats-Rollup: all", vec![("Nats-Rollup", "all")]),
        ("Nats-Rollup: sub", vec![("Nats-Rollup", "sub")]),
        ("Nats-TTL", vec![("Nats-TTL", "1s")]),
        (
            "Nats-Schedule",
            vec![("Nats-Schedule", "@at 2099-01-01T00:00:00Z"), ("Nats-Schedule-Target", "prey.later")],
        ),
        (
            "Nats-Batch-Id",
            vec![("Nats-Batch-Id", "b"), ("Nats-Batch-Sequence", "1"), ("Nats-Batch-Commit", "1")],
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let with = |sent: Sent| headers.iter().fold(sent, |sent, (name, value)| sent.header(name, *value));
        let request = Sent::request(format!("rq.req.mint.coin.mallory.k.header{number}"), "x");
        let item = Sent::to(format!("rq.itm.vault.mallory.k.header{number}.up.1"));
        // Items may have a time to live: that of whoever writes them is no harm.
        for own in [request, item].into_iter().take(if what == "Nats-TTL" { 1 } else { 2 }) {
            let refused = mallory.publish(&with(own)).await;
            assert!(refused["error"]["err_code"].is_u64(), "{what}: {refused}");
        }
        let taken = stage.root.publish(&with(Sent::to(format!("prey.n{number}")))).await;
        assert!(taken["error"].is_null(), "{what}: {taken}");
        tried.push(what);
    }
    tried
}
