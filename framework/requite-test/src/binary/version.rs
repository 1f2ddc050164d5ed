//! Versions of nats-server.

use std::fmt;
use std::str::FromStr;

use super::BinaryError;

/// A released version of nats-server, such as `2.15.1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// 2, so far.
    pub major: u32,
    /// A new one brings features.
    pub minor: u32,
    /// A new one brings fixes.
    pub patch: u32,
}

impl Version {
    /// The version that is downloaded when none is asked for.
    pub const DEFAULT: Self = Self { major: 2, minor: 15, patch: 1 };

    /// The oldest version that Requite works with.
    pub const OLDEST: Self = Self { major: 2, minor: 12, patch: 8 };

    /// Reads what `nats-server --version` prints: `nats-server: v2.15.1`. A preview counts as its release.
    pub(crate) fn from_banner(banner: &str) -> Option<Self> {
        let text = banner.trim().strip_prefix("nats-server: v")?;
        text.split(['-', '+', ' ']).next()?.parse().ok()
    }
}

impl FromStr for Version {
    type Err = BinaryError;

    fn from_str(text: &str) -> Result<Self, BinaryError> {
        let mut numbers = text.split('.').map(|part| part.parse::<u32>().ok());
        match [numbers.next(), numbers.next(), numbers.next(), numbers.next()] {
            [Some(Some(major)), Some(Some(minor)), Some(Some(patch)), None] => {
                Ok(Self { major, minor, patch })
            }
            _ => Err(BinaryError::BadVersion(text.to_owned())),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn banner_of_a_release_and_of_a_preview() {
        assert_eq!(Version::from_banner("nats-server: v2.15.1\n"), Some(Version::DEFAULT));
        assert_eq!(Version::from_banner("nats-server: v2.15.1-RC.2"), Some(Version::DEFAULT));
        assert_eq!(Version::from_banner("nginx version: 1.2.3"), None);
    }

    #[test]
    fn versions_are_three_numbers() {
        assert_eq!("2.12.8".parse::<Version>().unwrap().to_string(), "2.12.8");
        for wrong in ["2.12", "v2.12.8", "2.12.8.1", "latest", ""] {
            assert!(wrong.parse::<Version>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn order_is_numeric() {
        assert!("2.9.10".parse::<Version>().unwrap() < Version::OLDEST);
    }
}
