//! What a handler says of how far it is, as its caller sees it.

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    codec::{self, ContentType, Limits, sanitise},
    error::ProgressError,
    wire::progress::Report,
};

/// What a value may take in MessagePack, in bytes: it travels with every heartbeat.
const LARGEST_VALUE: usize = 4096;

/// How far a handler is: a fraction, a text for people, a value of the service's own, or several of them.
///
/// A handler reports it by [`Context::progress`](crate::Context::progress); a caller gets it as
/// [`CallEvent::Progress`](crate::CallEvent::Progress).
///
/// ```
/// use requite::Progress;
///
/// let progress = Progress::of(3, 4).message("resizing");
/// assert_eq!(progress.fraction(), Some(0.75));
/// assert_eq!(progress.text(), Some("resizing"));
///
/// let progress = Progress::value(&("parsing", 17));
/// assert_eq!(progress.decode().unwrap(), Some(("parsing".to_owned(), 17)));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    done: Option<u64>,
    total: Option<u64>,
    message: Option<String>,
    value: Option<Bytes>,
}

impl Progress {
    /// So much of so much: rows, bytes, steps. A negative number counts as 0.
    pub fn of(done: impl TryInto<u64>, total: impl TryInto<u64>) -> Self {
        let [done, total] = [done.try_into().ok(), total.try_into().ok()].map(Option::unwrap_or_default);
        Self { done: Some(done), total: Some(total), ..Self::default() }
    }

    /// A value of the service's own, of at most 4 KiB in MessagePack. One that is larger, or cannot be encoded, is left
    /// out, with a warning in the log: no handler fails because of its progress.
    pub fn value<T: Serialize + ?Sized>(value: &T) -> Self {
        let value = match codec::encode(ContentType::MessagePack, value) {
            Ok(bytes) if bytes.len() <= LARGEST_VALUE => Some(bytes),
            Ok(bytes) => {
                tracing::warn!(bytes = bytes.len(), most = LARGEST_VALUE, "a progress value is too large");
                None
            }
            Err(error) => {
                tracing::warn!(%error, "a progress value cannot be encoded");
                None
            }
        };
        Self { value, ..Self::default() }
    }

    /// Adds a text for people: one line of at most 300 characters, the rest is cut off.
    pub fn message(mut self, text: impl AsRef<str>) -> Self {
        self.message = Some(sanitise(text.as_ref()));
        self
    }

    /// How much is done, where the handler said it.
    pub fn done(&self) -> Option<u64> {
        self.done
    }

    /// How much there is to do.
    pub fn total(&self) -> Option<u64> {
        self.total
    }

    /// How much of it is done, from 0 to 1; nothing if the handler did not say, or there is nothing to do.
    #[allow(clippy::cast_precision_loss, reason = "a fraction for display")]
    pub fn fraction(&self) -> Option<f64> {
        let total = self.total.filter(|total| *total > 0)?;
        Some((self.done? as f64 / total as f64).min(1.0))
    }

    /// The text for people.
    pub fn text(&self) -> Option<&str> {
        self.message.as_deref()
    }

    /// The service's own value, if there is one.
    ///
    /// # Errors
    ///
    /// If it is no `T`.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<Option<T>, ProgressError> {
        let decode = |value: &Bytes| codec::decode(ContentType::MessagePack, value, &Limits::default());
        self.value.as_ref().map(decode).transpose().map_err(|error| ProgressError { text: error.to_string() })
    }

    /// As it travels.
    pub(crate) fn report(&self, number: u64) -> Report<'_> {
        let Self { done, total, message, value } = self;
        Report { number, done: *done, total: *total, message: message.as_deref(), value: value.as_deref() }
    }

    /// As it was read, from a worker that need not keep to these limits.
    pub(crate) fn from_report(report: &Report<'_>) -> Self {
        Self {
            done: report.done,
            total: report.total,
            message: report.message.map(sanitise),
            value: report.value.map(Bytes::copy_from_slice),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fraction_stays_between_0_and_1() {
        assert_eq!(Progress::of(0, 0).fraction(), None);
        assert_eq!(Progress::of(3, 2).fraction(), Some(1.0));
        assert_eq!(Progress::of(-3, 2usize).fraction(), Some(0.0));
        assert_eq!(Progress::value(&1).fraction(), None);
    }

    #[test]
    fn a_value_that_is_too_large_is_left_out() {
        let progress = Progress::value(&"x".repeat(LARGEST_VALUE)).message("a\nb");
        assert_eq!(progress.decode::<String>(), Ok(None));
        assert_eq!(progress.text(), Some("a b"));
        assert!(Progress::value("x").decode::<u32>().is_err());
    }
}
