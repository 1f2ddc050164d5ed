//! What is tried on streams of items, which lie in a stream of their own and go both ways.

use serde_json::json;

use super::{ALL, CALLER, OUTSIDE, Row, row, shown_by};
use crate::{
    actor::Sent,
    attempt::{Aim, Attempt, Expected},
    target::{Needs, api},
};

/// Who serves the vault: may write what its handlers send, and nothing that callers do.
const KEEPER: &[&str] = &["keeper"];
const EVERYBODY: &[&str] = &["mallory", "minter", "auditor", "keeper"];

/// To read, hear, write or slow down the items of somebody else.
pub(crate) const ITEMS: &[Row] = &[
    row("reads another's item by its subject", OUTSIDE, Needs::Nothing, |t| {
        Attempt::denied(api(format!("DIRECT.GET.rq_ITM_vault.{}", t.item.0)), Aim::Answer)
    }),
    row("reads another's items by a pattern", OUTSIDE, Needs::Nothing, |_| {
        Attempt::denied(api("DIRECT.GET.rq_ITM_vault.rq.itm.vault.*.*.*.*.*"), Aim::Answer)
    }),
    row("reads another's item by its sequence", ALL, Needs::Nothing, |t| {
        Attempt::denied(api("DIRECT.GET.rq_ITM_vault").body(json!({ "seq": t.item.1 })), Aim::Answer)
    }),
    shown_by(
        row("names another's item in a read of its own", CALLER, Needs::Nothing, |t| {
            let own = api(format!("DIRECT.GET.rq_ITM_vault.{}", t.own_slot()));
            Attempt::denied(own.body(json!({ "seq": t.item.1 })), Aim::Answer).expect(Expected::Nothing)
        }),
        |t| Attempt::denied(api("DIRECT.GET.rq_ITM_vault").body(json!({ "seq": t.item.1 })), Aim::Answer),
    ),
    shown_by(
        row("names another's items in a read of its own", CALLER, Needs::Nothing, |t| {
            let own = api(format!("DIRECT.GET.rq_ITM_vault.{}", t.own_slot()));
            let batch = json!({ "batch": 9, "multi_last": ["rq.itm.vault.shop.>"] });
            Attempt::denied(own.body(batch), Aim::Answer).expect(Expected::Nothing)
        }),
        |_| {
            let batch = json!({ "batch": 9, "multi_last": ["rq.itm.vault.shop.>"] });
            Attempt::denied(api("DIRECT.GET.rq_ITM_vault").body(batch), Aim::Answer)
        },
    ),
    row("reads another's item from the leader", OUTSIDE, Needs::Nothing, |t| {
        Attempt::denied(api("STREAM.MSG.GET.rq_ITM_vault").body(json!({ "seq": t.item.1 })), Aim::Answer)
    }),
    row("reads the secret of the items", ALL, Needs::Nothing, |_| {
        Attempt::denied(api("STREAM.INFO.rq_ITM_vault"), Aim::Answer)
    }),
    row("hears what others send to handlers", ALL, Needs::Nothing, |t| {
        let item = Sent::to(format!("rq.in.shop.vault.{}.up.1", t.id()));
        Attempt::denied_to_hear("rq.in.*.vault.*.*.up.*", item)
    }),
    row("hears what handlers send to others", EVERYBODY, Needs::Nothing, |t| {
        let item = Sent::to(format!("rq.in.shop.vault.{}.down.1", t.id()));
        Attempt::denied_to_hear("rq.in.*.vault.*.*.down.*", item)
    }),
    row("hears items on their way in", EVERYBODY, Needs::Nothing, |t| {
        Attempt::denied_to_hear("rq.itm.>", Sent::to(format!("rq.itm.none.shop.{}.up.1", t.id())))
    }),
    row("hears which credit others give", ALL, Needs::Nothing, |t| {
        let credit = Sent::to(format!("rq.ctl.vault.shop.{}.credit", t.id()));
        Attempt::denied_to_hear("rq.ctl.vault.*.*.*.credit", credit)
    }),
    row("hears which credit others get", EVERYBODY, Needs::Nothing, |t| {
        let credit = Sent::to(format!("rq.sig.vault.shop.{}.credit", t.id()));
        Attempt::denied_to_hear("rq.sig.*.shop.*.*.credit", credit)
    }),
    row("hears what others send and do not store", ALL, Needs::Nothing, |t| {
        let item = Sent::to(format!("rq.ctl.vault.shop.{}.up", t.id()));
        Attempt::denied_to_hear("rq.ctl.vault.*.*.*.up", item)
    }),
    row("sends an item as another caller", EVERYBODY, Needs::Nothing, |t| {
        Attempt::denied(Sent::to(t.slot()), Aim::Stored("rq_ITM_vault".into(), t.slot()))
    }),
    shown_by(
        row("writes a handler's item where it is stored", EVERYBODY, Needs::Nothing, |t| {
            let subject = format!("rq.itm.vault.shop.{}.down.1", t.id());
            Attempt::denied(Sent::to(&subject), Aim::Stored("rq_ITM_vault".into(), subject))
        }),
        |t| {
            let (put, stored) = t.put_item(&t.item_secret);
            Attempt::denied(put, stored)
        },
    ),
    shown_by(
        row("writes a handler's item for a call of its own", CALLER, Needs::Nothing, |t| {
            let subject = format!("rq.itm.vault.mallory.{}.down.1", t.id());
            Attempt::denied(Sent::to(&subject), Aim::Stored("rq_ITM_vault".into(), subject))
        }),
        |t| {
            let (put, stored) = t.put_item(&t.item_secret);
            Attempt::denied(put, stored)
        },
    ),
    shown_by(
        row("writes a handler's item under a guessed secret", ALL, Needs::Nothing, |t| {
            let (put, stored) = t.put_item("0123456789abcdef0123456789abcdef");
            Attempt::denied(put, stored)
        }),
        |t| {
            let (put, stored) = t.put_item(&t.item_secret);
            Attempt::denied(put, stored)
        },
    ),
    row("writes a handler's item under the stolen secret", ALL, Needs::Nothing, |t| {
        let (put, stored) = t.put_item(&t.item_secret);
        Attempt::denied(put, stored)
    }),
    row("sends a handler's item to an inbox", EVERYBODY, Needs::Nothing, |t| {
        let subject = format!("rq.in.shop.vault.{}.down.1", t.id());
        Attempt::denied(Sent::to(&subject), Aim::Arrives(subject))
    }),
    row("sends a caller's item to a handler", EVERYBODY, Needs::Nothing, |t| {
        let subject = format!("rq.in.shop.vault.{}.up.1", t.id());
        Attempt::denied(Sent::to(&subject), Aim::Arrives(subject))
    }),
    row("sends an outcome past the stream", KEEPER, Needs::Nothing, |t| {
        let subject = format!("rq.in.shop.vault.{}", t.id());
        Attempt::denied(Sent::to(&subject), Aim::Arrives(subject))
    }),
    row("gives credit in a caller's name", EVERYBODY, Needs::Nothing, |t| {
        let subject = format!("rq.ctl.vault.shop.{}.credit", t.id());
        Attempt::denied(Sent::to(&subject), Aim::Arrives(subject))
    }),
    row("gives credit in a worker's place", ALL, Needs::Nothing, |t| {
        let subject = format!("rq.sig.vault.shop.{}.credit", t.id());
        Attempt::denied(Sent::to(&subject), Aim::Arrives(subject))
    }),
    row("sends what is not stored as another caller", EVERYBODY, Needs::Nothing, |t| {
        let subject = format!("rq.ctl.vault.shop.{}.up.1", t.id());
        Attempt::denied(Sent::to(&subject), Aim::Arrives(subject))
    }),
    row("sends what is not stored in a worker's place", ALL, Needs::Nothing, |t| {
        let subject = format!("rq.sig.vault.shop.{}.down.1", t.id());
        Attempt::denied(Sent::to(&subject), Aim::Arrives(subject))
    }),
    row("has an item of its own create a stream", CALLER, Needs::Item, |t| {
        let read = api(format!("DIRECT.GET.rq_ITM_vault.{}", t.own_slot()));
        let made = Aim::Says(format!("STREAM.INFO.{}", t.made()), "/config/name", json!(t.made()));
        let create = format!("$JS.API.STREAM.CREATE.{}", t.made());
        Attempt::denied(read.reply(create), made).expect(t.unless_apart())
    }),
    row("has an acknowledgement occupy another's slot", CALLER, Needs::Nothing, |t| {
        let stored = Aim::Stored("rq_ITM_vault".into(), t.slot());
        Attempt::denied(t.acknowledged_to(t.slot()), stored).expect(t.unless_apart())
    }),
    row("has the end of a pull occupy another's slot", &["minter"], Needs::Nothing, |t| {
        let pull = api("CONSUMER.MSG.NEXT.rq_REQ_mint.coin").body(json!({ "batch": 1000, "no_wait": true }));
        let stored = Aim::Stored("rq_ITM_vault".into(), t.slot());
        Attempt::denied(pull.reply(t.slot()), stored).expect(Expected::Works)
    }),
    row("has an answer occupy another's slot", &["auditor"], Needs::Nothing, |t| {
        let stored = Aim::Stored("rq_ITM_vault".into(), t.slot());
        Attempt::denied(api("STREAM.INFO.rq_REQ_vault").reply(t.slot()), stored).expect(Expected::Works)
    }),
    shown_by(
        row("has an acknowledgement stored as a handler's item", CALLER, Needs::Nothing, |t| {
            let (put, stored) = t.put_item("0123456789abcdef0123456789abcdef");
            Attempt::denied(t.acknowledged_to(put.subject), stored).expect(Expected::Nothing)
        }),
        |t| {
            let (put, stored) = t.put_item(&t.item_secret);
            Attempt::denied(t.acknowledged_to(put.subject), stored)
        },
    ),
    row("has an acknowledgement sent as credit", CALLER, Needs::Nothing, |t| {
        let credit = format!("rq.ctl.vault.shop.{}.credit", t.id());
        Attempt::denied(t.acknowledged_to(&credit), Aim::Arrives(credit)).expect(t.unless_apart())
    }),
    row("has an acknowledgement sent as an item", CALLER, Needs::Nothing, |t| {
        let item = format!("rq.in.shop.vault.{}.up.1", t.id());
        Attempt::denied(t.acknowledged_to(&item), Aim::Arrives(item)).expect(t.unless_apart())
    }),
];
