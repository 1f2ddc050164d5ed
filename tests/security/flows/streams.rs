//! Streams of items under the permissions: both ways, with credit, from a second process, and over a second attempt.

use requite::{CallError, Items, ItemsError, SinkError};

use super::soon;
use crate::stage::{DepotClient, Stage};

/// More than a reader may have unread: its credit has to reach the writer.
const MANY: u64 = 20_000;

/// Every flow, in their order; returns their names.
pub(super) async fn all(stage: &Stage) -> Vec<&'static str> {
    let (down, up, both) = tokio::join!(server_stream(stage), client_stream(stage), bidirectional(stage));
    [down, up, both].concat()
}

async fn counted(items: &mut Items<u64>, last: u64) {
    for wanted in 1..=last {
        assert_eq!(soon("an item", items.next()).await, Some(Ok(wanted)));
    }
    assert_eq!(soon("the end", items.next()).await, None);
}

async fn server_stream(stage: &Stage) -> Vec<&'static str> {
    let (shop, elsewhere) = tokio::join!(stage.caller("shop"), stage.caller("shop"));
    let (mut items, call) = soon("opened", shop.count(MANY).key("inventory").open()).await.unwrap();
    counted(&mut items, MANY).await;
    soon("counted", call).await.unwrap();
    // All of it is read by subject: nothing is sent any more.
    let (mut again, call) = soon("attached", elsewhere.attach_count("inventory").open()).await.unwrap();
    counted(&mut again, MANY).await;
    soon("counted", call).await.unwrap();
    let (mut left, call) = soon("opened", shop.count(u64::MAX).open()).await.unwrap();
    assert_eq!(soon("an item", left.next()).await, Some(Ok(1)));
    drop(left);
    // The handler is told that nobody reads.
    assert!(matches!(soon("unread", call).await, Err(CallError::Aborted(_))));
    vec!["server stream", "server stream read by another process", "reader that leaves"]
}

async fn client_stream(stage: &Stage) -> Vec<&'static str> {
    let (shop, elsewhere) = tokio::join!(stage.caller("shop"), stage.caller("shop"));
    let parts: Vec<_> = (0..MANY).map(|n| n.to_string()).collect();
    let (mut sink, call) = soon("opened", shop.pack().open()).await.unwrap();
    for part in &parts {
        soon("a part", sink.send(part.clone())).await.unwrap();
    }
    soon("finished", sink.finish()).await.unwrap();
    assert_eq!(soon("packed", call).await.unwrap(), parts);

    let (mut sink, call) = soon("opened", shop.pack().key("parcel").open()).await.unwrap();
    soon("a part", sink.send("a".into())).await.unwrap();
    soon("stored", sink.flush()).await.unwrap();
    let (mut other, _call) = soon("attached", elsewhere.attach_pack("parcel").open()).await.unwrap();
    assert_eq!(soon("found", other.items_stored()).await, Ok(1));
    soon("a part", other.send("b".into())).await.unwrap();
    soon("finished", other.finish()).await.unwrap();
    assert_eq!(soon("packed", call).await.unwrap(), ["a", "b"]);
    assert!(matches!(soon("late", sink.send("c".into())).await, Err(SinkError::Replaced | SinkError::Ended)));
    vec!["client stream", "client stream continued by another process"]
}

async fn bidirectional(stage: &Stage) -> Vec<&'static str> {
    let shop = stage.caller("shop").await;
    let (mut words, mut back, call) = soon("opened", shop.echo().open()).await.unwrap();
    for word in ["a", "b", "stuck"] {
        soon("a word", words.send(word.into())).await.unwrap();
        assert_eq!(soon("comes back", back.next()).await, Some(Ok(word.into())));
    }
    soon("finished", words.finish()).await.unwrap();
    // The next attempt reads from the first word on, and begins anew behind what the first has written.
    assert_eq!(soon("runs again", back.next()).await, Some(Err(ItemsError::Restarted { attempt: 2 })));
    for word in ["a", "b", "stuck"] {
        assert_eq!(soon("comes back", back.next()).await, Some(Ok(word.into())));
    }
    assert_eq!(soon("the end", back.next()).await, None);
    soon("echoed", call).await.unwrap();

    let (mut words, mut back, call) = soon("opened", shop.talk().open()).await.unwrap();
    for n in 0..MANY {
        soon("a word", words.send(n.to_string())).await.unwrap();
        assert_eq!(soon("comes back", back.next()).await, Some(Ok(n.to_string())));
    }
    soon("finished", words.finish()).await.unwrap();
    soon("echoed", call).await.unwrap();
    vec!["bidirectional stream", "streams of a second attempt", "bidirectional stream that is not stored"]
}

/// On several replicas, of which any may answer what a caller reads.
pub(super) async fn on_replicas(shop: &DepotClient) -> &'static str {
    for key in ["first", "first"] {
        let (mut items, call) = soon("opened", shop.pour(MANY).key(key).open()).await.unwrap();
        counted(&mut items, MANY).await;
        soon("poured", call).await.unwrap();
    }
    "streams on three replicas"
}
