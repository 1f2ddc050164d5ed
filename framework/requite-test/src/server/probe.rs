//! Asking a server whether it is ready: a NATS client and an HTTP client, both just large enough for that. They block.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde::Deserialize;

/// A server that does not answer a probe for this long is asked again over a new connection.
const PATIENCE: Duration = Duration::from_secs(2);

/// How a server is reached and told from another one on the same port.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Nobody else's server has this name.
    pub(crate) name: String,
    pub(crate) client: SocketAddr,
    pub(crate) monitor: SocketAddr,
    pub(crate) credentials: Option<(String, String)>,
}

/// When a server counts as ready.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ready {
    /// It answers clients.
    Answers,
    /// It also says that JetStream has recovered everything in its store.
    JetStream,
}

/// The first line that a server sends.
#[derive(Deserialize)]
struct Info {
    server_name: String,
    #[serde(default)]
    auth_required: bool,
    #[serde(default)]
    tls_required: bool,
    #[serde(default)]
    jetstream: bool,
}

/// What `/jsz` tells about the cluster that replicates JetStream's metadata.
#[derive(Deserialize)]
struct Jsz {
    meta_cluster: Option<MetaCluster>,
}

#[derive(Deserialize)]
struct MetaCluster {
    leader: Option<String>,
    #[serde(default)]
    cluster_size: usize,
    #[serde(default)]
    replicas: Vec<MetaReplica>,
}

#[derive(Deserialize)]
struct MetaReplica {
    name: String,
    current: bool,
    #[serde(default)]
    offline: bool,
}

impl Target {
    /// `Err` says what is still missing.
    pub(super) fn probe(&self, ready: Ready) -> Result<(), String> {
        let (mut client, info) = Client::connect(self.client)?;
        if info.server_name != self.name {
            return Err(format!(
                "the server on {} is {:?}, not {:?}",
                self.client, info.server_name, self.name
            ));
        }
        // Without a password, a server that asks for one can only be asked through its monitor; one with TLS as well.
        if !info.tls_required && (self.credentials.is_some() || !info.auth_required) {
            client.login(self.credentials.as_ref())?;
        }
        match ready {
            Ready::Answers => Ok(()),
            Ready::JetStream if !info.jetstream => {
                Err(format!("JetStream is off; {} serves without it", self.name))
            }
            Ready::JetStream => self.monitor("/healthz").map(drop),
        }
    }

    /// The leader of the metadata, as this server of a cluster of `size` sees it. If this one leads, `Err` unless the
    /// servers that run follow it without lag.
    pub(crate) fn meta_leader(&self, size: usize, running: &[Self]) -> Result<String, String> {
        self.monitor("/healthz")?;
        let jsz: Jsz =
            serde_json::from_str(&self.monitor("/jsz")?).map_err(|error| format!("/jsz: {error}"))?;
        let meta = jsz.meta_cluster.ok_or("no meta cluster yet")?;
        if meta.cluster_size != size {
            return Err(format!("{} sees {} of {size} servers", self.name, meta.cluster_size));
        }
        let leader = meta.leader.filter(|name| !name.is_empty()).ok_or("no meta leader yet")?;
        let follows =
            |node: &Self| meta.replicas.iter().any(|it| it.name == node.name && it.current && !it.offline);
        match running.iter().find(|node| node.name != self.name && !follows(node)) {
            Some(behind) if leader == self.name => Err(format!("{} is not current", behind.name)),
            _ => Ok(leader),
        }
    }

    fn monitor(&self, path: &str) -> Result<String, String> {
        let problem = |error: std::io::Error| format!("{path} of {}: {error}", self.name);
        let mut stream = connect(self.monitor).map_err(problem)?;
        // HTTP/1.0: the answer ends where the connection does.
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", self.monitor).map_err(problem)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map_err(problem)?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        if head.split(' ').nth(1) == Some("200") {
            Ok(body.to_owned())
        } else {
            Err(format!("{path} of {}: {body}", self.name))
        }
    }

    /// One request, one answer, on a connection of its own.
    pub(super) fn ask(&self, subject: &str, payload: &[u8]) -> Result<Vec<u8>, String> {
        let (mut client, _info) = Client::connect(self.client)?;
        client.login(self.credentials.as_ref())?;
        client.ask(subject, payload)
    }
}

fn connect(to: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    fn connect(to: SocketAddr) -> Result<(Self, Info), String> {
        let stream = connect(to).map_err(|error| format!("no connection to {to}: {error}"))?;
        let mut client = Self { stream: BufReader::new(stream) };
        let line = client.line()?;
        let info = line.strip_prefix("INFO ").ok_or_else(|| format!("{to} is no NATS server: {line:?}"))?;
        let info = serde_json::from_str(info).map_err(|error| format!("{to} is no NATS server: {error}"))?;
        Ok((client, info))
    }

    fn login(&mut self, credentials: Option<&(String, String)>) -> Result<(), String> {
        let mut options = serde_json::json!({
            "verbose": false, "pedantic": false, "headers": true, "no_responders": true,
            "protocol": 1, "lang": "rust", "version": env!("CARGO_PKG_VERSION"), "name": "requite-test",
        });
        if let Some((user, password)) = credentials {
            options["user"] = user.as_str().into();
            options["pass"] = password.as_str().into();
        }
        self.send(format!("CONNECT {options}\r\nPING\r\n").as_bytes())?;
        loop {
            match self.line()? {
                line if line == "PONG" => return Ok(()),
                line if line.starts_with("-ERR") => return Err(line),
                _newer_info => {}
            }
        }
    }

    fn ask(&mut self, subject: &str, payload: &[u8]) -> Result<Vec<u8>, String> {
        let inbox = format!("_INBOX.{}", crate::random::suffix());
        self.send(format!("SUB {inbox} 1\r\nPUB {subject} {inbox} {}\r\n", payload.len()).as_bytes())?;
        self.send(&[payload, b"\r\n"].concat())?;
        loop {
            let line = self.line()?;
            let size =
                |word: Option<&str>| word.and_then(|word| word.parse::<usize>().ok()).ok_or(line.clone());
            let mut words = line.split(' ');
            match words.next() {
                Some("MSG") => return self.body(0, size(words.next_back())?),
                Some("HMSG") => {
                    let total = size(words.next_back())?;
                    let headers = size(words.next_back())?;
                    return match self.body(headers, total)? {
                        // With `no_responders`, that is what a header and nothing else means.
                        body if body.is_empty() => Err("nobody listens on this subject".to_owned()),
                        body => Ok(body),
                    };
                }
                Some("-ERR") => return Err(line),
                Some("PING") => self.send(b"PONG\r\n")?,
                _ => {}
            }
        }
    }

    fn body(&mut self, headers: usize, total: usize) -> Result<Vec<u8>, String> {
        let mut body = vec![0; total];
        self.stream.read_exact(&mut body).map_err(|error| error.to_string())?;
        Ok(body.split_off(headers.min(total)))
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.stream.get_mut().write_all(bytes).map_err(|error| error.to_string())
    }

    fn line(&mut self) -> Result<String, String> {
        let mut line = String::new();
        match self.stream.read_line(&mut line) {
            Ok(0) => Err("the server closed the connection".to_owned()),
            Ok(_) => Ok(line.trim_end().to_owned()),
            Err(error) => Err(format!("the server does not answer: {error}")),
        }
    }
}
