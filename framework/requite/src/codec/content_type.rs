//! The encodings a payload may have, as the `Content-Type` header names them.

/// How a payload is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) enum ContentType {
    /// Compact, and what Requite's own callers send.
    #[default]
    MessagePack,
    /// For callers that find JSON easier to write.
    Json,
}

impl ContentType {
    /// Reads a header's value. JSON may say that it is UTF-8, which it always is; any other parameter would
    /// ask for something that nobody does, and is refused.
    pub(crate) fn parse(header: &str) -> Option<Self> {
        let known = [Self::MessagePack, Self::Json];
        if let Some(exact) = known.into_iter().find(|candidate| header == candidate.as_str()) {
            return Some(exact);
        }
        let mut parts = header.split(';').map(str::trim);
        let essence = parts.next()?;
        let parsed = known.into_iter().find(|candidate| essence.eq_ignore_ascii_case(candidate.as_str()))?;
        parts.all(|parameter| parsed == Self::Json && says_utf8(parameter)).then_some(parsed)
    }

    /// The header's value.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::MessagePack => "application/msgpack",
            Self::Json => "application/json",
        }
    }
}

fn says_utf8(parameter: &str) -> bool {
    parameter.split_once('=').is_some_and(|(name, value)| {
        name.trim().eq_ignore_ascii_case("charset")
            && value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
    })
}

#[cfg(test)]
mod tests {
    use super::ContentType::{self, Json, MessagePack};

    #[test]
    fn both_names_are_read_back() {
        for content_type in [MessagePack, Json] {
            assert_eq!(ContentType::parse(content_type.as_str()), Some(content_type));
        }
    }

    #[test]
    fn case_space_and_the_utf8_parameter_do_not_matter() {
        for header in [
            "Application/JSON",
            " application/json ",
            "application/json;charset=utf-8",
            "application/json; Charset=\"UTF-8\"",
        ] {
            assert_eq!(ContentType::parse(header), Some(Json), "{header}");
        }
        assert_eq!(ContentType::parse("APPLICATION/MSGPACK"), Some(MessagePack));
    }

    #[test]
    fn what_would_be_read_wrongly_is_refused() {
        for header in [
            "",
            ";",
            "text/plain",
            "application/jsonl",
            "application/x-msgpack",
            "application/json; charset=latin1",
            "application/json; profile=x",
            "application/msgpack; charset=utf-8",
            "application/json, application/msgpack",
        ] {
            assert_eq!(ContentType::parse(header), None, "{header}");
        }
    }
}
