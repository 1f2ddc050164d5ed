//! The proxy's faults, seen by a client that echoes.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use requite_test::{Direction, Hold, NatsServer, Proxy};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A server that sends back what it is sent.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                tokio::io::copy(&mut from, &mut to).await
            });
        }
    });
    address
}

async fn client(proxy: &Proxy) -> std::io::Result<TcpStream> {
    TcpStream::connect(("127.0.0.1", proxy.port())).await
}

async fn echoes(stream: &mut TcpStream) {
    stream.write_all(b"hello").await.unwrap();
    let mut back = [0; 5];
    stream.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"hello");
}

#[tokio::test]
async fn cut_closes_and_refuses_until_healed() {
    let proxy = Proxy::start(echo().await).await.unwrap();
    let mut stream = client(&proxy).await.unwrap();
    echoes(&mut stream).await;
    assert_eq!(proxy.connections(), 1);

    proxy.cut().await;
    assert_eq!(proxy.connections(), 0);
    assert!(matches!(stream.read(&mut [0; 5]).await, Ok(0) | Err(_)));
    assert_eq!(client(&proxy).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);

    proxy.heal().await.unwrap();
    proxy.heal().await.unwrap();
    echoes(&mut client(&proxy).await.unwrap()).await;
}

/// A process holds copies of this process's descriptors between its fork and its exec.
#[tokio::test]
async fn cut_refuses_while_processes_are_started() {
    let done = Arc::new(AtomicBool::new(false));
    let starts_processes = || {
        let done = Arc::clone(&done);
        thread::spawn(move || {
            while !done.load(Ordering::Relaxed) {
                Command::new("true").status().unwrap();
            }
        })
    };
    let starters = [starts_processes(), starts_processes()];
    let proxy = Proxy::start(echo().await).await.unwrap();
    let mut refused = 0;
    for _ in 0..500 {
        proxy.cut().await;
        refused += usize::from(client(&proxy).await.is_err());
        proxy.heal().await.unwrap();
    }
    done.store(true, Ordering::Relaxed);
    for starter in starters {
        starter.join().unwrap();
    }
    assert_eq!(refused, 500);
}

#[tokio::test]
async fn frozen_connection_is_silent_and_loses_nothing() {
    let proxy = Proxy::start(echo().await).await.unwrap();
    let mut stream = client(&proxy).await.unwrap();
    echoes(&mut stream).await;

    proxy.freeze();
    stream.write_all(b"hello").await.unwrap();
    let mut late = client(&proxy).await.unwrap();
    late.write_all(b"later").await.unwrap();
    let mut back = [0; 5];
    // Silence can only be listened to for a while; a byte that passes takes microseconds.
    let silence = tokio::time::timeout(Duration::from_millis(200), stream.read_exact(&mut back)).await;
    assert!(silence.is_err());
    assert_eq!(proxy.connections(), 2);

    proxy.thaw();
    stream.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"hello");
    late.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"later");
}

/// An echo whose messages end like those of NATS, behind a proxy that reads them.
async fn read_echo() -> (Proxy, TcpStream) {
    let proxy = Proxy::start_reading(echo().await).await.unwrap();
    let stream = client(&proxy).await.unwrap();
    (proxy, stream)
}

async fn comes_back(stream: &mut TcpStream, text: &str) {
    let mut back = vec![0; text.len()];
    stream.read_exact(&mut back).await.unwrap();
    assert_eq!(String::from_utf8(back).unwrap(), text);
}

#[tokio::test]
async fn trap_holds_its_message_and_what_comes_behind_it() {
    let (proxy, mut stream) = read_echo().await;
    let trap = proxy.trap(Direction::ToServer, Hold::Before, |message| message == b"PUB b 2\r\nhi\r\n");
    stream.write_all(b"PUB a 2\r\nhi\r\nPUB b 2\r\nhi\r\nPING\r\n").await.unwrap();
    assert_eq!(trap.sprung().await, b"PUB b 2\r\nhi\r\n");
    proxy.thaw();
    comes_back(&mut stream, "PUB a 2\r\nhi\r\nPUB b 2\r\nhi\r\nPING\r\n").await;
    // It springs once.
    stream.write_all(b"PUB b 2\r\nhi\r\n").await.unwrap();
    comes_back(&mut stream, "PUB b 2\r\nhi\r\n").await;
}

#[tokio::test]
async fn what_a_trap_holds_is_lost_with_its_connection() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::start_reading(server.local_addr().unwrap()).await.unwrap();
    let mut stream = client(&proxy).await.unwrap();
    let (mut accepted, _) = server.accept().await.unwrap();
    for (hold, arrives) in [(Hold::Before, &b""[..]), (Hold::After, b"+ACK\r\n")] {
        let trap = proxy.trap(Direction::ToServer, hold, |message| message.starts_with(b"+ACK"));
        stream.write_all(b"PING\r\n+ACK\r\nPONG\r\n").await.unwrap();
        trap.sprung().await;
        proxy.cut().await;
        let mut all = Vec::new();
        accepted.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, [b"PING\r\n", arrives].concat(), "{hold:?}");
        proxy.thaw();
        proxy.heal().await.unwrap();
        stream = client(&proxy).await.unwrap();
        (accepted, _) = server.accept().await.unwrap();
    }
}

#[tokio::test]
async fn trap_minds_the_direction() {
    let (proxy, mut stream) = read_echo().await;
    let trap = proxy.trap(Direction::ToClient, Hold::Before, |message| message == b"PING\r\n");
    stream.write_all(b"PING\r\n").await.unwrap();
    trap.sprung().await;
    stream.write_all(b"PONG\r\n").await.unwrap();
    proxy.thaw();
    comes_back(&mut stream, "PING\r\nPONG\r\n").await;
}

#[tokio::test]
async fn connections_are_counted_to_their_end() {
    let proxy = Proxy::start(echo().await).await.unwrap();
    let stream = client(&proxy).await.unwrap();
    proxy.wait_connections(1).await;
    drop(stream);
    proxy.wait_connections(0).await;
}

#[tokio::test]
async fn dropped_proxy_closes_its_connections() {
    let proxy = Proxy::start(echo().await).await.unwrap();
    let mut stream = client(&proxy).await.unwrap();
    echoes(&mut stream).await;
    drop(proxy);
    assert!(matches!(stream.read(&mut [0; 5]).await, Ok(0) | Err(_)));
}

#[tokio::test]
async fn server_behind_a_proxy_answers_through_it() {
    let server = NatsServer::start().await.unwrap();
    let proxy = Proxy::start(([127, 0, 0, 1], server.port()).into()).await.unwrap();
    assert_eq!(proxy.url(), format!("nats://127.0.0.1:{}", proxy.port()));
    let mut info = String::new();
    BufReader::new(client(&proxy).await.unwrap()).read_line(&mut info).await.unwrap();
    assert!(info.starts_with("INFO ") && info.contains(server.name()), "{info}");
}

#[tokio::test]
async fn slow_delays_every_piece_until_thawed() {
    let delay = Duration::from_millis(200);
    let proxy = Proxy::start(echo().await).await.unwrap();
    let mut stream = client(&proxy).await.unwrap();
    echoes(&mut stream).await;
    proxy.slow(delay);
    let began = std::time::Instant::now();
    echoes(&mut stream).await;
    assert!(began.elapsed() >= 2 * delay, "there and back: {:?}", began.elapsed());

    proxy.slow(Duration::from_secs(3_600));
    stream.write_all(b"hello").await.unwrap();
    proxy.thaw();
    stream.read_exact(&mut [0; 5]).await.unwrap();
    echoes(&mut stream).await;
}
