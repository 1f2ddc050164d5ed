//! Three servers that replicate to each other, for tests of what happens when one fails.

use std::thread;
use std::time::{Duration, Instant};

use crate::port::ReservedPort;
use crate::server::{Ready, Target, Wanted, blocking};
use crate::{NatsServer, Proxy, ServerBuilder, ServerError, random};

/// A JetStream cluster on loopback: dropping it kills the servers and removes their stores.
///
/// Its name and its routes' password are its own, so clusters side by side cannot join each other.
///
/// ```no_run
/// # async fn example() -> Result<(), requite_test::ServerError> {
/// let mut cluster = requite_test::NatsCluster::start(3).await?;
/// cluster.node_mut(0).kill9().await;
/// // two of three are a majority: the cluster goes on
/// cluster.node_mut(0).restart().await?;
/// cluster.wait_ready().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct NatsCluster {
    name: String,
    nodes: Vec<NatsServer>,
    // Held for the life of the cluster; the nodes hold their other ports.
    _routes: Vec<ReservedPort>,
    /// What the routes pass through, if they can be cut.
    ways: Option<Ways>,
    patience: Duration,
}

/// Routes that can be cut.
#[derive(Debug)]
struct Ways {
    links: Vec<Link>,
    /// Nodes tell each other where a third one is found, and clients where other nodes are. Past the proxies they must
    /// find nobody: nobody listens at the port that they are told.
    nowhere: ReservedPort,
}

/// The way on which one node reaches another.
#[derive(Debug)]
struct Link {
    from: usize,
    to: usize,
    proxy: Proxy,
}

impl Link {
    fn ends_at(&self, node: usize) -> bool {
        self.from == node || self.to == node
    }
}

/// What a [`NatsCluster`] is started with.
#[derive(Clone, Debug, Default)]
#[must_use = "a builder starts nothing until `start`"]
pub struct ClusterBuilder {
    node: ServerBuilder,
    severable: bool,
}

impl ClusterBuilder {
    /// Runs exactly this version, see [`ServerBinary::version`](crate::ServerBinary::version).
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.node.wanted = Wanted::Version(version.into());
        self
    }

    /// Adds settings to every node, see [`ServerBuilder::config`].
    pub fn config(mut self, text: impl AsRef<str>) -> Self {
        self.node = self.node.config(text);
        self
    }

    /// See [`ServerBuilder::credentials`].
    pub fn credentials(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.node = self.node.credentials(user, password);
        self
    }

    /// How long the cluster may take to get ready; 30 s unless said.
    pub fn patience(mut self, limit: Duration) -> Self {
        self.node = self.node.patience(limit);
        self
    }

    /// Lets every route pass through a [`Proxy`], so that a node can be [cut off](NatsCluster::cut) from the others and
    /// not from its clients.
    pub fn severable(mut self) -> Self {
        self.severable = true;
        self
    }

    /// Starts that many servers and waits until they have a leader and all follow it.
    ///
    /// # Errors
    ///
    /// When there is no executable, a server ends, or the cluster does not get ready in time.
    pub async fn start(self, size: usize) -> Result<NatsCluster, ServerError> {
        let routes = (0..size).map(|_| ReservedPort::reserve()).collect::<Result<Vec<_>, _>>();
        let routes = routes.map_err(ServerError::io("reserve a port"))?;
        let ways = if self.severable { Some(Ways::start(&routes).await?) } else { None };
        let mut cluster = blocking(move || self.launch(routes, ways)).await?;
        cluster.wait_ready().await?;
        Ok(cluster)
    }

    fn launch(&self, routes: Vec<ReservedPort>, ways: Option<Ways>) -> Result<NatsCluster, ServerError> {
        let binary = self.node.wanted.find()?;
        let (prefix, password) = (random::suffix(), random::suffix());
        let name = format!("requite-test-{prefix}");
        let nodes = routes.iter().enumerate().map(|(index, route)| {
            let ports: Vec<u16> = match &ways {
                // Its own is among them, which the server finds out and leaves out.
                None => routes.iter().map(ReservedPort::port).collect(),
                Some(ways) => ways.from(index).collect(),
            };
            let url = |port| format!("\"nats://route:{password}@127.0.0.1:{port}\"");
            let urls: Vec<String> = ports.into_iter().map(url).collect();
            let cluster = format!(
                "cluster {{\n  name: \"{name}\"\n  listen: \"{}\"\n{}  \
                 authorization {{ user: route, password: \"{password}\" }}\n  routes: [{}]\n}}",
                route.address(),
                ways.as_ref().map(Ways::settings).unwrap_or_default(),
                urls.join(", "),
            );
            self.node.launch(binary.clone(), format!("n{index}-{prefix}"), Ready::Answers, &cluster)
        });
        let nodes = nodes.collect::<Result<Vec<_>, _>>()?;
        Ok(NatsCluster { name, nodes, _routes: routes, ways, patience: self.node.patience })
    }
}

impl Ways {
    /// A proxy before every node for each of the others.
    async fn start(routes: &[ReservedPort]) -> Result<Self, ServerError> {
        let mut links = Vec::new();
        for (to, route) in routes.iter().enumerate() {
            for from in (0..routes.len()).filter(|from| *from != to) {
                let proxy = Proxy::start(route.address()).await.map_err(ServerError::io("reserve a port"))?;
                links.push(Link { from, to, proxy });
            }
        }
        let nowhere = ReservedPort::reserve().map_err(ServerError::io("reserve a port"))?;
        Ok(Self { links, nowhere })
    }

    /// The ports at which a node finds the others.
    fn from(&self, node: usize) -> impl Iterator<Item = u16> {
        self.links.iter().filter(move |link| link.from == node).map(|link| link.proxy.port())
    }

    fn settings(&self) -> String {
        format!("  no_advertise: true\n  advertise: \"{}\"\n", self.nowhere.address())
    }
}

impl NatsCluster {
    /// Starts a cluster of that many servers, usually three, and waits until they have a leader and all follow it.
    ///
    /// # Errors
    ///
    /// When there is no executable, a server ends, or the cluster does not get ready in time.
    pub async fn start(size: usize) -> Result<Self, ServerError> {
        Self::builder().start(size).await
    }

    /// A cluster with another version or other settings.
    pub fn builder() -> ClusterBuilder {
        ClusterBuilder::default()
    }

    /// Where clients of one node connect.
    ///
    /// # Panics
    ///
    /// When there is no such node; the first is 0.
    pub fn url(&self, node: usize) -> String {
        self.nodes[node].url()
    }

    /// Where clients that may use any node connect.
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(NatsServer::url).collect()
    }

    /// The nodes, in order.
    pub fn nodes(&self) -> &[NatsServer] {
        &self.nodes
    }

    /// One node.
    ///
    /// # Panics
    ///
    /// When there is no such node; the first is 0.
    pub fn node(&self, node: usize) -> &NatsServer {
        &self.nodes[node]
    }

    /// One node, to kill, pause or restart it.
    ///
    /// # Panics
    ///
    /// When there is no such node; the first is 0.
    pub fn node_mut(&mut self, node: usize) -> &mut NatsServer {
        &mut self.nodes[node]
    }

    /// The node with this server name, as JetStream reports leaders and replicas.
    pub fn node_by_name(&mut self, name: &str) -> Option<&mut NatsServer> {
        self.nodes.iter_mut().find(|node| node.name() == name)
    }

    /// Closes the routes between a node and the others, and lets none be made again. Its clients keep it.
    ///
    /// # Panics
    ///
    /// When the cluster is not [severable](ClusterBuilder::severable), as for [`freeze`](Self::freeze) and
    /// [`rejoin`](Self::rejoin).
    pub async fn cut(&self, node: usize) {
        for link in self.links_of(node) {
            link.proxy.cut().await;
        }
    }

    /// Stops moving bytes between a node and the others: the routes stay open, and neither side is told.
    pub fn freeze(&self, node: usize) {
        self.links_of(node).for_each(|link| link.proxy.freeze());
    }

    /// Lets a node that was [cut](Self::cut) or [frozen](Self::freeze) off reach the others again.
    ///
    /// # Errors
    ///
    /// When someone else took a port, which systems other than Linux allow.
    pub async fn rejoin(&self, node: usize) -> Result<(), ServerError> {
        for link in self.links_of(node) {
            link.proxy.thaw();
            link.proxy.heal().await.map_err(ServerError::io("listen on a port again"))?;
        }
        Ok(())
    }

    fn links_of(&self, node: usize) -> impl Iterator<Item = &Link> {
        let ways = self.ways.as_ref().expect("only the routes of a severable cluster can be cut");
        ways.links.iter().filter(move |link| link.ends_at(node))
    }

    /// Waits until the nodes that run agree on a leader of JetStream's metadata, and follow it without lag. Returns the
    /// leader's name. A paused node counts as one that runs.
    ///
    /// Streams with replicas elect leaders of their own, which may take a moment longer.
    ///
    /// # Errors
    ///
    /// When that is not so in time: fewer than a majority run, for instance.
    pub async fn wait_ready(&mut self) -> Result<String, ServerError> {
        let running: Vec<Target> =
            self.nodes.iter().filter(|node| node.pid().is_some()).map(|node| node.target().clone()).collect();
        let (size, patience) = (self.nodes.len(), self.patience);
        let outcome = blocking(move || agreed_leader(&running, size, patience)).await;
        outcome.map_err(|why| ServerError::NotReady {
            name: self.name.clone(),
            within: patience,
            why,
            log: self.nodes.iter().map(NatsServer::log_tail).collect::<Vec<_>>().join("\n---\n"),
        })
    }
}

fn agreed_leader(running: &[Target], size: usize, patience: Duration) -> Result<String, String> {
    let deadline = Instant::now() + patience;
    loop {
        match look(running, size) {
            Ok(leader) => return Ok(leader),
            Err(why) if Instant::now() >= deadline => return Err(why),
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}

fn look(running: &[Target], size: usize) -> Result<String, String> {
    // A leader that lost its followers takes a while to notice; until then it looks well.
    if running.len() * 2 <= size {
        return Err(format!("{} of {size} nodes run: no majority", running.len()));
    }
    let leaders =
        running.iter().map(|node| node.meta_leader(size, running)).collect::<Result<Vec<_>, _>>()?;
    let leader = leaders.first().ok_or("no node runs")?;
    if let Some(other) = leaders.iter().find(|other| *other != leader) {
        return Err(format!("two leaders are named: {leader} and {other}"));
    }
    if running.iter().all(|node| node.name != *leader) {
        return Err(format!("the leader named, {leader}, does not run"));
    }
    Ok(leader.clone())
}
