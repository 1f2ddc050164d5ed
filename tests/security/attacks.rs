//! The table of attacks: who tries what, and what it is expected to come to in either layout. What is tried on streams of
//! items stands apart.

mod items;

use serde_json::json;

use crate::{
    actor::Sent,
    attempt::{Aim, Attempt, Expected},
    target::{Needs, Target, api},
};

pub(crate) use items::ITEMS;

type Make = fn(&Target) -> Attempt;

/// One row.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) actors: &'static [&'static str],
    pub(crate) needs: Needs,
    pub(crate) attempt: Make,
    /// What root does to show it, if the attempt itself would come to nothing even then.
    pub(crate) control: Option<Make>,
}

const CALLER: &[&str] = &["mallory"];
const WORKER: &[&str] = &["minter"];
const OBSERVER: &[&str] = &["auditor"];
const OUTSIDE: &[&str] = &["mallory", "minter"];
const ALL: &[&str] = &["mallory", "minter", "auditor"];

const fn row(name: &'static str, actors: &'static [&'static str], needs: Needs, attempt: Make) -> Row {
    Row { name, actors, needs, attempt, control: None }
}

const fn shown_by(mut row: Row, control: Make) -> Row {
    row.control = Some(control);
    row
}

/// To read what is somebody else's.
pub(crate) const READS: &[Row] = &[
    row("reads another's outcome by its subject", OUTSIDE, Needs::Nothing, |t| {
        Attempt::denied(api(format!("DIRECT.GET.rq_OUT_vault.{}", t.outcome.0)), Aim::Answer)
    }),
    row("reads another's outcome by a pattern", OUTSIDE, Needs::Nothing, |_| {
        Attempt::denied(api("DIRECT.GET.rq_OUT_vault.rq.out.vault.*.*.*"), Aim::Answer)
    }),
    row("reads another's outcome by its sequence", ALL, Needs::Nothing, |t| {
        Attempt::denied(api("DIRECT.GET.rq_OUT_vault").body(json!({ "seq": t.outcome.1 })), Aim::Answer)
    }),
    shown_by(
        row("names another's sequence in a read of its own", CALLER, Needs::Nothing, |t| {
            let own = api(format!("DIRECT.GET.rq_OUT_vault.rq.out.vault.mallory.{}", t.id()));
            Attempt::denied(own.body(json!({ "seq": t.outcome.1 })), Aim::Answer).expect(Expected::Nothing)
        }),
        |t| Attempt::denied(api("DIRECT.GET.rq_OUT_vault").body(json!({ "seq": t.outcome.1 })), Aim::Answer),
    ),
    row("reads another's outcome from the leader", OUTSIDE, Needs::Nothing, |t| {
        Attempt::denied(api("STREAM.MSG.GET.rq_OUT_vault").body(json!({ "seq": t.outcome.1 })), Aim::Answer)
    }),
    row("reads another's request", CALLER, Needs::Queued, |t| {
        let body = json!({ "last_by_subj": t.queued() });
        Attempt::denied(api("STREAM.MSG.GET.rq_REQ_mint").body(body), Aim::Answer)
    }),
    row("reads the secret from the stream", ALL, Needs::Nothing, |_| {
        Attempt::denied(api("STREAM.INFO.rq_OUT_vault"), Aim::Answer)
    }),
    row("reads the secret from the list of streams", ALL, Needs::Nothing, |_| {
        Attempt::denied(api("STREAM.LIST"), Aim::Answer)
    }),
    row("has a copy of a stream sent", ALL, Needs::Prey, |t| {
        let body = json!({ "deliver_subject": format!("copy.{}", t.mark) });
        Attempt::denied(api(format!("STREAM.SNAPSHOT.{}", t.prey())).body(body), Aim::Answer)
    }),
    row("reads how a consumer is", OUTSIDE, Needs::Nothing, |_| {
        Attempt::denied(api("CONSUMER.INFO.rq_REQ_vault.stamp"), Aim::Answer)
    }),
    row("reads the account's figures", ALL, Needs::Nothing, |_| Attempt::denied(api("INFO"), Aim::Answer)),
    row("pulls requests", &["mallory", "auditor"], Needs::Queued, |_| {
        let pull = api("CONSUMER.MSG.NEXT.rq_REQ_mint.coin").body(json!({ "batch": 1, "no_wait": true }));
        Attempt::denied(pull, Aim::Answer)
    }),
    row("pulls another service's requests", WORKER, Needs::Nothing, |_| {
        let pull = api("CONSUMER.MSG.NEXT.rq_REQ_vault.stamp").body(json!({ "batch": 1, "no_wait": true }));
        Attempt::denied(pull, Aim::AnyAnswer)
    }),
    row("has a pulled request sent to an inbox", CALLER, Needs::Queued, |t| {
        let inbox = format!("rq.in.shop.vault.{}", t.id());
        let pull = api("CONSUMER.MSG.NEXT.rq_REQ_mint.coin").body(json!({ "batch": 1, "no_wait": true }));
        Attempt::denied(pull.reply(&inbox), Aim::Arrives(inbox))
    }),
];

/// To hear what is meant for somebody else.
pub(crate) const HEARS: &[Row] = &[
    row("hears another's outcomes", ALL, Needs::Nothing, |t| {
        Attempt::denied_to_hear("rq.in.shop.>", Sent::to(format!("rq.in.shop.vault.{}", t.id())))
    }),
    row("hears everybody's outcomes", ALL, Needs::Nothing, |t| {
        Attempt::denied_to_hear("rq.in.>", Sent::to(format!("rq.in.shop.vault.{}", t.id())))
    }),
    row("hears another's signals", ALL, Needs::Nothing, |t| {
        Attempt::denied_to_hear("rq.sig.*.shop.>", Sent::to(format!("rq.sig.vault.shop.{}", t.id())))
    }),
    row("hears another's answers", ALL, Needs::Nothing, |t| {
        Attempt::denied_to_hear("_INBOX.shop.>", Sent::to(format!("_INBOX.shop.{}.1", t.mark)))
    }),
    row("hears everybody's answers", ALL, Needs::Nothing, |t| {
        Attempt::denied_to_hear("_INBOX.>", Sent::to(format!("_INBOX.shop.{}.1", t.mark)))
    }),
    row("hears requests", ALL, Needs::Nothing, |t| {
        Attempt::denied_to_hear("rq.req.>", Sent::to(format!("rq.req.none.none.shop.{}", t.id())))
    }),
    row("hears records on their way in", ALL, Needs::Nothing, |t| {
        Attempt::denied_to_hear("rq.put.>", Sent::to(format!("rq.put.none.out.none.shop.{}", t.id())))
    }),
    row("hears another service's questions", ALL, Needs::Nothing, |t| {
        Attempt::denied_to_hear("rq.ctl.vault.>", Sent::to(format!("rq.ctl.vault.shop.{}.ping", t.id())))
    }),
    row("hears the secret in what the server reports", ALL, Needs::Nothing, |_| {
        Attempt::denied_to_hear("$JS.EVENT.ADVISORY.API", api("STREAM.INFO.rq_OUT_vault"))
    }),
    row("hears everything", ALL, Needs::Nothing, |t| {
        Attempt::denied_to_hear(">", Sent::to(format!("rq.in.shop.vault.{}", t.id())))
    }),
];

/// To write in somebody else's name.
pub(crate) const WRITES: &[Row] = &[
    row("requests as another caller", ALL, Needs::Nothing, |t| {
        let request = Sent::request(format!("rq.req.vault.stamp.shop.{}", t.id()), &t.mark);
        Attempt::denied(request, Aim::Runs(t.mark.clone()))
    }),
    row("cancels another's call", ALL, Needs::Nothing, |t| {
        let subject = format!("rq.req.vault.-cancel.shop.{}", t.id());
        Attempt::denied(Sent::to(&subject), Aim::Arrives(subject))
    }),
    row("tells a worker that a request of its own is cancelled", ALL, Needs::Nothing, |t| {
        let subject = format!("rq.ctl.vault.-w.{}.cancel", t.mark);
        Attempt::denied(Sent::to(&subject), Aim::Arrives(subject))
    }),
    row("requests of its own service", WORKER, Needs::Nothing, |t| {
        let stored = Aim::Stored("rq_REQ_mint".into(), t.queued());
        Attempt::denied(Sent::request(t.queued(), "forged"), stored)
    }),
    row("requests as set-up", ALL, Needs::Nothing, |t| {
        let subject = format!("rq.req.vault.stamp.-setup.{}.0", t.mark);
        Attempt::denied(Sent::to(&subject), Aim::Arrives(subject))
    }),
    shown_by(
        row("writes an outcome where it is stored", ALL, Needs::Nothing, |t| {
            let subject = format!("rq.out.vault.shop.{}", t.id());
            Attempt::denied(Sent::to(&subject), Aim::Stored("rq_OUT_vault".into(), subject))
        }),
        |t| {
            let (put, stored) = t.put(&t.secret);
            Attempt::denied(put, stored)
        },
    ),
    shown_by(
        row("writes an outcome under a guessed secret", ALL, Needs::Nothing, |t| {
            let (put, stored) = t.put("0123456789abcdef0123456789abcdef");
            Attempt::denied(put, stored)
        }),
        |t| {
            let (put, stored) = t.put(&t.secret);
            Attempt::denied(put, stored)
        },
    ),
    row("writes an outcome under the stolen secret", ALL, Needs::Nothing, |t| {
        let (put, stored) = t.put(&t.secret);
        Attempt::denied(put, stored)
    }),
    row("writes a checkpoint under the stolen secret", ALL, Needs::Nothing, |t| {
        let (put, stored) = t.put_kind("chk", &t.secret);
        Attempt::denied(put, stored)
    }),
    row("writes progress under the stolen secret", ALL, Needs::Nothing, |t| {
        let (put, stored) = t.put_kind("pgr", &t.secret);
        Attempt::denied(put, stored)
    }),
    row("sends an outcome to another's inbox", ALL, Needs::Nothing, |t| {
        let subject = format!("rq.in.shop.vault.{}", t.id());
        Attempt::denied(Sent::to(&subject), Aim::Arrives(subject))
    }),
    row("answers in the server's place", ALL, Needs::Nothing, |t| {
        let subject = format!("_INBOX.shop.{}.1", t.mark);
        Attempt::denied(Sent::to(&subject), Aim::Arrives(subject))
    }),
    row("signals in another worker's place", ALL, Needs::Nothing, |t| {
        let subject = format!("rq.sig.vault.shop.{}", t.id());
        Attempt::denied(Sent::to(&subject), Aim::Arrives(subject))
    }),
    row("asks workers in another's name", ALL, Needs::Nothing, |_| {
        let ask = Sent::to("rq.ctl.vault.shop.-any.stamp").header("Rq-V", "1");
        Attempt::denied(ask, Aim::Answer)
    }),
    row("asks for another's call", ALL, Needs::Nothing, |t| {
        let subject = format!("rq.ctl.vault.shop.{}.ping", t.id());
        Attempt::denied(Sent::to(&subject), Aim::Arrives(subject))
    }),
    row("asks as a worker of the service", ALL, Needs::Nothing, |t| {
        let subject = format!("rq.ctl.vault.-w.{}.mine", t.mark);
        Attempt::denied(Sent::to(&subject), Aim::Arrives(subject))
    }),
    row("buries a request of another service", ALL, Needs::Nothing, |t| {
        let subject = format!("rq.dead.vault.stamp.shop.{}", t.id());
        Attempt::denied(Sent::to(&subject), Aim::Stored("rq_DEAD_vault".into(), subject))
    }),
    row("answers itself, to write where the answer goes", WORKER, Needs::Nothing, |t| {
        let (own, forged) = (format!("rq.ctl.mint.-w.{}.mine", t.mark), t.queued());
        let mut attempt =
            Attempt::denied(Sent::to(&own).reply(&forged), Aim::Stored("rq_REQ_mint".into(), forged.clone()));
        attempt.sent.push(Sent::request(forged, "forged"));
        attempt.hears = Some(own);
        attempt
    }),
    row("has its request traced to another's subject", CALLER, Needs::Nothing, |t| {
        let dead = format!("rq.dead.vault.stamp.shop.{}", t.id());
        let own = Sent::request(format!("rq.req.mint.coin.mallory.{}", t.id()), "mine");
        let traced = own.header("Nats-Trace-Dest", &dead);
        Attempt::denied(traced, Aim::Stored("rq_DEAD_vault".into(), dead))
    }),
];

/// To settle somebody else's request.
pub(crate) const SETTLES: &[Row] = &[
    row("acks another's request", ALL, Needs::Held, |t| Attempt::denied(t.ack("+ACK"), t.removed())),
    row("ends another's request", ALL, Needs::Held, |t| Attempt::denied(t.ack("+TERM"), t.removed())),
    row("hands another's request on", ALL, Needs::Held, |t| {
        let nak = t.ack("-NAK {\"delay\":1}");
        let arrives = Aim::Arrives(nak.subject.clone());
        Attempt::denied(nak, arrives)
    }),
    row("beats for another's request", ALL, Needs::Held, |t| {
        let beat = t.ack("+WPI");
        let arrives = Aim::Arrives(beat.subject.clone());
        Attempt::denied(beat, arrives)
    }),
    row("acks with its own stream as the delivery count", WORKER, Needs::Held, |t| {
        let ack = Sent::to(format!("$JS.ACK.rq_REQ_vault.hold.rq_REQ_mint.{}", t.numbers));
        Attempt::denied(ack.body("+ACK"), t.removed())
    }),
    shown_by(
        row("has an empty answer of the server ack", CALLER, Needs::Held, |t| {
            Attempt::denied(t.not_found_to(t.ack("").subject), t.removed())
        }),
        |t| Attempt::denied(t.ack(""), t.removed()),
    ),
    shown_by(
        row("has the end of a pull ack", WORKER, Needs::Held, |t| {
            let pull =
                api("CONSUMER.MSG.NEXT.rq_REQ_mint.coin").body(json!({ "batch": 1000, "no_wait": true }));
            Attempt::denied(pull.reply(t.ack("").subject), t.removed())
        }),
        |t| Attempt::denied(t.ack(""), t.removed()),
    ),
];

/// To change streams and consumers.
pub(crate) const STREAMS: &[Row] = &[
    row("deletes a stream", ALL, Needs::Prey, |t| {
        Attempt::denied(api(format!("STREAM.DELETE.{}", t.prey())), t.prey_is_gone())
    }),
    row("purges a stream", ALL, Needs::Prey, |t| {
        Attempt::denied(api(format!("STREAM.PURGE.{}", t.prey())), t.prey_is_empty())
    }),
    row("purges its own service's requests", WORKER, Needs::Queued, |t| {
        let purge = api("STREAM.PURGE.rq_REQ_mint").body(json!({ "filter": t.queued() }));
        Attempt::denied(purge, Aim::Lost("rq_REQ_mint".into(), t.queued()))
    }),
    row("deletes a message", ALL, Needs::Prey, |t| {
        let delete = api(format!("STREAM.MSG.DELETE.{}", t.prey())).body(json!({ "seq": 1 }));
        Attempt::denied(delete, t.prey_is_empty())
    }),
    row("changes a stream", ALL, Needs::Prey, |t| {
        let (name, subjects) = (t.prey(), [format!("prey.{}", t.mark)]);
        let update = api(format!("STREAM.UPDATE.{name}"));
        let changed = Aim::Says(format!("STREAM.INFO.{name}"), "/config/max_msgs", json!(7));
        Attempt::denied(update.body(json!({ "name": name, "subjects": subjects, "max_msgs": 7 })), changed)
    }),
    row("creates a stream", ALL, Needs::Nothing, |t| {
        let name = t.made();
        let create = api(format!("STREAM.CREATE.{name}"));
        let made = Aim::Says(format!("STREAM.INFO.{name}"), "/config/name", json!(name));
        Attempt::denied(create.body(json!({ "name": name, "subjects": [name] })), made)
    }),
    row("creates a consumer", ALL, Needs::Prey, |t| {
        let name = t.prey();
        let body = json!({ "stream_name": name, "config": { "durable_name": "spy", "ack_policy": "none" } });
        let made = Aim::Says(format!("CONSUMER.INFO.{name}.spy"), "/name", json!("spy"));
        Attempt::denied(api(format!("CONSUMER.CREATE.{name}.spy")).body(body), made)
    }),
    row("deletes a consumer", ALL, Needs::Prey, |t| {
        let gone = Aim::Says(format!("CONSUMER.INFO.{}.prey", t.prey()), "/error/err_code", json!(10014));
        Attempt::denied(api(format!("CONSUMER.DELETE.{}.prey", t.prey())), gone)
    }),
];

/// To have the server's own answers do what the user may not: they go wherever the question says.
pub(crate) const REFLECTIONS: &[Row] = &[
    row("has an empty answer delete a stream", CALLER, Needs::Prey, |t| {
        let sent = t.not_found_to(format!("$JS.API.STREAM.DELETE.{}", t.prey()));
        Attempt::denied(sent, t.prey_is_gone()).expect(t.unless_apart())
    }),
    row("has an empty answer purge a stream", CALLER, Needs::Prey, |t| {
        let sent = t.not_found_to(format!("$JS.API.STREAM.PURGE.{}", t.prey()));
        Attempt::denied(sent, t.prey_is_empty()).expect(t.unless_apart())
    }),
    row("has an empty answer delete a consumer", CALLER, Needs::Prey, |t| {
        let sent = t.not_found_to(format!("$JS.API.CONSUMER.DELETE.{}.prey", t.prey()));
        let gone = Aim::Says(format!("CONSUMER.INFO.{}.prey", t.prey()), "/error/err_code", json!(10014));
        Attempt::denied(sent, gone).expect(t.unless_apart())
    }),
    shown_by(
        row("has an acknowledgement purge a stream", CALLER, Needs::Prey, |t| {
            let sent = t.acknowledged_to(format!("$JS.API.STREAM.PURGE.{}", t.prey()));
            Attempt::denied(sent, t.prey_is_empty()).expect(Expected::Nothing)
        }),
        |t| Attempt::denied(api(format!("STREAM.PURGE.{}", t.prey())), t.prey_is_empty()),
    ),
    row("has an acknowledgement occupy another's id", CALLER, Needs::Nothing, |t| {
        let stored = Aim::Stored("rq_REQ_mint".into(), t.queued());
        Attempt::denied(t.acknowledged_to(t.queued()), stored).expect(t.unless_apart())
    }),
    row("has an acknowledgement buried", CALLER, Needs::Nothing, |t| {
        let dead = format!("rq.dead.vault.stamp.shop.{}", t.id());
        let stored = Aim::Stored("rq_DEAD_vault".into(), dead.clone());
        Attempt::denied(t.acknowledged_to(dead), stored).expect(t.unless_apart())
    }),
    row("has an acknowledgement sent to another's inbox", CALLER, Needs::Nothing, |t| {
        let inbox = format!("rq.in.shop.vault.{}", t.id());
        Attempt::denied(t.acknowledged_to(&inbox), Aim::Arrives(inbox)).expect(t.unless_apart())
    }),
    row("has an acknowledgement sent as a signal", CALLER, Needs::Nothing, |t| {
        let signal = format!("rq.sig.vault.shop.{}", t.id());
        Attempt::denied(t.acknowledged_to(&signal), Aim::Arrives(signal)).expect(t.unless_apart())
    }),
    shown_by(
        row("has an acknowledgement stored as an outcome", CALLER, Needs::Nothing, |t| {
            let (put, stored) = t.put("0123456789abcdef0123456789abcdef");
            Attempt::denied(t.acknowledged_to(put.subject), stored).expect(Expected::Nothing)
        }),
        |t| {
            let (put, stored) = t.put(&t.secret);
            Attempt::denied(t.acknowledged_to(put.subject), stored)
        },
    ),
    row("has the end of a pull delete a stream", WORKER, Needs::Prey, |t| {
        let pull = api("CONSUMER.MSG.NEXT.rq_REQ_mint.coin").body(json!({ "batch": 1000, "no_wait": true }));
        let sent = pull.reply(format!("$JS.API.STREAM.DELETE.{}", t.prey()));
        Attempt::denied(sent, t.prey_is_gone()).expect(Expected::Works)
    }),
    shown_by(
        row("has an answer delete a stream", OBSERVER, Needs::Prey, |t| {
            let sent = api("STREAM.INFO.rq_REQ_vault").reply(format!("$JS.API.STREAM.DELETE.{}", t.prey()));
            Attempt::denied(sent, t.prey_is_gone()).expect(Expected::Nothing)
        }),
        |t| Attempt::denied(api(format!("STREAM.DELETE.{}", t.prey())), t.prey_is_gone()),
    ),
    row("has an answer occupy another's id", OBSERVER, Needs::Nothing, |t| {
        let stored = Aim::Stored("rq_REQ_mint".into(), t.queued());
        Attempt::denied(api("STREAM.INFO.rq_REQ_vault").reply(t.queued()), stored).expect(Expected::Works)
    }),
];
