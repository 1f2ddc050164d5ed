//! The handle on a simulated server: makes things go wrong, and shows what passed and what is stored.
//!
//! Faults name connections by the name they were opened with; several of one name are struck together.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{sync::Notify, time::Instant};

use super::{
    Connection, Passage, Seen, Stored, World,
    cluster::{Cluster, Election},
    consumer::Consumer,
    drive,
    faults::{Hanging, Latency, Losing},
    network::LinkId,
    pattern::matches,
    server::Server,
};
use crate::{ConnectError, broker::Event};

/// A simulated server; ends with its last handle and connection.
#[derive(Clone)]
pub(crate) struct Simulation {
    world: Arc<World>,
}

impl Simulation {
    /// Starts a server. The same seed gives the same run on a paused clock.
    pub(crate) fn new(seed: u64) -> Self {
        Self::of(Server::new(seed, None))
    }

    /// Starts a cluster of three servers.
    pub(crate) fn cluster(seed: u64) -> Self {
        Self::of(Server::new(seed, Some(Cluster::default())))
    }

    fn of(server: Server) -> Self {
        let changed = Arc::new(Notify::new());
        let server = server.into();
        let world = Arc::new(World { server, begin: Instant::now(), changed: Arc::clone(&changed) });
        tokio::spawn(drive(Arc::downgrade(&world), changed));
        Self { world }
    }

    /// Has the server say that messages may take so many bytes: what keeps to that, as frames do, is as small.
    pub(crate) fn max_payload(&self, bytes: usize) {
        self.world.act(|server, _| server.max_payload = bytes);
    }

    /// # Errors
    ///
    /// The server is down.
    pub(crate) fn connect(&self, name: &str) -> Result<Connection, ConnectError> {
        Connection::open(Arc::clone(&self.world), name, None)
    }

    fn strike(&self, name: &str, mut act: impl FnMut(&mut Server, LinkId)) {
        self.world.act(|server, _| {
            for link in server.network.named(name) {
                act(server, link);
            }
        });
    }

    /// Breaks a connection. Meanwhile its publishes wait, and messages to it are lost, answers included.
    pub(crate) fn disconnect(&self, name: &str, span: Duration) {
        self.strike(name, |server, link| server.disconnect(link, span));
    }

    /// Ends a connection for good.
    pub(crate) fn close(&self, name: &str) {
        self.strike(name, |server, link| server.network.close(link));
    }

    /// Stops a connection as a stopped process does: it stays connected, but nothing comes or goes until the thaw.
    pub(crate) fn freeze(&self, name: &str) {
        self.strike(name, |server, link| {
            if let Some(link) = server.network.links.get_mut(&link) {
                link.frozen = true;
            }
        });
    }

    /// Whether whoever publishes waits for room behind its message.
    pub(crate) fn fill(&self, name: &str, full: bool) {
        self.strike(name, |server, link| {
            if let Some(link) = server.network.links.get_mut(&link) {
                link.full = full;
            }
        });
    }

    /// Ends a freeze: what waited passes at once, in order.
    pub(crate) fn thaw(&self, name: &str) {
        self.strike(name, |server, link| {
            for due in server.network.thaw(link) {
                server.handle(due);
            }
        });
    }

    /// Reports an event that nothing here causes, such as [`Event::Overrun`].
    pub(crate) fn report(&self, name: &str, event: Event) {
        self.strike(name, |server, link| server.report(link, event.clone()));
    }

    /// How long messages of a connection travel from now on; connections made from it inherit that.
    pub(crate) fn latency(&self, name: &str, fixed: Duration, jitter: Duration) {
        self.strike(name, |server, link| {
            if let Some(link) = server.network.links.get_mut(&link) {
                link.latency = Latency { fixed, jitter };
            }
        });
    }

    /// How long messages travel on connections that are opened from now on.
    pub(crate) fn default_latency(&self, fixed: Duration, jitter: Duration) {
        self.world.act(|server, _| server.network.latency = Latency { fixed, jitter });
    }

    fn lose(&self, losing: Losing, count: usize) {
        self.world.act(|server, _| server.network.faults.lose(losing, count));
    }

    /// Loses the next answers to publishes into streams; the messages are stored.
    pub(crate) fn lose_pub_acks(&self, name: &str, count: usize) {
        self.lose(Losing::PubAcks(name.into()), count);
    }

    /// Loses the next answers to requests.
    pub(crate) fn lose_answers(&self, name: &str, count: usize) {
        self.lose(Losing::Answers(name.into()), count);
    }

    /// Loses the next messages to anybody that are shown under a subject of the pattern: pushes, deliveries, signals.
    pub(crate) fn lose_messages(&self, pattern: &str, count: usize) {
        self.lose(Losing::Subject(pattern.into()), count);
    }

    /// The next publishes on subjects of the pattern hang in the network and arrive later, also if the connection is
    /// gone by then.
    pub(crate) fn hang_publishes(&self, pattern: &str, count: usize, span: Duration) {
        self.hang(Hanging { pattern: pattern.into(), begins: "", delay: span }, count);
    }

    /// The next acks that begin with `verb` hang in the network.
    pub(crate) fn hang_settles(&self, verb: &'static str, count: usize, span: Duration) {
        self.hang(Hanging { pattern: "$JS.ACK.>".into(), begins: verb, delay: span }, count);
    }

    fn hang(&self, hanging: Hanging, count: usize) {
        self.world.act(|server, _| server.network.faults.hang(hanging, count));
    }

    /// Steps the server's clock, forwards or back, by so many milliseconds.
    pub(crate) fn step_clock(&self, by: i64) {
        self.world.act(|server, _| server.step_clock(by));
    }

    /// Refuses publishes on subjects of the pattern, by one connection or by all.
    pub(crate) fn deny(&self, name: Option<&str>, pattern: &str) {
        self.world.act(|server, _| server.network.faults.deny(name, pattern));
    }

    /// Ends every loss, delay of publishes and denial.
    pub(crate) fn end_faults(&self) {
        self.world.act(|server, _| server.network.faults.end());
    }

    /// Lets a cluster elect another leader: for how long there is none; nothing where there was none before.
    pub(crate) fn elect(&self, how: Election) -> Option<Duration> {
        self.world.act(|server, _| server.elect(how))
    }

    /// Cuts the leader of a cluster off from the other servers, with these connections on its side; whether there was a
    /// leader to cut off. It answers heartbeats, NAKs and reads for a while, but commits nothing and delivers nothing.
    pub(crate) fn split(&self, minority: &[String], span: Duration) -> bool {
        self.world.act(|server, _| {
            let minority: Vec<_> = minority.iter().flat_map(|name| server.network.named(name)).collect();
            server.split(&minority, span)
        })
    }

    /// Kills the server. Deliveries and acks of the last `lost_consumer_state` (really up to 100 ms, at most 2 s) are
    /// forgotten; messages that acks removed stay removed, those that were replaced come back if what replaced them
    /// is gone. It starts again after `pause`.
    pub(crate) fn kill(&self, lost_consumer_state: Duration, pause: Duration) {
        self.world.act(|server, _| server.stop(Some(lost_consumer_state), pause));
    }

    /// Stops the server in good order and starts it again after `pause`.
    pub(crate) fn restart(&self, pause: Duration) {
        self.world.act(|server, _| server.stop(None, pause));
    }

    /// The server's clock, in nanoseconds since 1970.
    pub(crate) fn server_time(&self) -> u64 {
        self.world.act(|server, now| server.clock(now))
    }

    /// What a stream holds, in order; nothing if there is no such stream.
    pub(crate) fn stored(&self, stream: &str) -> Vec<Stored> {
        self.world.act(|server, _| {
            let stream = server.jetstream.streams.get(stream);
            stream.map(|it| it.store.iter().cloned().collect()).unwrap_or_default()
        })
    }

    /// Everything that a stream ever stored, in order.
    pub(crate) fn journal(&self, stream: &str) -> Vec<Stored> {
        self.world.act(|server, _| {
            let stream = server.jetstream.streams.get(stream);
            stream.map(|it| it.store.journal().to_vec()).unwrap_or_default()
        })
    }

    /// How often a consumer delivered each message, by stream sequence; restarts do not reset it.
    pub(crate) fn deliveries(&self, stream: &str, consumer: &str) -> BTreeMap<u64, u64> {
        self.world.act(|server, _| {
            let consumer = server.jetstream.streams.get(stream).and_then(|it| it.consumers.get(consumer));
            consumer.map(|it| it.deliveries().clone()).unwrap_or_default()
        })
    }

    /// How many deliveries of a consumer were not the first of their message.
    pub(crate) fn redeliveries(&self, stream: &str, consumer: &str) -> u64 {
        self.deliveries(stream, consumer).values().map(|count| count - 1).sum()
    }

    /// How many deliveries of a consumer came after ones that a killed server had forgotten.
    pub(crate) fn forgotten(&self, stream: &str, consumer: &str) -> u64 {
        self.world.act(|server, _| {
            let consumer = server.jetstream.streams.get(stream).and_then(|it| it.consumers.get(consumer));
            consumer.map_or(0, Consumer::forgotten)
        })
    }

    /// Everything that passed, in order; the newest 200,000 entries.
    pub(crate) fn log(&self) -> Vec<Passage> {
        self.world.act(|server, _| server.network.log.iter().cloned().collect())
    }

    /// How many entries of the log fit.
    pub(crate) fn count(&self, pattern: &str, seen: Seen) -> usize {
        self.world.act(|server, _| {
            let log = server.network.log.iter();
            log.filter(|it| it.seen == seen && matches(pattern, &it.subject)).count()
        })
    }
}
