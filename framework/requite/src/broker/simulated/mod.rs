//! A simulated broker: core NATS and as much of JetStream as the protocol uses, in memory and in virtual time.
//!
//! It speaks subjects, headers and payloads, so everything above [`Broker`] is the same code as on a real server, and
//! it does what a single nats-server 2.15 does, oddities included; `differential` compares the two step by step. Of three
//! servers it does what was measured of them.
//! Nothing is random but what the seed gives. tokio's timers count whole milliseconds: what falls into one happens in
//! the order of its exact times, before any client can react to it.
//!
//! | file | what |
//! |---|---|
//! | `simulation` | the handle: faults and observation |
//! | `network` | connections, subscriptions, what is under way |
//! | `server`, `cluster` | routing, start and stop; elections and splits |
//! | `api`, `answer` | the JetStream API and its JSON |
//! | `stream`, `store` | checks, limits, deduplication, republish |
//! | `consumer`, `pull`, `ledger` | deliveries and leases, open pulls, what is on disk |
//! | `faults` | what is lost, hangs, or is denied; the random numbers |

#![cfg_attr(
    not(test),
    allow(dead_code, unused_imports, reason = "only tests open a simulation; the product just can hold one")
)]

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::{
    sync::{Notify, broadcast, mpsc},
    time::Instant,
};

use super::{Answer, Broker, Event, Message, Outgoing, SendError, ServerFacts, Subscription};
use crate::{ConnectError, protocol::time::Moment};

mod answer;
mod api;
mod cluster;
#[cfg(test)]
mod configs;
mod consumer;
#[cfg(test)]
mod differential;
mod faults;
mod ledger;
mod network;
mod pattern;
mod pull;
mod server;
mod simulation;
mod store;
mod stream;
#[cfg(test)]
mod tests;
mod turn;

pub(crate) use cluster::Election;
pub(crate) use faults::Random;
pub(crate) use network::{Passage, Seen};
pub(crate) use simulation::Simulation;
pub(crate) use store::Stored;
pub(crate) use turn::Kind;

use network::{Frame, LinkId, SubscriptionId};
use server::Server;

/// What the local clock shows when the simulation begins: anything but 0, which nothing may rely on.
const CLOCK_BEGIN: Duration = Duration::from_secs(1_000);
const MAX_PAYLOAD: usize = 1024 * 1024;
const VERSION: &str = "2.15.1";
/// How often it is looked whether a connection has room again.
const ROOM: Duration = Duration::from_millis(10);

/// The server with the clock that drives it.
struct World {
    server: Mutex<Server>,
    begin: Instant,
    /// Something new is under way: the driver must look when.
    changed: Arc<Notify>,
}

impl World {
    fn elapsed(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, Server> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Acts at the present moment, after everything that was due before it.
    fn act<T>(&self, act: impl FnOnce(&mut Server, u64) -> T) -> T {
        let now = self.elapsed();
        let mut server = self.lock();
        server.run(now);
        let result = act(&mut server, now);
        drop(server);
        self.changed.notify_one();
        result
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // The driver looks, finds nothing, and ends.
        self.changed.notify_one();
    }
}

/// Lets things happen when they are due, until nobody holds the world any more.
async fn drive(world: Weak<World>, changed: Arc<Notify>) {
    while let Some(held) = world.upgrade() {
        let now = held.elapsed();
        let next = held.lock().run(now).map(|at| held.begin + Duration::from_nanos(at));
        drop(held);
        let due = async {
            match next {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = changed.notified() => {}
            () = due => {}
        }
    }
}

/// One client's end of a connection; the connection ends with the last clone, or the last subscription.
struct End {
    world: Arc<World>,
    link: LinkId,
}

impl Drop for End {
    fn drop(&mut self) {
        self.world.act(|server, _| server.network.close(self.link));
    }
}

/// A connection to the simulated server.
#[derive(Clone)]
pub(crate) struct Connection(Arc<End>);

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connection").field(&self.0.link).finish()
    }
}

impl Connection {
    fn open(world: Arc<World>, name: &str, like: Option<LinkId>) -> Result<Self, ConnectError> {
        let link = world.act(|server, now| {
            let latency = like.and_then(|it| server.network.links.get(&it)).map(|it| it.latency);
            let latency = latency.unwrap_or(server.network.latency);
            let id = server.id();
            server.is_running().then(|| server.network.open(name, latency, &id, now))
        });
        let unreachable =
            || ConnectError::Unreachable { server: "simulated".into(), text: "not running".into() };
        Ok(Self(Arc::new(End { link: link.ok_or_else(unreachable)?, world })))
    }

    fn act<T>(&self, act: impl FnOnce(&mut Server, u64) -> T) -> T {
        self.0.world.act(act)
    }

    fn check(&self, message: &Outgoing) -> Result<(), SendError> {
        let headers = store::header_size(&message.headers).unwrap_or(0);
        if headers + message.payload.len() > MAX_PAYLOAD {
            return Err(SendError::TooLarge { max: MAX_PAYLOAD });
        }
        Ok(())
    }
}

/// Forgets a request whose asker is gone.
struct Asked {
    end: Arc<End>,
    number: u64,
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.end.world.act(|server, _| server.network.forget_request(self.end.link, self.number));
    }
}

impl Broker for Connection {
    type Subscription = Inbox;

    fn publish(&self, message: Outgoing) -> impl Future<Output = Result<(), SendError>> + Send {
        let sent = self.check(&message).and_then(|()| {
            self.act(|server, now| {
                let link = server.network.links.get(&self.0.link).map(|_| self.0.link);
                let link = link.ok_or(SendError::Closed)?;
                server.network.send(link, Frame::Publish(message), now);
                Ok(())
            })
        });
        async move {
            sent?;
            while self.act(|server, _| server.network.links.get(&self.0.link).is_some_and(|link| link.full)) {
                tokio::time::sleep(ROOM).await;
            }
            Ok(())
        }
    }

    fn request(
        &self,
        message: Outgoing,
        within: Duration,
    ) -> impl Future<Output = Result<Answer, SendError>> + Send + use<> {
        let asked = self.check(&message).and_then(|()| {
            let asked = self.act(|server, now| server.network.request(self.0.link, message, now));
            let (number, answer) = asked.ok_or(SendError::Closed)?;
            Ok((Asked { end: Arc::clone(&self.0), number }, answer))
        });
        async move {
            let (asked, answer) = asked?;
            let answer = tokio::time::timeout(within, answer).await;
            drop(asked);
            match answer {
                Err(_) => Err(SendError::TimedOut),
                Ok(Err(_)) => Err(SendError::Closed),
                Ok(Ok(message)) if message.status == Some(503) && message.payload.is_empty() => {
                    Err(SendError::NoResponders)
                }
                Ok(Ok(message)) => Ok(Answer {
                    status: message.status,
                    description: message.description.unwrap_or_default(),
                    headers: (!message.headers.is_empty()).then(|| Box::new(message.headers)),
                    payload: message.payload,
                }),
            }
        }
    }

    async fn subscribe(&self, subject: String) -> Result<Inbox, SendError> {
        let subscribed = self.act(|server, now| server.network.subscribe(self.0.link, subject, now));
        let (id, messages) = subscribed.ok_or(SendError::Closed)?;
        Ok(Inbox { end: Arc::clone(&self.0), id, messages })
    }

    fn is_connected(&self) -> bool {
        self.act(|server, _| server.network.links.get(&self.0.link).is_some_and(|link| link.up))
    }

    fn events(&self) -> broadcast::Receiver<Event> {
        let events =
            self.act(|server, _| server.network.links.get(&self.0.link).map(|link| link.events.subscribe()));
        events.unwrap_or_else(|| broadcast::channel(1).1)
    }

    fn server(&self) -> ServerFacts {
        self.act(|server, _| {
            let id = server.network.links.get(&self.0.link).map(|link| link.server.clone());
            let (clustered, max_payload) = (server.cluster.is_some(), server.max_payload);
            ServerFacts { id: id.unwrap_or_default(), version: VERSION.into(), clustered, max_payload }
        })
    }

    fn new_inbox(&self) -> String {
        let number = self.act(|server, _| server.network.number());
        format!("{}.{number}", network::inbox(self.0.link))
    }

    async fn connect_again(&self, name: &str) -> Result<Self, ConnectError> {
        Self::open(Arc::clone(&self.0.world), name, Some(self.0.link))
    }

    fn now(&self) -> Moment {
        Moment(self.0.world.elapsed()) + CLOCK_BEGIN
    }
}

/// A subscription; dropping it unsubscribes.
pub(crate) struct Inbox {
    end: Arc<End>,
    id: SubscriptionId,
    messages: mpsc::UnboundedReceiver<Message>,
}

impl Subscription for Inbox {
    async fn next(&mut self) -> Option<Message> {
        self.messages.recv().await
    }

    async fn end(&mut self) {
        self.end.world.act(|server, now| server.network.unsubscribe(self.end.link, self.id, now));
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.end.world.act(|server, now| server.network.unsubscribe(self.end.link, self.id, now));
    }
}
