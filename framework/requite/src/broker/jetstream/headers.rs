//! Headers of a message. A thin wrapper, because every message passes here and a copy would be paid twice per call.

use std::str::FromStr;

use async_nats::{HeaderMap, HeaderName, HeaderValue};

/// Headers of a message; empty by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Headers(Option<HeaderMap>);

impl Headers {
    pub(super) fn from_nats(headers: Option<HeaderMap>) -> Self {
        Self(headers)
    }

    pub(super) fn into_nats(self) -> Option<HeaderMap> {
        self.0
    }

    /// Adds a header with a name of ours. A value that cannot be one (line ends) is left out: such values come from
    /// outside, and a header is never worth a panic.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        if let Ok(value) = HeaderValue::from_str(&value.into()) {
            self.0.get_or_insert_with(HeaderMap::new).insert(HeaderName::from_static(name), value);
        }
        self
    }

    /// Adds a header with a value that we made ourselves, of numbers and checked names: without line ends for certain.
    pub(crate) fn with_own(mut self, name: &'static str, value: String) -> Self {
        let headers = self.0.get_or_insert_with(HeaderMap::new);
        headers.insert(HeaderName::from_static(name), HeaderValue::from(value));
        self
    }

    /// The first value of a header.
    pub(crate) fn first(&self, name: &'static str) -> Option<&str> {
        self.0.as_ref()?.get(HeaderName::from_static(name)).map(HeaderValue::as_str)
    }

    /// The last value of a header.
    #[cfg(test)]
    pub(crate) fn last(&self, name: &str) -> Option<&str> {
        self.lasts().find_map(|(it, value)| (it == name).then_some(value))
    }

    /// Every name with its last value: where a server appends, the last is its own.
    pub(crate) fn lasts(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.0.iter().flat_map(HeaderMap::iter);
        pairs.filter_map(|(name, values)| Some((name.as_ref(), values.last()?.as_str())))
    }

    /// Every name with its values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, Vec<&str>)> {
        self.0
            .iter()
            .flat_map(HeaderMap::iter)
            .map(|(name, values)| (name.as_ref(), values.iter().map(HeaderValue::as_str).collect()))
    }

    /// Every name with its first value.
    pub(crate) fn firsts(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.0.iter().flat_map(HeaderMap::iter);
        pairs.filter_map(|(name, values)| Some((name.as_ref(), values.first()?.as_str())))
    }

    /// Appends a value under any name; used to rebuild headers that were stored. Refused values are left out.
    pub(crate) fn append(&mut self, name: &str, value: &str) {
        if let (Ok(name), Ok(value)) = (HeaderName::from_str(name), HeaderValue::from_str(value)) {
            self.0.get_or_insert_with(HeaderMap::new).append(name, value);
        }
    }

    /// A copy without the headers by which a server would understand more than a message: ids, expectations, times to
    /// live. What strangers wrote is kept for people, not obeyed.
    pub(crate) fn without_server_ones(&self) -> Self {
        let mut kept = Self::default();
        for (name, values) in self.iter().filter(|(name, _)| !name.starts_with("Nats-")) {
            for value in values {
                kept.append(name, value);
            }
        }
        kept
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(HeaderMap::is_empty)
    }

    /// The bytes that the headers take on the wire.
    pub(super) fn size(&self) -> usize {
        const FIRST_LINE_AND_LAST: usize = "NATS/1.0\r\n\r\n".len();
        const SEPARATORS: usize = ": \r\n".len();
        let lines = self
            .iter()
            .flat_map(|(name, values)| values.into_iter().map(move |value| name.len() + value.len()));
        lines.map(|line| line + SEPARATORS).sum::<usize>() + FIRST_LINE_AND_LAST
    }
}
