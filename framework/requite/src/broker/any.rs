//! Either broker, chosen at run time: dispatch by `match`, so that no call allocates for being abstract.

use std::time::Duration;

use futures_util::future::Either;
use tokio::sync::broadcast;

use super::{
    Answer, Broker, Event, Message, Outgoing, SendError, ServerFacts, Subscription, jetstream, simulated,
};
use crate::protocol::time::Moment;

/// A connection to the real broker or to a simulated one.
#[derive(Clone, Debug)]
pub(crate) enum AnyBroker {
    JetStream(jetstream::Connection),
    Simulated(simulated::Connection),
}

/// A subscription on either.
pub(crate) enum AnySubscription {
    JetStream(jetstream::Inbox),
    Simulated(simulated::Inbox),
}

impl Broker for AnyBroker {
    type Subscription = AnySubscription;

    // The simulated broker's futures are boxed, so that the real one's are not as large as they are.

    fn publish(&self, message: Outgoing) -> impl Future<Output = Result<(), SendError>> + Send {
        match self {
            Self::JetStream(it) => Either::Left(it.publish(message)),
            Self::Simulated(it) => Either::Right(Box::pin(it.publish(message))),
        }
    }

    fn request(
        &self,
        message: Outgoing,
        within: Duration,
    ) -> impl Future<Output = Result<Answer, SendError>> + Send + use<> {
        match self {
            Self::JetStream(it) => Either::Left(it.request(message, within)),
            Self::Simulated(it) => Either::Right(Box::pin(it.request(message, within))),
        }
    }

    async fn ask(&self, message: Outgoing, within: Duration) -> Result<Answer, SendError> {
        match self {
            Self::JetStream(it) => it.ask(message, within).await,
            Self::Simulated(it) => it.ask(message, within).await,
        }
    }

    async fn subscribe(&self, subject: String) -> Result<AnySubscription, SendError> {
        match self {
            Self::JetStream(it) => it.subscribe(subject).await.map(AnySubscription::JetStream),
            Self::Simulated(it) => it.subscribe(subject).await.map(AnySubscription::Simulated),
        }
    }

    fn is_connected(&self) -> bool {
        match self {
            Self::JetStream(it) => it.is_connected(),
            Self::Simulated(it) => it.is_connected(),
        }
    }

    fn events(&self) -> broadcast::Receiver<Event> {
        match self {
            Self::JetStream(it) => it.events(),
            Self::Simulated(it) => it.events(),
        }
    }

    fn server(&self) -> ServerFacts {
        match self {
            Self::JetStream(it) => it.server(),
            Self::Simulated(it) => it.server(),
        }
    }

    fn new_inbox(&self) -> String {
        match self {
            Self::JetStream(it) => it.new_inbox(),
            Self::Simulated(it) => it.new_inbox(),
        }
    }

    async fn connect_again(&self, name: &str) -> Result<Self, crate::ConnectError> {
        match self {
            Self::JetStream(it) => it.connect_again(name).await.map(Self::JetStream),
            Self::Simulated(it) => it.connect_again(name).await.map(Self::Simulated),
        }
    }

    fn now(&self) -> Moment {
        match self {
            Self::JetStream(it) => it.now(),
            Self::Simulated(it) => it.now(),
        }
    }
}

impl Subscription for AnySubscription {
    async fn next(&mut self) -> Option<Message> {
        match self {
            Self::JetStream(it) => it.next().await,
            Self::Simulated(it) => it.next().await,
        }
    }

    async fn end(&mut self) {
        match self {
            Self::JetStream(it) => it.end().await,
            Self::Simulated(it) => it.end().await,
        }
    }
}
