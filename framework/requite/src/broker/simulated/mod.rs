//! A simulated broker: core NATS and as much of JetStream as the protocol uses, in memory and in virtual time.

use std::time::Duration;

use tokio::sync::broadcast;

use super::{Broker, Event, Message, Outgoing, SendError, ServerFacts, Subscription};
use crate::{ConnectError, protocol::time::Moment};

/// A connection to the simulated server.
#[derive(Clone, Debug)]
pub(crate) struct Connection {}

impl Broker for Connection {
    type Subscription = Inbox;

    async fn publish(&self, _message: Outgoing) -> Result<(), SendError> {
        Err(SendError::Closed)
    }

    async fn request(&self, _message: Outgoing, _within: Duration) -> Result<Message, SendError> {
        Err(SendError::Closed)
    }

    async fn subscribe(&self, _subject: String) -> Result<Inbox, SendError> {
        Err(SendError::Closed)
    }

    fn is_connected(&self) -> bool {
        false
    }

    fn events(&self) -> broadcast::Receiver<Event> {
        broadcast::channel(1).1
    }

    fn server(&self) -> ServerFacts {
        ServerFacts::default()
    }

    fn new_inbox(&self) -> String {
        String::new()
    }

    async fn connect_again(&self, _name: &str) -> Result<Self, ConnectError> {
        Ok(self.clone())
    }

    fn now(&self) -> Moment {
        Moment(0)
    }
}

/// A subscription.
pub(crate) struct Inbox;

impl Subscription for Inbox {
    async fn next(&mut self) -> Option<Message> {
        None
    }

    async fn end(&mut self) {}
}
