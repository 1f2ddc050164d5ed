//! Messages of mallory's own, stored as the items of a call of hers, which the server itself brings wherever she has its
//! answers go: as items, credit and signals of others.

use data_encoding::BASE64;
use requite::{CallEvent, RequestId, SinkError, async_nats::Subscriber};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use serde_json::json;

use crate::{
    actor::{Actor, Sent, next},
    stage::{Layout, PATIENCE, Stage, VaultClient, until},
};

/// A frame of one item, as a caller writes it.
#[derive(Serialize)]
struct Frame {
    epoch: u32,
    writer: ByteBuf,
    /// Where frames are stored, their subjects say it.
    slot: u64,
    first: u64,
    end: Option<&'static str>,
    content_type: &'static str,
    items: Vec<ByteBuf>,
}

/// What a reader says to its writer.
#[derive(Serialize, Deserialize)]
struct Credit {
    reader: u64,
    epoch: u32,
    items: u64,
    bytes: u64,
    #[serde(default)]
    left: bool,
}

/// What a worker says of a request.
#[derive(Serialize)]
struct Signal {
    kind: &'static str,
    attempt: u32,
    attempt_id: ByteBuf,
    worker: &'static str,
    n: u64,
}

fn packed(value: &impl Serialize) -> Vec<u8> {
    rmp_serde::to_vec_named(value).unwrap()
}

/// The most that one can write into a slot: the stream's first frame, or one that replaces every writer and ends it.
fn frame(epoch: u32, end: Option<&'static str>) -> Vec<u8> {
    let (writer, content_type) = (ByteBuf::from([7; 16]), "application/msgpack");
    let items = vec![ByteBuf::from(packed(&"forged"))];
    packed(&Frame { epoch, writer, slot: 1, first: 1, end, content_type, items })
}

fn message(subject: impl Into<String>, body: &[u8]) -> Sent {
    Sent::to(subject).header("Rq-V", "1").header("Rq-Kind", "items").bytes(body)
}

/// The same with what the server says of what it has stored in this slot.
fn genuine(subject: impl Into<String>, slot: &str) -> Sent {
    message(subject, &frame(1, None)).header("Nats-Stream", "rq_ITM_vault").header("Nats-Subject", slot)
}

/// The first credit on this subject that a reader gives.
async fn given(heard: &mut Subscriber, subject: &str) -> Credit {
    loop {
        let message = next(heard, PATIENCE).await.expect("credit is given");
        if message.subject.as_str() == subject {
            let credit: Credit = rmp_serde::from_slice(&message.payload).unwrap();
            if credit.epoch > 0 {
                return credit;
            }
        }
    }
}

/// What the same reader says at last.
fn left(credit: Credit) -> Vec<u8> {
    packed(&Credit { left: true, ..credit })
}

fn is_forged(event: &CallEvent) -> bool {
    matches!(event, CallEvent::Started { worker, .. } | CallEvent::Restarted { worker, .. }
        | CallEvent::Alive { worker, .. } if worker == "forged")
}

/// Everybody who has a part in it.
struct Scene<'a> {
    stage: &'a Stage,
    shop: &'a VaultClient,
    mallory: &'a Actor,
    /// What arrives at the shop, in the account where it is.
    inbox: Subscriber,
    signals: Subscriber,
}

pub(super) async fn all(
    stage: &Stage,
    shop: &VaultClient,
    mallory: &Actor,
    minter: &Actor,
) -> Vec<&'static str> {
    let also_shop = Actor::connect(&stage.nats.url(), "shop").await;
    let inbox = also_shop.subscribe("rq.in.shop.>").await;
    let signals = also_shop.subscribe("rq.sig.*.shop.>").await;
    also_shop.denied().await;
    let mut scene = Scene { stage, shop, mallory, inbox, signals };
    let tried = vec![
        scene.before_the_call().await,
        scene.behind_the_last().await,
        scene.among_others().await,
        scene.on_an_inbox().await,
        scene.not_stored().await,
        scene.credit().await,
        scene.signal().await,
        scene.redirected(minter).await,
    ];
    assert_eq!(mallory.denied().await, Vec::<String>::new());
    tried
}

impl Scene<'_> {
    /// Has the server keep a message for mallory; returns what asks for it.
    async fn kept(&self, name: &str, sent: impl FnOnce(String) -> Sent) -> String {
        let subject = format!("rq.itm.vault.mallory.k.{name}.up.1");
        let answer = self.mallory.publish(&sent(subject.clone())).await;
        assert!(answer["seq"].is_u64(), "{name}: {answer}");
        format!("$JS.API.DIRECT.GET.rq_ITM_vault.{subject}")
    }

    async fn reflect(&self, question: &str, to: &str) {
        self.mallory.send(&Sent::to(question).reply(to)).await;
        assert_eq!(self.mallory.denied().await, Vec::<String>::new());
    }

    /// Reflects into a slot of another's call. In two accounts it does not get there.
    async fn occupy(&self, question: &str, slot: &str) {
        self.reflect(question, slot).await;
        if self.stage.layout == Layout::OneAccount {
            until("it lies there", async || self.stage.root.stored("rq_ITM_vault", slot).await.is_some())
                .await;
        }
    }

    /// Reflects to where the shop listens, which works from wherever mallory is.
    async fn bring(&mut self, question: &str, to: &str) {
        self.reflect(question, to).await;
        let ear = if to.starts_with("rq.in.") { &mut self.inbox } else { &mut self.signals };
        while next(ear, PATIENCE).await.expect("it is reflected").subject.as_str() != to {}
    }

    /// The id that this key has for everybody.
    async fn id_of(&self, key: &str) -> String {
        let mallory = self.stage.caller("mallory").await;
        let (parts, call) = mallory.pack().key(key).open().await.unwrap();
        let id = call.id().to_string();
        parts.finish().await.unwrap();
        call.await.unwrap();
        id
    }

    /// Slots that are occupied before anybody listens: the worker finds them when it looks.
    async fn before_the_call(&self) -> &'static str {
        let forged = self.kept("early", |it| message(it, &frame(1, None))).await;
        let id = self.id_of("crate").await;
        let slot = |n: u32| format!("rq.itm.vault.shop.{id}.up.{n}");
        for n in [1, 3, 1000] {
            self.occupy(&forged, &slot(n)).await;
        }
        let (mut parts, call) = self.shop.pack().key("crate").open().await.unwrap();
        for part in ["a", "b", "c"] {
            parts.send(part.into()).await.unwrap();
            parts.flush().await.unwrap();
        }
        parts.finish().await.unwrap();
        assert_eq!(call.await.unwrap(), ["a", "b", "c"]);
        // Nothing of it got anywhere in two accounts, and the shop's own frames lie behind it in one.
        let first = self.stage.root.stored("rq_ITM_vault", &slot(1)).await.unwrap();
        let is_forged = self.stage.layout == Layout::OneAccount;
        assert_eq!(first["data"].as_str() == Some(&BASE64.encode(&frame(1, None))), is_forged, "{first}");
        "another's frame in the slots of a call to come"
    }

    /// Slots behind the last: another process of the shop goes on behind what the shop itself has written.
    async fn behind_the_last(&self) -> &'static str {
        let forged = self.kept("end", |it| message(it, &frame(u32::MAX, Some("finished")))).await;
        let (mut parts, call) = self.shop.pack().key("chest").open().await.unwrap();
        parts.send("a".into()).await.unwrap();
        parts.flush().await.unwrap();
        for n in [2, 3, 4, 8] {
            self.occupy(&forged, &format!("rq.itm.vault.shop.{}.up.{n}", call.id())).await;
        }
        let elsewhere = self.stage.caller("shop").await;
        let (mut more, _call) = elsewhere.attach_pack("chest").open().await.unwrap();
        assert_eq!(more.items_stored().await, Ok(1));
        more.send("b".into()).await.unwrap();
        more.finish().await.unwrap();
        assert_eq!(call.await.unwrap(), ["a", "b"]);
        "another's frame behind the last one of a call"
    }

    /// The worker and the shop are at it, and hear of each slot when it is taken.
    async fn among_others(&self) -> &'static str {
        let forged = self.kept("late", |it| message(it, &frame(u32::MAX, Some("abandoned")))).await;
        let (mut words, mut back, call) = self.shop.echo().key("letter").open().await.unwrap();
        for (n, word) in ["a", "b", "c"].into_iter().enumerate() {
            words.send(word.into()).await.unwrap();
            assert_eq!(back.next().await, Some(Ok(word.into())));
            // Each word, and what was occupied, has taken a slot.
            for slot in [2 * n + 2, 2 * n + 9] {
                self.occupy(&forged, &format!("rq.itm.vault.shop.{}.up.{slot}", call.id())).await;
            }
        }
        words.finish().await.unwrap();
        assert_eq!(back.next().await, None);
        call.await.unwrap();
        "another's frame among those of a call"
    }

    /// What arrives at readers, past the stream.
    async fn on_an_inbox(&mut self) -> &'static str {
        let (mut words, mut back, call) = self.shop.echo().key("note").open().await.unwrap();
        let id = call.id().clone();
        self.listens(&id).await;
        for side in ["down", "up"] {
            let stored = format!("rq.itm.vault.shop.{id}.{side}.1");
            let forged = self.kept(&format!("genuine-{side}"), |it| genuine(it, &stored)).await;
            self.bring(&forged, &format!("rq.in.shop.vault.{id}.{side}.1")).await;
        }
        // Whoever may write on the inbox is believed: that nobody may is what protects it.
        let (_words, mut believed, other) = self.shop.echo().key("fake").open().await.unwrap();
        let stored = format!("rq.itm.vault.shop.{}.down.1", other.id());
        let forged = genuine(format!("rq.in.shop.vault.{}.down.1", other.id()), &stored);
        self.stage.root.send(&forged).await;
        assert_eq!(believed.next().await, Some(Ok("forged".into())));

        words.send("a".into()).await.unwrap();
        assert_eq!(back.next().await, Some(Ok("a".into())));
        words.finish().await.unwrap();
        assert_eq!(back.next().await, None);
        call.await.unwrap();
        "another's frame on an inbox"
    }

    /// Of a stream that is not stored, frames come from whoever may publish them.
    async fn not_stored(&mut self) -> &'static str {
        let forged = self.kept("unstored", |it| message(it, &frame(1, None))).await;
        let (mut words, mut back, call) = self.shop.talk().key("call").open().await.unwrap();
        let id = call.id().clone();
        self.listens(&id).await;
        self.bring(&forged, &format!("rq.sig.vault.shop.{id}.down")).await;
        self.reflect(&forged, &format!("rq.ctl.vault.shop.{id}.up")).await;

        let (_words, mut believed, other) = self.shop.talk().key("prank").open().await.unwrap();
        let down = format!("rq.sig.vault.shop.{}.down", other.id());
        self.stage.root.send(&message(down, &frame(1, None))).await;
        assert_eq!(believed.next().await, Some(Ok("forged".into())));

        words.send("a".into()).await.unwrap();
        assert_eq!(back.next().await, Some(Ok("a".into())));
        words.finish().await.unwrap();
        assert_eq!(back.next().await, None);
        call.await.unwrap();
        "another's frame where nothing is stored"
    }

    /// Resolves when the handler of a call has begun to listen: with the credit that it gives then.
    async fn listens(&mut self, id: &RequestId) -> Credit {
        given(&mut self.signals, &format!("rq.sig.vault.shop.{id}.credit")).await
    }

    /// "The reader wants no more, ever", to either writer, from somebody who knows what its reader's word looks like.
    async fn credit(&mut self) -> &'static str {
        let mut controls = self.stage.root.subscribe("rq.ctl.vault.shop.*.*.credit").await;
        self.stage.root.denied().await;
        let (mut words, mut back, call) = self.shop.echo().key("talk").open().await.unwrap();
        let id = call.id().clone();
        words.send("a".into()).await.unwrap();
        assert_eq!(back.next().await, Some(Ok("a".into())));
        let up = left(self.listens(&id).await);
        let down = left(given(&mut controls, &format!("rq.ctl.vault.shop.{id}.credit")).await);
        let (up, down) =
            (self.kept("up", |it| message(it, &up)).await, self.kept("down", |it| message(it, &down)).await);
        self.bring(&up, &format!("rq.sig.vault.shop.{id}.credit")).await;
        self.reflect(&down, &format!("rq.ctl.vault.shop.{id}.credit")).await;

        let (mut believes, _back, other) = self.shop.echo().key("hush").open().await.unwrap();
        let up = left(self.listens(other.id()).await);
        let up = message(format!("rq.sig.vault.shop.{}.credit", other.id()), &up);
        until("whoever may give credit is believed", async || {
            self.stage.root.send(&up).await;
            believes.send("a".into()).await == Err(SinkError::Left)
        })
        .await;

        for word in ["b", "c"] {
            words.send(word.into()).await.unwrap();
            assert_eq!(back.next().await, Some(Ok(word.into())));
        }
        words.finish().await.unwrap();
        assert_eq!(back.next().await, None);
        call.await.unwrap();
        "another's message as credit"
    }

    /// A sign of life of an attempt that never was, behind which nothing of the true one would be told.
    async fn signal(&mut self) -> &'static str {
        let attempt_id = ByteBuf::from([7; 16]);
        let signal =
            packed(&Signal { kind: "alive", attempt: u32::MAX, attempt_id, worker: "forged", n: u64::MAX });
        let forged = self.kept("signal", |it| message(it, &signal)).await;
        self.stage.vault.close_gate();
        let mut call = self.shop.hold("watched".into()).key("watched").start().await.unwrap();
        let mut events = call.events();
        while !matches!(events.next().await, Some(CallEvent::Started { attempt: 1, .. })) {}
        self.bring(&forged, &format!("rq.sig.vault.shop.{}", call.id())).await;

        let mut other = self.shop.hold("fooled".into()).key("fooled").start().await.unwrap();
        let mut believed = other.events();
        let signal = message(format!("rq.sig.vault.shop.{}", other.id()), &signal);
        // Before it is known that the key stands for this call, nobody is.
        while !matches!(believed.next().await, Some(CallEvent::Started { attempt: 1, .. })) {}
        self.stage.root.send(&signal).await;
        while !is_forged(&believed.next().await.expect("whoever may signal is believed")) {}

        self.stage.vault.open_gate();
        while let Some(event) = events.next().await {
            assert!(!is_forged(&event), "{event:?}");
        }
        assert_eq!(call.await.unwrap(), "watched");
        "another's message as a signal"
    }

    /// What a worker of another service pulls keeps its headers, and its own subject with them.
    async fn redirected(&mut self, minter: &Actor) -> &'static str {
        self.stage.root.ask("$JS.API.STREAM.PURGE.rq_REQ_mint", "").await;
        let (mut words, mut back, call) = self.shop.echo().key("bag").open().await.unwrap();
        let id = call.id().clone();
        let credit = left(self.listens(&id).await);
        let slot = format!("rq.itm.vault.shop.{id}.up.1");
        let pull = Sent::to("$JS.API.CONSUMER.MSG.NEXT.rq_REQ_mint.coin").body(json!({ "batch": 1 }));
        let own = |name: &str| format!("rq.req.mint.coin.mallory.k.{name}");
        for (name, body, to) in [
            ("frame", &frame(1, None), &slot),
            ("credit", &credit, &format!("rq.sig.vault.shop.{id}.credit")),
        ] {
            let answer = self.mallory.publish(&message(own(name), body)).await;
            assert!(answer["seq"].is_u64(), "{answer}");
            minter.send(&pull.clone().reply(to)).await;
            assert_eq!(minter.denied().await, Vec::<String>::new());
        }
        let root = &self.stage.root;
        until("it is stored", async || root.stored("rq_ITM_vault", &own("frame")).await.is_some()).await;
        assert!(root.stored("rq_ITM_vault", &slot).await.is_none());
        while next(&mut self.signals, PATIENCE).await.expect("it is redirected").payload != credit {}
        words.send("a".into()).await.unwrap();
        assert_eq!(back.next().await, Some(Ok("a".into())));
        words.finish().await.unwrap();
        assert_eq!(back.next().await, None);
        call.await.unwrap();
        "a redirected pull in another's slot, and as credit"
    }
}
