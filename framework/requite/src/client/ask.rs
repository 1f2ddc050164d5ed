//! What a call asks when nothing comes: which streams there are, and who works on it.

use std::time::Duration;

use bytes::Bytes;

use super::drive::Target;
use crate::{
    broker::{AnyBroker, Broker, Outgoing, SendError, api},
    protocol::{
        caller::{Presence, Streams},
        time::ASK_OWNER,
    },
};

/// Between two asks for an owner.
const ASK_EVERY: Duration = Duration::from_millis(250);

/// Which streams take the request.
pub(super) async fn ask_streams(broker: &AnyBroker, target: &Target) -> Streams {
    let any = target.route.subjects.any_request();
    streams_of(broker, &target.route.request(&target.id), &any).await
}

/// Which streams take `subject`, and if none, whether there is one for the service at all.
pub(super) async fn streams_of(broker: &AnyBroker, subject: &str, any: &str) -> Streams {
    match api::stream_names(broker, subject).await {
        Ok(names) if !names.is_empty() => Streams::Match,
        Ok(_) => match api::stream_names(broker, any).await {
            Ok(names) if names.is_empty() => Streams::NoService,
            Ok(_) => Streams::NoMethod,
            Err(_) => Streams::Unknown,
        },
        Err(_) => Streams::Unknown,
    }
}

/// Asks who runs the call. Interest spreads late after a reconnect, so silence counts only after the whole time.
pub(super) async fn ask_workers(broker: &AnyBroker, target: &Target) -> Presence {
    let ping = target.route.subjects.ping(target.route.caller.as_str(), target.id.as_str());
    let until = broker.now() + ASK_OWNER;
    let mut workers = false;
    while broker.now() < until {
        let asked = broker.now();
        match broker.ask(Outgoing::control(ping.clone(), Bytes::new()), ASK_EVERY).await {
            Ok(_) => return Presence::Owner,
            Err(SendError::Closed) => break,
            Err(_) => {}
        }
        workers = workers || serves(broker, target).await;
        tokio::time::sleep(ASK_EVERY.saturating_sub(broker.now().since(asked))).await;
    }
    if workers { Presence::Workers } else { Presence::Nobody }
}

async fn serves(broker: &AnyBroker, target: &Target) -> bool {
    let subject =
        target.route.subjects.any_worker(target.route.caller.as_str(), target.route.method.as_str());
    broker.ask(Outgoing::control(subject, Bytes::new()), ASK_EVERY).await.is_ok()
}

/// Whether any worker serves the method, asked for less than a second.
pub(super) async fn any_worker(broker: &AnyBroker, target: &Target) -> bool {
    for ask in 0..3 {
        if ask > 0 {
            tokio::time::sleep(ASK_EVERY / 4).await;
        }
        if serves(broker, target).await {
            return true;
        }
    }
    false
}
