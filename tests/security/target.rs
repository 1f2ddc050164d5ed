//! What an attempt is aimed at, and what an attacker can make of it.

use serde_json::json;

use crate::{
    actor::Sent,
    attempt::{Aim, Expected},
    stage::{Layout, Stage, VaultClient, until},
};

/// What an attempt is aimed at: made for it alone, so that it cannot work by chance.
pub(crate) struct Target {
    layout: Layout,
    /// Different for every attempt; with `k.` before it, the id of a key.
    pub(crate) mark: String,
    pub(crate) secret: String,
    pub(crate) item_secret: String,
    /// Where somebody else's outcome is stored, and as which message.
    pub(crate) outcome: (String, u64),
    /// The same of an item that somebody else sends.
    pub(crate) item: (String, u64),
    /// The subject of somebody else's request that is being run.
    held: String,
    /// What its ack subject ends in.
    pub(crate) numbers: String,
}

/// What has to be there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    Nothing,
    /// A stream `prey_<mark>` with a message `prey.<mark>` and a consumer `prey`.
    Prey,
    /// A request of the shop that a worker has in hand.
    Held,
    /// A request of the shop that waits at the mint.
    Queued,
    /// An item of mallory's own that says how a stream is to be.
    Item,
}

impl Target {
    pub(crate) async fn new(stage: &Stage, shop: &VaultClient, needs: Needs, number: usize) -> Self {
        let letter = |n: usize| char::from(b'a' + u8::try_from(n % 26).unwrap());
        let mark: String = [number / 26, number].map(letter).into_iter().chain(['x'; 24]).collect();
        let place = async |stream: &str, subject: String| {
            let sequence = stage.root.stored(stream, &subject).await.unwrap()["seq"].as_u64().unwrap();
            (subject, sequence)
        };
        let mut target = Self {
            layout: stage.layout,
            secret: stage.secret("rq_OUT_vault").await,
            item_secret: stage.secret("rq_ITM_vault").await,
            outcome: place("rq_OUT_vault", format!("rq.out.vault.shop.{ORDER}")).await,
            item: place("rq_ITM_vault", format!("rq.itm.vault.shop.{ORDER}.up.1")).await,
            held: String::new(),
            numbers: String::new(),
            mark,
        };
        match needs {
            Needs::Nothing => {}
            Needs::Prey => target.make_prey(stage).await,
            Needs::Item => {
                let config = json!({ "name": target.made(), "subjects": [target.made()] });
                stage.root.store(&Sent::to(target.own_slot()).body(config)).await;
            }
            Needs::Queued => {
                stage.root.store(&Sent::request(target.queued(), "queued")).await;
            }
            Needs::Held => {
                let held = shop.hold(target.mark.clone()).start().await.unwrap();
                let subject = format!("rq.req.vault.hold.shop.{}", held.id());
                until("it is in hand", async || stage.vault.runs(&target.mark) == 1).await;
                let request = stage.root.stored("rq_REQ_vault", &subject).await.unwrap();
                target.numbers = stage.ack_numbers("hold", &request).await;
                target.held = subject;
            }
        }
        target
    }

    async fn make_prey(&self, stage: &Stage) {
        let (name, subject) = (self.prey(), format!("prey.{}", self.mark));
        for (question, body) in [
            (format!("STREAM.CREATE.{name}"), json!({ "name": name, "subjects": [subject] })),
            (
                format!("CONSUMER.CREATE.{name}.prey"),
                json!({ "stream_name": name, "config": { "durable_name": "prey", "ack_policy": "explicit" } }),
            ),
        ] {
            let made = stage.root.ask(&format!("$JS.API.{question}"), body).await;
            assert!(made["error"].is_null(), "{made}");
        }
        stage.root.store(&Sent::to(subject).body("x")).await;
    }

    /// A stream that is not there.
    pub(crate) fn made(&self) -> String {
        format!("made_{}", self.mark)
    }

    pub(crate) fn prey(&self) -> String {
        format!("prey_{}", self.mark)
    }

    /// The id of somebody else's key.
    pub(crate) fn id(&self) -> String {
        format!("k.{}", self.mark)
    }

    pub(crate) fn queued(&self) -> String {
        format!("rq.req.mint.coin.shop.{}", self.id())
    }

    pub(crate) fn put(&self, secret: &str) -> (Sent, Aim) {
        self.put_kind("out", secret)
    }

    /// An outcome, or what lies beside it.
    pub(crate) fn put_kind(&self, kind: &str, secret: &str) -> (Sent, Aim) {
        let record = format!("{kind}.vault.shop.{}", self.id());
        let stored = Aim::Stored("rq_OUT_vault".into(), format!("rq.{record}"));
        (Sent::to(format!("rq.put.{secret}.{record}")).body("forged"), stored)
    }

    /// An item that a handler sends to somebody else.
    pub(crate) fn put_item(&self, secret: &str) -> (Sent, Aim) {
        let item = format!("itm.vault.shop.{}.down.1", self.id());
        let stored = Aim::Stored("rq_ITM_vault".into(), format!("rq.{item}"));
        (Sent::to(format!("rq.put.{secret}.{item}")).body("forged"), stored)
    }

    /// A slot for an item that somebody else sends.
    pub(crate) fn slot(&self) -> String {
        format!("rq.itm.vault.shop.{}.up.1", self.id())
    }

    pub(crate) fn own_slot(&self) -> String {
        format!("rq.itm.vault.mallory.{}.up.1", self.id())
    }

    pub(crate) fn ack(&self, body: &str) -> Sent {
        Sent::to(format!("$JS.ACK.rq_REQ_vault.hold.1.{}", self.numbers)).body(body)
    }

    pub(crate) fn removed(&self) -> Aim {
        Aim::Lost("rq_REQ_vault".into(), self.held.clone())
    }

    /// A request of mallory's own, which the server acknowledges to wherever she wants it.
    pub(crate) fn acknowledged_to(&self, subject: impl Into<String>) -> Sent {
        let own = format!("rq.req.mint.coin.mallory.{}", self.id());
        Sent::request(own, "mine").reply(subject)
    }

    /// A read of mallory's own that finds nothing, which the server says in an empty message.
    pub(crate) fn not_found_to(&self, subject: impl Into<String>) -> Sent {
        let own = format!("$JS.API.DIRECT.GET.rq_OUT_mint.rq.out.mint.mallory.{}", self.id());
        Sent::to(own).reply(subject)
    }

    /// Callers who may do harm belong in an account of their own.
    pub(crate) fn unless_apart(&self) -> Expected {
        if self.layout == Layout::OneAccount { Expected::Works } else { Expected::Nothing }
    }

    pub(crate) fn prey_is_gone(&self) -> Aim {
        Aim::Says(format!("STREAM.INFO.{}", self.prey()), "/error/err_code", json!(10059))
    }

    pub(crate) fn prey_is_empty(&self) -> Aim {
        Aim::Lost(self.prey(), format!("prey.{}", self.mark))
    }
}

/// The id of an order of the shop's whose outcome is stored.
pub(crate) const ORDER: &str = "k.orderorderorderorderordero";
/// A question to the server's API.
pub(crate) fn api(question: impl std::fmt::Display) -> Sent {
    Sent::to(format!("$JS.API.{question}"))
}
