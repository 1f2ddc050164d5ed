//! The envelope of a request: the headers a caller writes, and the check a worker makes before it looks at the body.

use std::time::Duration;

use super::{VERSION, header};
use crate::{broker::Headers, codec::ContentType};

/// The largest value of a header of ours that is read.
const LONGEST_VALUE: usize = 1024;

/// What the headers of a request say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Envelope {
    pub(crate) content_type: ContentType,
    /// An earlier copy may exist.
    pub(crate) resend: bool,
    /// A lower bound of the server's clock when the request was published, in nanoseconds.
    pub(crate) sent: Option<u64>,
    /// The time to the deadline, from the server's time stamp of the request.
    pub(crate) left: Option<Duration>,
    pub(crate) key: Option<String>,
    pub(crate) trace_parent: Option<String>,
}

/// What a message on the request stream turns out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Checked {
    Call(Envelope),
    /// The message that set-up sends through a consumer: acked unseen.
    Setup,
    /// Not published by a caller of this protocol: a dead letter, without a record.
    Foreign(&'static str),
}

impl Envelope {
    /// Writes the envelope; the caller adds the message id.
    pub(crate) fn encode(&self) -> Headers {
        let mut headers = Headers::default()
            .with(header::VERSION, VERSION)
            .with(header::KIND, header::KIND_CALL)
            .with(header::CONTENT_TYPE, self.content_type.as_str());
        if let Some(left) = self.left {
            headers = headers.with(header::LEFT, left.as_millis().to_string());
        }
        if self.resend {
            headers = headers.with(header::RESEND, "1");
        }
        if let Some(sent) = self.sent {
            headers = headers.with(header::SENT, sent.to_string());
        }
        if let Some(key) = &self.key {
            headers = headers.with(header::KEY, key.as_str());
        }
        // What no worker would read is not sent: a trace is never worth a request.
        if let Some(trace) = self.trace_parent.as_ref().filter(|it| it.len() <= LONGEST_VALUE) {
            headers = headers.with(header::TRACE_PARENT, trace.as_str());
        }
        headers
    }

    /// Checks who wrote the message and what it says, before anybody looks at its body.
    pub(crate) fn check(headers: &Headers) -> Checked {
        if header::SERVER_ONLY.iter().any(|name| headers.first(name).is_some()) {
            return Checked::Foreign("carries headers of the server: not published by a caller");
        }
        let Some(version) = headers.first(header::VERSION) else {
            return Checked::Foreign("has no version of the protocol");
        };
        if version != VERSION {
            return Checked::Foreign("is of another version of the protocol");
        }
        match headers.first(header::KIND) {
            Some(header::KIND_CALL) => Self::decode(headers).map_or_else(Checked::Foreign, Checked::Call),
            Some(header::KIND_SETUP) => Checked::Setup,
            _ => Checked::Foreign("is of an unknown kind"),
        }
    }

    fn decode(headers: &Headers) -> Result<Self, &'static str> {
        let text = |name| match headers.first(name) {
            Some(value) if value.len() > LONGEST_VALUE => Err("has a header that is too long"),
            other => Ok(other),
        };
        let number = |name, wrong: &'static str| match text(name)? {
            None => Ok(None),
            Some(value) => value.parse::<u64>().map(Some).map_err(|_| wrong),
        };
        let content_type = text(header::CONTENT_TYPE)?
            .and_then(ContentType::parse)
            .ok_or("has a content type that is not read here")?;
        Ok(Self {
            content_type,
            resend: headers.first(header::RESEND).is_some(),
            sent: number(header::SENT, "has an unreadable Rq-Sent")?,
            left: number(header::LEFT, "has an unreadable Rq-Left")?.map(Duration::from_millis),
            key: headers.first(header::KEY).map(str::to_owned),
            trace_parent: text(header::TRACE_PARENT)?.map(str::to_owned),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope() -> Envelope {
        Envelope {
            content_type: ContentType::MessagePack,
            resend: true,
            sent: Some(1_700_000_000_000_000_000),
            left: Some(Duration::from_millis(1500)),
            key: Some("a2V5".into()),
            trace_parent: None,
        }
    }

    #[test]
    fn an_envelope_round_trips() {
        assert_eq!(Envelope::check(&envelope().encode()), Checked::Call(envelope()));
    }

    #[test]
    fn a_trace_context_that_no_worker_would_read_is_left_out() {
        let long = Envelope { trace_parent: Some("x".repeat(LONGEST_VALUE + 1)), ..envelope() };
        assert_eq!(Envelope::check(&long.encode()), Checked::Call(envelope()));
    }

    #[test]
    fn a_message_of_the_server_is_not_a_request() {
        for name in header::SERVER_ONLY {
            let headers = envelope().encode().with(name, "x");
            assert!(matches!(Envelope::check(&headers), Checked::Foreign(_)), "{name}");
        }
    }

    #[test]
    fn strangers_are_refused() {
        let good = || envelope().encode();
        for headers in [
            Headers::default(),
            good().with(header::VERSION, "2"),
            good().with(header::KIND, "cancel-all"),
            good().with(header::CONTENT_TYPE, "text/html"),
            good().with(header::LEFT, "-1"),
            good().with(header::SENT, "soon"),
            good().with(header::TRACE_PARENT, "x".repeat(2000)),
        ] {
            assert!(matches!(Envelope::check(&headers), Checked::Foreign(_)), "{headers:?}");
        }
    }
}
