//! Connections that cannot be had, settings that cannot be used: what the error names, and what it never shows.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use requite::{Client, ConnectError};
use requite_test::NatsServer;

use super::fixture::{SOON, within};

const PASSWORD: &str = "hunter2";

/// What is shown of an error must help and must not betray.
fn shown(error: &ConnectError, address: &str) {
    let texts = format!("{error} {error:?}");
    assert!(texts.contains(address), "{texts}");
    assert!(!texts.contains(PASSWORD), "{texts}");
}

#[tokio::test]
async fn a_refused_connection_names_the_address() {
    let (free, nobody) = closed_port();
    let url = format!("nats://ada:{PASSWORD}@{nobody}");
    let error = within(SOON, Client::connect(&url)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error:?}");
    shown(&error, &nobody);
    drop(free);
}

#[tokio::test]
async fn a_silent_server_is_given_up_within_five_seconds() {
    // Accepts, and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let url = format!("nats://ada:{PASSWORD}@{address}");
    let error = within(Duration::from_secs(6), Client::connect(&url)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error:?}");
    shown(&error, &address);
}

#[tokio::test]
async fn wrong_credentials_are_told_apart() {
    let config = r#"authorization { users: [{ user: "ada", password: "right" }] }"#;
    let nats = NatsServer::builder().config(config).credentials("ada", "right").start().await.unwrap();
    let address = format!("127.0.0.1:{}", nats.port());
    let builder = || Client::builder().url(nats.url());
    for wrong in [
        Client::builder().url(nats.url_as("ada", PASSWORD)),
        builder().user("ada", PASSWORD),
        builder().token(PASSWORD),
        builder(),
    ] {
        let error = within(SOON, wrong.connect()).await.unwrap_err();
        assert!(matches!(error, ConnectError::Unauthorized { .. }), "{error:?}");
        shown(&error, &address);
    }
    within(SOON, builder().user("ada", "right").connect()).await.unwrap();
    within(SOON, Client::connect(&nats.url_as("ada", "right"))).await.unwrap();
}

#[tokio::test]
async fn a_server_without_tls_is_told_apart_where_tls_is_required() {
    let nats = NatsServer::start().await.unwrap();
    let error = within(SOON, Client::builder().url(nats.url()).require_tls().connect()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Tls { .. }), "{error:?}");
    shown(&error, &format!("127.0.0.1:{}", nats.port()));
}

#[tokio::test]
async fn a_server_with_tls_is_reached_by_who_trusts_it_and_is_known_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let (ca, server, client) = certificates(folder.path());
    let config = format!(
        "tls {{ cert_file: {0:?}, key_file: {1:?}, ca_file: {ca:?}, verify: true }}",
        server.0, server.1
    );
    let nats = NatsServer::builder().config(config).start().await.unwrap();
    let address = format!("127.0.0.1:{}", nats.port());
    let builder = || Client::builder().url(nats.url());
    let known = |builder: requite::ClientBuilder| builder.tls_certificate(&client.0, &client.1);

    within(SOON, known(builder().tls_ca(&ca)).connect()).await.unwrap();
    let untrusted = within(SOON, known(builder()).connect()).await.unwrap_err();
    assert!(matches!(untrusted, ConnectError::Tls { .. }), "{untrusted:?}");
    shown(&untrusted, &address);
    let unknown = within(SOON, builder().tls_ca(&ca).connect()).await.unwrap_err();
    assert!(matches!(unknown, ConnectError::Tls { .. } | ConnectError::Unreachable { .. }), "{unknown:?}");
    shown(&unknown, &address);
}

/// An authority, and what it signed for the server and for a client: each a certificate and its key.
fn certificates(folder: &Path) -> (PathBuf, (PathBuf, PathBuf), (PathBuf, PathBuf)) {
    let write = |name: &str, pem: String| {
        let file = folder.join(name);
        std::fs::write(&file, pem).unwrap();
        file
    };
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = write("ca.pem", params.self_signed(&key).unwrap().pem());
    let issuer = Issuer::new(params, key);
    let signed = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["127.0.0.1".into(), "localhost".into()]).unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        (write(&format!("{name}.pem"), certificate.pem()), write(&format!("{name}.key"), key.serialize_pem()))
    };
    (ca, signed("server"), signed("client"))
}

#[tokio::test]
async fn an_address_that_cannot_be_read_is_an_invalid_setting() {
    for url in
        [format!("nats://ada:{PASSWORD}@"), format!("nats://ada:{PASSWORD}@host:port"), "nats://a b".into()]
    {
        let error = within(SOON, Client::connect(&url)).await.unwrap_err();
        assert!(matches!(error, ConnectError::InvalidSetting { name: "url", .. }), "{error:?}");
        shown(&error, "url");
    }
}

#[tokio::test]
async fn a_credentials_file_that_is_not_there_is_an_invalid_setting() {
    let builder = Client::builder().url("nats://127.0.0.1:1").credentials_file("/nowhere/ada.creds");
    let error = within(SOON, builder.connect()).await.unwrap_err();
    assert!(matches!(error, ConnectError::InvalidSetting { .. }), "{error:?}");
    shown(&error, "/nowhere/ada.creds");
}

/// Names become tokens of subjects: what would break one never gets as far as a server.
#[tokio::test]
async fn names_that_would_break_a_subject_are_refused_before_connecting() {
    let long = "x".repeat(65);
    for bad in ["", ".", "a.b", "*", ">", "a b", "a\r\nPUB x 0", "-w", "$JS", "ü", &long] {
        for (setting, builder) in
            [("caller", Client::builder().caller(bad)), ("namespace", Client::builder().namespace(bad))]
        {
            let error = within(SOON, builder.url("nats://127.0.0.1:1").connect()).await.unwrap_err();
            let ConnectError::InvalidSetting { name, .. } = &error else { panic!("{bad:?}: {error:?}") };
            assert_eq!(*name, setting);
            assert!(!error.to_string().contains('\n'), "{error}");
        }
        assert!(bad.parse::<requite::Name>().is_err(), "{bad:?}");
    }
}

/// An address on which nobody listens, for as long as the socket is kept: it is bound, and not listening.
fn closed_port() -> (tokio::net::TcpSocket, String) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = socket.local_addr().unwrap().to_string();
    (socket, address)
}
