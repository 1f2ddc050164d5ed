//! Ports that are ours for as long as we want, whether something listens on them at the moment or not.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use tokio::net::{TcpListener, TcpSocket};

/// A port of 127.0.0.1 that the system hands to nobody else while this value lives.
///
/// The reservation is a socket that is bound but never listens. Linux lets a second socket with `SO_REUSEADDR` (which
/// nats-server sets) bind and listen beside it, yet skips the port when anyone asks for a free one. So a server can be
/// down for a while and come back to its port, and three nodes can know each other's ports before any of them runs.
///
/// Elsewhere such a socket keeps the server out as well. There the port is only found, not held: whoever starts a
/// server on it checks that it is the one that answers, and tries again with another port if not.
#[derive(Debug)]
pub(crate) struct ReservedPort {
    port: u16,
    _held: Option<TcpSocket>,
}

impl ReservedPort {
    pub(crate) fn reserve() -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)))?;
        let port = socket.local_addr()?.port();
        Ok(Self { port, _held: cfg!(target_os = "linux").then_some(socket) })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, self.port))
    }

    /// Listens on the port, from within a tokio runtime.
    pub(crate) fn listen(&self) -> io::Result<TcpListener> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(self.address())?;
        socket.listen(1024)
    }
}
