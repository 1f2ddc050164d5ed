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
    /// Asks to cancel the request that its subject names.
    Cancel,
    /// The message that set-up sends through a consumer: acked unseen.
    Setup,
    /// Not published by a caller of this protocol: a dead letter, without a record.
    Foreign(&'static str),
}

impl Envelope {
    /// What all requests of one encoding have in common; a clone costs half of building it.
    pub(crate) fn template(content_type: ContentType) -> Headers {
        Headers::default()
            .with(header::VERSION, VERSION)
            .with(header::KIND, header::KIND_CALL)
            .with(header::CONTENT_TYPE, content_type.as_str())
    }

    /// Writes the envelope; the caller adds the message id.
    pub(crate) fn encode(&self) -> Headers {
        self.encode_onto(Self::template(self.content_type))
    }

    /// Writes what [`Self::template`] does not have.
    pub(crate) fn encode_onto(&self, template: Headers) -> Headers {
        let mut headers = template;
        if let Some(left) = self.left {
            headers = headers.with_own(header::LEFT, millis(left).to_string());
        }
        if self.resend {
            headers = headers.with(header::RESEND, "1");
        }
        if let Some(sent) = self.sent {
            headers = headers.with_own(header::SENT, sent.to_string());
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
        let found = Found::collect(headers);
        if found.server_only {
            return Checked::Foreign("carries headers of the server: not published by a caller");
        }
        match found.version {
            None => return Checked::Foreign("has no version of the protocol"),
            Some(VERSION) => {}
            Some(_) => return Checked::Foreign("is of another version of the protocol"),
        }
        match found.kind {
            Some(header::KIND_CALL) => found.decode().map_or_else(Checked::Foreign, Checked::Call),
            Some(header::KIND_CANCEL) => Checked::Cancel,
            Some(header::KIND_SETUP) => Checked::Setup,
            _ => Checked::Foreign("is of an unknown kind"),
        }
    }
}

/// In 64 bits, which are written in half the time of 128.
fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// The headers that count, collected in one pass: every look-up by name would hash it.
#[derive(Default)]
struct Found<'a> {
    server_only: bool,
    resend: bool,
    version: Option<&'a str>,
    kind: Option<&'a str>,
    content_type: Option<&'a str>,
    left: Option<&'a str>,
    sent: Option<&'a str>,
    key: Option<&'a str>,
    trace_parent: Option<&'a str>,
}

impl<'a> Found<'a> {
    fn collect(headers: &'a Headers) -> Self {
        let mut found = Self::default();
        for (name, value) in headers.firsts() {
            let place = match name {
                header::VERSION => &mut found.version,
                header::KIND => &mut found.kind,
                header::CONTENT_TYPE => &mut found.content_type,
                header::LEFT => &mut found.left,
                header::SENT => &mut found.sent,
                header::KEY => &mut found.key,
                header::TRACE_PARENT => &mut found.trace_parent,
                header::RESEND => {
                    found.resend = true;
                    continue;
                }
                name => {
                    found.server_only |= header::SERVER_ONLY.contains(&name);
                    continue;
                }
            };
            *place = Some(value);
        }
        found
    }

    fn decode(self) -> Result<Envelope, &'static str> {
        let texts = [self.content_type, self.left, self.sent, self.trace_parent];
        if texts.iter().flatten().any(|value| value.len() > LONGEST_VALUE) {
            return Err("has a header that is too long");
        }
        let number = |value: Option<&str>, wrong| match value.map(str::parse::<u64>) {
            None => Ok(None),
            Some(number) => number.map(Some).map_err(|_| wrong),
        };
        let content_type = self
            .content_type
            .and_then(ContentType::parse)
            .ok_or("has a content type that is not read here")?;
        Ok(Envelope {
            content_type,
            resend: self.resend,
            sent: number(self.sent, "has an unreadable Rq-Sent")?,
            left: number(self.left, "has an unreadable Rq-Left")?.map(Duration::from_millis),
            key: self.key.map(str::to_owned),
            trace_parent: self.trace_parent.map(str::to_owned),
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
