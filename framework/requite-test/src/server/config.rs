//! The configuration that a test's server runs with: the project's `nats.conf`, another store, and what the test adds.

use std::fs;
use std::path::{Path, PathBuf};

use crate::ServerError;

/// The file at the repository's root. In this crate's folder it is a symbolic link, which becomes a copy in a package.
const BASE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/nats.conf"));

/// The setting of [`BASE`] that is replaced. The ports are replaced by the command line instead; for the store the server
/// takes that as a contradiction.
const STORE: &str = r#"store_dir: "target/nats""#;

/// Writes the configuration of a server whose store and files are in `folder`. Its name stands there as well: a server
/// that reads its configuration again forgets what the command line said of it, and refuses another one.
pub(super) fn write(folder: &Path, name: &str, extra: &str, more: &str) -> Result<PathBuf, ServerError> {
    let path = folder.join("nats.conf");
    let text = text(&folder.join("store"), &format!("{extra}\n{more}\nserver_name: {name:?}"));
    fs::write(&path, text).map_err(ServerError::io(format!("write {}", path.display())))?;
    Ok(path)
}

/// Text of a configuration file. Of two settings with the same name the server takes the later, so `extra` wins.
fn text(store: &Path, extra: &str) -> String {
    let store = format!("store_dir: {:?}", store.display().to_string());
    format!("{}\n{extra}\n", BASE.replacen(STORE, &store, 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn store_is_replaced_and_the_rest_kept() {
        assert_eq!(BASE.matches("store_dir").count(), 1);
        let text = text(Path::new("/tmp/x"), "max_connections: 7");
        assert!(text.contains("  store_dir: \"/tmp/x\"\n") && !text.contains("target/nats\""), "{text}");
        assert!(text.contains("max_payload: 1MB") && text.ends_with("max_connections: 7\n"), "{text}");
    }
}
