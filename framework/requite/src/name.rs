//! Validated names and ids: the only values that ever become tokens of a subject.
//!
//! A name is checked once, where it enters; past that point no code has to think of dots, wildcards or line ends.

use std::{fmt, str::FromStr, sync::Arc};

use data_encoding::{BASE64URL_NOPAD, Encoding, Specification};
use ring::{digest, hmac, rand::SecureRandom};
use std::sync::LazyLock;

use crate::subject::first_token;

/// The longest name of a service, method or caller, in characters.
const MAX_NAME: usize = 64;
/// 128 bits in base32 without padding.
const TOKEN: usize = 26;

static BASE32: LazyLock<Encoding> = LazyLock::new(|| {
    let mut spec = Specification::new();
    spec.symbols.push_str("abcdefghijklmnopqrstuvwxyz234567");
    spec.encoding().expect("32 distinct symbols make an encoding")
});

/// The name of a service, a method or a caller: 1 to 64 characters of `A-Z a-z 0-9 _ -`, not starting with `-`.
///
/// Names become tokens of NATS subjects, so dots, wildcards, spaces and control characters are refused.
///
/// ```
/// use requite::Name;
/// assert!("billing".parse::<Name>().is_ok());
/// assert!("bill.ing".parse::<Name>().is_err());
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Arc<str>);

/// A name that cannot be a token of a subject.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("{shown:?} is not a name: 1 to 64 of A-Z a-z 0-9 _ -, not starting with '-'")]
pub struct InvalidName {
    shown: String,
}

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The nearest valid name: every other character becomes `-`; used for names that come from the environment.
    pub(crate) fn sanitised(text: &str) -> Option<Self> {
        let clean: String = text
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' })
            .skip_while(|c| *c == '-')
            .take(MAX_NAME)
            .collect();
        clean.parse().ok()
    }
}

/// Whether `text` may be one token of ours; `-cancel` and its like, which start with `-`, may not.
pub(crate) fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= MAX_NAME
        && !text.starts_with('-')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

impl FromStr for Name {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if is_name(text) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidName { shown: text.chars().take(MAX_NAME).collect() })
        }
    }
}

impl TryFrom<&str> for Name {
    type Error = InvalidName;

    fn try_from(text: &str) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// The id of a request: `<instance>.<n>` for a call without a key, `k.<hash>` for a call with one.
///
/// Keep it to re-attach to a call whose end is not known: the id says which call, the caller's name says whose.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RequestId(Arc<str>);

/// A text that is not the id of a request.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("not a request id: expected `<26 characters>.<number>` or `k.<26 characters>`")]
pub struct InvalidRequestId;

impl RequestId {
    /// The `n`th id of one client instance.
    pub(crate) fn numbered(instance: &Instance, n: u64) -> Self {
        Self(format!("{instance}.{n}").into())
    }

    /// The id of a key: the same for every process of the caller.
    ///
    /// The parts are hashed with their lengths, so that no two triples run into each other. With a secret nobody who
    /// does not have it can compute the id from the key.
    pub(crate) fn keyed(secret: Option<&[u8]>, service: &Name, method: &Name, key: &str) -> Self {
        let mut text = Vec::with_capacity(24 + service.0.len() + method.0.len() + key.len());
        for part in [service.as_str(), method.as_str(), key] {
            text.extend_from_slice(&(part.len() as u64).to_be_bytes());
            text.extend_from_slice(part.as_bytes());
        }
        let mut first = [0; 16];
        match secret {
            Some(secret) => {
                let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), &text);
                first.copy_from_slice(&tag.as_ref()[..16]);
            }
            None => first.copy_from_slice(&digest::digest(&digest::SHA256, &text).as_ref()[..16]),
        }
        Self(format!("k.{}", BASE32.encode(&first)).into())
    }

    /// The two tokens of the id as they stand in subjects.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the id was made from a key.
    pub fn is_keyed(&self) -> bool {
        self.0.starts_with("k.")
    }
}

/// Whether `text` is an id as [`RequestId`] makes them.
pub(crate) fn is_request_id(text: &str) -> bool {
    let Some((first, second)) = first_token(text) else {
        return false;
    };
    let token = |t: &str| t.len() == TOKEN && t.bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7'));
    let number = |t: &str| {
        (1..=20).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_digit()) && t.parse::<u64>().is_ok()
    };
    (first == "k" && token(second)) || (token(first) && number(second))
}

impl FromStr for RequestId {
    type Err = InvalidRequestId;

    fn from_str(text: &str) -> Result<Self, InvalidRequestId> {
        if is_request_id(text) { Ok(Self(text.into())) } else { Err(InvalidRequestId) }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// 128 random bits that name one client or one worker for as long as its process lives.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Instance(Arc<str>);

impl Instance {
    pub(crate) fn random() -> Self {
        Self(BASE32.encode(&random_bits()).into())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// 128 bits that nobody can guess; in a simulation, those that the seed gives.
pub(crate) fn random_bits() -> [u8; 16] {
    #[cfg(test)]
    if let Some(bits) = crate::simulation::seeded_bits() {
        return bits;
    }
    let mut bits = [0; 16];
    ring::rand::SystemRandom::new().fill(&mut bits).expect("the operating system has randomness");
    bits
}

/// A key as a header value: keys are free text, headers are not.
pub(crate) fn encode_key(key: &str) -> String {
    BASE64URL_NOPAD.encode(key.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_break_a_subject_are_refused() {
        for bad in ["", "a.b", "*", ">", "a b", "a\r\n", "-cancel", "$JS", "ä", &"x".repeat(65)] {
            assert!(bad.parse::<Name>().is_err(), "{bad:?}");
        }
        for good in ["a", "charge_card", "A-1", &"x".repeat(64)] {
            assert!(good.parse::<Name>().is_ok(), "{good:?}");
        }
    }

    #[test]
    fn a_name_from_the_environment_is_made_valid() {
        assert_eq!(Name::sanitised("/usr/bin/my app").unwrap().as_str(), "usr-bin-my-app");
        assert_eq!(Name::sanitised("---"), None);
    }

    #[test]
    fn ids_round_trip_and_nothing_else_parses() {
        let numbered = RequestId::numbered(&Instance::random(), 42);
        assert_eq!(numbered.as_str().parse::<RequestId>().unwrap(), numbered);
        let keyed = RequestId::keyed(None, &"s".parse().unwrap(), &"m".parse().unwrap(), "a.b > *\r\n");
        assert_eq!(keyed.as_str().parse::<RequestId>().unwrap(), keyed);
        assert!(keyed.is_keyed() && !numbered.is_keyed());
        for bad in
            ["", "k", "k.", "a.1", "k.x.y", "..", "k.*", &format!("{numbered}x"), &format!("{keyed}.1")]
        {
            assert!(bad.parse::<RequestId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_key_is_bound_to_service_method_and_secret() {
        let (s, m): (Name, Name) = ("s".parse().unwrap(), "m".parse().unwrap());
        let id = |secret: Option<&[u8]>, service: &Name, method: &Name, key: &str| {
            RequestId::keyed(secret, service, method, key)
        };
        let plain = id(None, &s, &m, "k");
        assert_eq!(plain, id(None, &s, &m, "k"));
        assert_ne!(plain, id(None, &m, &s, "k"));
        assert_ne!(plain, id(Some(b"secret"), &s, &m, "k"));
        assert_ne!(id(None, &"ab".parse().unwrap(), &m, "k"), id(None, &"a".parse().unwrap(), &m, "bk"));
    }
}
