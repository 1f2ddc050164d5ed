//! A TCP proxy that breaks connections on demand.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::port::ReservedPort;

mod trap;

pub use trap::{Direction, Hold, Trap};
use trap::{Traps, first_message};

/// A proxy in front of a server, for faults of the network between the two. Dropping it closes its connections.
///
/// It runs in the tokio runtime in which it was started.
///
/// ```no_run
/// # async fn example(server: requite_test::NatsServer) -> std::io::Result<()> {
/// let proxy = requite_test::Proxy::start(([127, 0, 0, 1], server.port()).into()).await?;
/// // clients connect to proxy.url()
/// proxy.freeze(); // they wait for answers that do not come
/// proxy.thaw();
/// proxy.cut().await; // they are disconnected and cannot come back
/// proxy.heal().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Proxy {
    port: Arc<ReservedPort>,
    orders: mpsc::Sender<Order>,
    flow: watch::Sender<Flow>,
    connections: watch::Receiver<usize>,
    /// Set in a proxy that reads what passes.
    traps: Option<Traps>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
enum Order {
    Cut(oneshot::Sender<()>),
    Heal(oneshot::Sender<io::Result<()>>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Moving,
    /// Every piece waits for this long before it goes on.
    Slow(Duration),
    Frozen,
}

impl Proxy {
    /// Listens on a port of 127.0.0.1 and passes connections on to `upstream`.
    ///
    /// # Errors
    ///
    /// When no port can be had.
    pub async fn start(upstream: SocketAddr) -> io::Result<Self> {
        Self::start_with(upstream, None)
    }

    /// As [`start`](Self::start), and reads the messages of the NATS protocol that pass, for [`trap`](Self::trap). A
    /// message goes on when all of it has come. Connections with TLS cannot be read.
    ///
    /// # Errors
    ///
    /// When no port can be had.
    pub async fn start_reading(upstream: SocketAddr) -> io::Result<Self> {
        Self::start_with(upstream, Some(Traps::default()))
    }

    fn start_with(upstream: SocketAddr, traps: Option<Traps>) -> io::Result<Self> {
        let port = Arc::new(ReservedPort::reserve()?);
        let listener = port.listen()?;
        let (orders, inbox) = mpsc::channel(1);
        let (flow, watched_flow) = watch::channel(Flow::Moving);
        let (count, connections) = watch::channel(0);
        let relay = Relay {
            port: Arc::clone(&port),
            upstream,
            current: Current { flow: flow.clone(), watched: watched_flow, traps: traps.clone() },
            count,
            connections: JoinSet::new(),
        };
        let task = tokio::spawn(relay.run(listener, inbox));
        Ok(Self { port, orders, flow, connections, traps, task })
    }

    /// Where clients connect instead: `nats://127.0.0.1:PORT`. It stays the same through [`cut`](Self::cut) and
    /// [`heal`](Self::heal).
    pub fn url(&self) -> String {
        format!("nats://{}", self.port.address())
    }

    /// The port of 127.0.0.1 that clients connect to.
    pub fn port(&self) -> u16 {
        self.port.port()
    }

    /// Closes all connections and refuses new ones. When it returns, that is done.
    pub async fn cut(&self) {
        let (done, is_done) = oneshot::channel();
        self.order(Order::Cut(done)).await;
        is_done.await.expect("the relay carries out every order it takes");
    }

    /// Accepts connections again, on the same port. Nothing changes if there was no cut.
    ///
    /// # Errors
    ///
    /// When someone else took the port, which systems other than Linux allow.
    pub async fn heal(&self) -> io::Result<()> {
        let (done, is_done) = oneshot::channel();
        self.order(Order::Heal(done)).await;
        is_done.await.expect("the relay carries out every order it takes")
    }

    /// Stops moving bytes, both ways. Connections stay open, and new ones are accepted, but nothing arrives: a
    /// half-open connection, as behind a firewall that forgot it.
    pub fn freeze(&self) {
        self.flow.send_replace(Flow::Frozen);
    }

    /// Lets each piece of at most 16 KiB wait for this long before it goes on, both ways: a line that is long and thin.
    /// [`thaw`](Self::thaw) ends that.
    pub fn slow(&self, delay: Duration) {
        self.flow.send_replace(Flow::Slow(delay));
    }

    /// Moves bytes again, and at once, beginning with those that were held back.
    pub fn thaw(&self) {
        self.flow.send_replace(Flow::Moving);
    }

    /// [Freezes](Self::freeze) when a message comes by that `matches`: a whole message as the protocol has it, from its
    /// verb (`HPUB …` from a client, `HMSG …` from the server) to the end of its payload. Of several traps that match
    /// one springs.
    ///
    /// ```no_run
    /// # async fn example(proxy: requite_test::Proxy) {
    /// use requite_test::{Direction, Hold};
    /// let published = |message: &[u8]| message.starts_with(b"PUB orders.");
    /// let trap = proxy.trap(Direction::ToServer, Hold::Before, published);
    /// trap.sprung().await; // the server has not got it
    /// proxy.thaw(); // now it gets it
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// When the proxy was not started with [`start_reading`](Self::start_reading).
    #[must_use = "a trap that nobody waits for does not spring"]
    pub fn trap(
        &self,
        direction: Direction,
        hold: Hold,
        matches: impl Fn(&[u8]) -> bool + Send + 'static,
    ) -> Trap {
        self.traps.as_ref().expect("only a proxy that reads can find a message").set(direction, hold, matches)
    }

    /// How many connections pass through it.
    pub fn connections(&self) -> usize {
        *self.connections.borrow()
    }

    /// Waits until exactly this many connections pass through it.
    pub async fn wait_connections(&self, count: usize) {
        let mut connections = self.connections.clone();
        connections.wait_for(|now| *now == count).await.expect("the relay runs as long as the proxy");
    }

    async fn order(&self, order: Order) {
        self.orders.send(order).await.expect("the relay runs as long as the proxy");
    }
}

impl Drop for Proxy {
    /// The connections are tasks of the relay's [`JoinSet`] and end with it.
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The task behind a proxy.
struct Relay {
    port: Arc<ReservedPort>,
    upstream: SocketAddr,
    current: Current,
    count: watch::Sender<usize>,
    connections: JoinSet<()>,
}

impl Relay {
    async fn run(mut self, listener: TcpListener, mut orders: mpsc::Receiver<Order>) {
        let mut listener = Some(listener);
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    None => return,
                    Some(Order::Cut(done)) => {
                        if let Some(listener) = listener.take() {
                            refuse(listener);
                        }
                        self.connections.shutdown().await;
                        self.count.send_replace(0);
                        let _gave_up_waiting = done.send(());
                    }
                    Some(Order::Heal(done)) => {
                        let _gave_up_waiting = done.send(self.listen_again(&mut listener));
                    }
                },
                Ok((client, _)) = accept(listener.as_ref()) => {
                    self.connections.spawn(pass(client, self.upstream, self.current.clone()));
                }
                Some(_) = self.connections.join_next() => {}
            }
            self.count.send_replace(self.connections.len());
        }
    }

    fn listen_again(&self, listener: &mut Option<TcpListener>) -> io::Result<()> {
        if listener.is_none() {
            *listener = Some(self.port.listen()?);
        }
        Ok(())
    }
}

/// Closes a listener. Dropping it is not enough: a process that another test is starting holds a copy of every
/// descriptor between its fork and its exec, and would keep the port open that long.
fn refuse(listener: TcpListener) {
    let _closed_by_the_drop_then = rustix::net::shutdown(&listener, rustix::net::Shutdown::Both);
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}

/// What moves the bytes of all connections, or stops them.
#[derive(Clone)]
struct Current {
    flow: watch::Sender<Flow>,
    watched: watch::Receiver<Flow>,
    traps: Option<Traps>,
}

impl Current {
    /// Waits until bytes may move; `false` when the proxy is gone.
    async fn moves(&mut self) -> bool {
        self.watched.wait_for(|flow| *flow != Flow::Frozen).await.is_ok()
    }

    /// Waits for as long as a piece has to, or until that changes.
    async fn delay(&mut self) {
        let flow = *self.watched.borrow();
        if let Flow::Slow(delay) = flow {
            let changed = self.watched.wait_for(|now| *now != flow);
            let _unchanged = tokio::time::timeout(delay, changed).await;
        }
    }

    fn stop(&self) {
        self.flow.send_replace(Flow::Frozen);
    }
}

/// One connection. It ends when either side does: half-closed connections are nothing that NATS uses.
async fn pass(client: TcpStream, upstream: SocketAddr, current: Current) {
    let Ok(server) = TcpStream::connect(upstream).await else { return };
    let _only_slower = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        _ = copy(from_client, to_server, Direction::ToServer, current.clone()) => {}
        _ = copy(from_server, to_client, Direction::ToClient, current) => {}
    }
}

async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    direction: Direction,
    mut current: Current,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    // Of a message whose end has not come.
    let mut begun = Vec::new();
    loop {
        let read = from.read(&mut buffer).await?;
        current.delay().await;
        // After the read, so that what was on its way when the proxy froze is held back too. The end of a connection
        // is held back like its bytes.
        if !current.moves().await || read == 0 {
            return Ok(());
        }
        let Some(traps) = current.traps.clone() else {
            to.write_all(&buffer[..read]).await?;
            continue;
        };
        begun.extend_from_slice(&buffer[..read]);
        let mut passed = 0;
        while let Some(length) = first_message(&begun[passed..]) {
            let message = &begun[passed..passed + length];
            passed += length;
            // A trap in the other direction may have stopped this one.
            if !current.moves().await {
                return Ok(());
            }
            let sprung = traps.take(direction, message);
            if sprung.as_ref().is_none_or(|sprung| sprung.hold == Hold::After) {
                to.write_all(message).await?;
            }
            let Some(sprung) = sprung else { continue };
            let held = sprung.hold == Hold::Before;
            current.stop();
            sprung.tell(message);
            if !current.moves().await {
                return Ok(());
            }
            if held {
                to.write_all(message).await?;
            }
        }
        begun.drain(..passed);
    }
}
