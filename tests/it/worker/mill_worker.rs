//! A worker process for tests to kill, stop and terminate: it serves what its arguments say until SIGTERM, and ends with
//! the test, whose end of its standard input closes then.

use std::{io::Read, time::Duration};

use requite::{Client, Server};

// The tests use more of them.
#[allow(dead_code)]
mod ledger;
#[allow(dead_code)]
mod mill;

use ledger::Ledger;
use mill::{Mill, Silo};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let [url, namespace, worker, file, drain, service] =
        std::env::args().skip(1).collect::<Vec<_>>().try_into().expect("six arguments");
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::abort();
    });
    let client = Client::builder().url(url).namespace(namespace).caller("mill").connect().await?;
    let drain = Duration::from_millis(drain.parse()?);
    let ledger = Ledger::at(file);
    let server = Server::new(&client).drain_timeout(drain);
    let server = match service.as_str() {
        "silo" => server.serve(Silo { worker, ledger }).replicas(3),
        _ => server.serve(Mill { worker, ledger }),
    };
    Ok(server.run().await?)
}
