//! Attribute arguments: `key = value` and flags between commas, read one by one so that a bad one does not
//! hide the next. Types are checked here, limits in `check`.

use crate::errors::Errors;
use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::ToTokens;
use std::time::Duration;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::{Attribute, Lit, Meta, Token};

/// The arguments of `#[service(…)]`.
#[derive(Default)]
pub(crate) struct ServiceOptions {
    pub(crate) name: Option<Given<String>>,
    pub(crate) version: Option<Given<String>>,
}

impl ServiceOptions {
    const KNOWN: [&str; 2] = ["name", "version"];

    pub(crate) fn parse(tokens: TokenStream, errors: &mut Errors) -> Self {
        let mut options = Self::default();
        for argument in arguments(tokens, errors) {
            match argument.key.to_string().as_str() {
                "name" => options.name = argument.text("billing", errors),
                "version" => options.version = argument.text("1.2.0", errors),
                key if HandlerOptions::KNOWN.contains(&key) => {
                    let rule = format!("`{key}` is an option of a handler: move it to #[handler(…)]");
                    errors.at(&argument.key, rule);
                }
                _ => argument.unknown("#[service]", &Self::KNOWN, errors),
            }
        }
        options
    }
}

/// The arguments of `#[handler(…)]`.
#[derive(Default)]
pub(crate) struct HandlerOptions {
    pub(crate) name: Option<Given<String>>,
    pub(crate) lease: Option<Given<Duration>>,
    pub(crate) max_run: Option<Given<Duration>>,
    pub(crate) kill_after: Option<Given<Duration>>,
    pub(crate) attempts: Option<Given<u64>>,
    pub(crate) concurrency: Option<Given<u64>>,
    pub(crate) once: Option<Given<bool>>,
    pub(crate) fenced: Option<Given<bool>>,
    pub(crate) retention: Option<Given<Duration>>,
    pub(crate) volatile: Option<Given<bool>>,
    pub(crate) idle: Option<Given<Duration>>,
}

impl HandlerOptions {
    const KNOWN: [&str; 11] = [
        "name",
        "lease",
        "max_run",
        "kill_after",
        "attempts",
        "concurrency",
        "once",
        "fenced",
        "retention",
        "volatile",
        "idle",
    ];

    pub(crate) fn parse(attribute: &Attribute, errors: &mut Errors) -> Self {
        let mut options = Self::default();
        for argument in arguments_of(attribute, errors) {
            match argument.key.to_string().as_str() {
                "name" => options.name = argument.text("charge", errors),
                "lease" => options.lease = argument.duration("30s", errors),
                "max_run" => options.max_run = argument.duration("2h", errors),
                "kill_after" => options.kill_after = argument.duration("30s", errors),
                "attempts" => options.attempts = argument.count(errors),
                "concurrency" => options.concurrency = argument.count(errors),
                "once" => options.once = argument.flag(errors),
                "fenced" => options.fenced = argument.flag(errors),
                "retention" => options.retention = argument.duration("24h", errors),
                "volatile" => options.volatile = argument.flag(errors),
                "idle" => options.idle = argument.duration("60s", errors),
                "direct" => errors.at(
                    &argument.key,
                    "direct handlers are not supported yet: every call is stored before it runs; \
                     leave `direct` out",
                ),
                _ => argument.unknown("#[handler]", &Self::KNOWN, errors),
            }
        }
        options
    }
}

/// The arguments of `#[retry(…)]`.
#[derive(Default)]
pub(crate) struct RetryOptions {
    pub(crate) after: Option<Given<Duration>>,
}

impl RetryOptions {
    const KNOWN: [&str; 1] = ["after"];

    pub(crate) fn parse(attribute: &Attribute, errors: &mut Errors) -> Self {
        let mut options = Self::default();
        for argument in arguments_of(attribute, errors) {
            match argument.key.to_string().as_str() {
                "after" => options.after = argument.duration("30s", errors),
                _ => argument.unknown("#[retry]", &Self::KNOWN, errors),
            }
        }
        options
    }
}

/// A value with the tokens it was written as, for errors that come later.
pub(crate) struct Given<T> {
    pub(crate) value: T,
    pub(crate) tokens: TokenStream,
}

impl<T> ToTokens for Given<T> {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        self.tokens.to_tokens(tokens);
    }
}

struct Argument {
    key: Ident,
    value: Value,
}

enum Value {
    Absent,
    Literal(Lit),
    Other(TokenStream),
}

impl ToTokens for Argument {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        match &self.value {
            Value::Absent => self.key.to_tokens(tokens),
            Value::Literal(literal) => literal.to_tokens(tokens),
            Value::Other(other) => other.to_tokens(tokens),
        }
    }
}

impl Parse for Argument {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let key = input.call(Ident::parse_any)?;
        if input.is_empty() {
            return Ok(Self { key, value: Value::Absent });
        }
        input.parse::<Token![=]>()?;
        if input.is_empty() {
            return Err(input.error("expected a value"));
        }
        let value = match input.fork().parse::<Lit>() {
            Ok(_) => Value::Literal(input.parse()?),
            Err(_) => Value::Other(input.parse()?),
        };
        Ok(Self { key, value })
    }
}

impl Argument {
    fn text(self, example: &str, errors: &mut Errors) -> Option<Given<String>> {
        match &self.value {
            Value::Literal(Lit::Str(text)) => Some(self.given(text.value())),
            _ => self.mistyped(&format!("a string: \"{example}\""), errors),
        }
    }

    fn flag(self, errors: &mut Errors) -> Option<Given<bool>> {
        match &self.value {
            Value::Absent => Some(self.given(true)),
            Value::Literal(Lit::Bool(flag)) => Some(self.given(flag.value)),
            _ => {
                let key = &self.key;
                errors.at(&self, format!("`{key}` is a flag: write `{key}`, or `{key} = true`"));
                None
            }
        }
    }

    fn count(self, errors: &mut Errors) -> Option<Given<u64>> {
        if let Value::Literal(Lit::Int(number)) = &self.value
            && let Ok(count) = number.base10_parse()
        {
            return Some(self.given(count));
        }
        self.mistyped("a whole number without quotes: 3", errors)
    }

    fn duration(self, example: &str, errors: &mut Errors) -> Option<Given<Duration>> {
        let text = match &self.value {
            Value::Literal(Lit::Str(text)) => text.value(),
            Value::Literal(Lit::Int(number)) => {
                let unit = if number.suffix().is_empty() { "s" } else { number.suffix() };
                let digits = number.base10_digits();
                errors.at(&self, format!("a duration is a string with a unit: \"{digits}{unit}\""));
                return None;
            }
            _ => return self.mistyped(&format!("a string with a unit: \"{example}\""), errors),
        };
        match parse_duration(&text) {
            Ok(duration) => Some(self.given(duration)),
            Err(why) => {
                errors.at(&self, why);
                None
            }
        }
    }

    fn given<T>(&self, value: T) -> Given<T> {
        Given { value, tokens: self.to_token_stream() }
    }

    fn mistyped<T>(&self, expected: &str, errors: &mut Errors) -> Option<T> {
        let key = &self.key;
        let verb = if matches!(self.value, Value::Absent) { "needs a value," } else { "is" };
        errors.at(self, format!("`{key}` {verb} {expected}"));
        None
    }

    fn unknown(&self, owner: &str, known: &[&str], errors: &mut Errors) {
        let key = self.key.to_string();
        let meant = closest(&key, known).map(|near| format!(": did you mean `{near}`?")).unwrap_or_default();
        let (noun, list) = match known {
            [only] => ("option is", format!("`{only}`")),
            _ => ("options are", known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")),
        };
        let stop = if meant.is_empty() { ";" } else { "" };
        errors.at(&self.key, format!("{owner} has no option `{key}`{meant}{stop} its {noun} {list}"));
    }
}

fn arguments_of(attribute: &Attribute, errors: &mut Errors) -> Vec<Argument> {
    match &attribute.meta {
        Meta::Path(_) => Vec::new(),
        Meta::List(list) => arguments(list.tokens.clone(), errors),
        Meta::NameValue(meta) => {
            let path = meta.path.segments.last().map(|segment| segment.ident.to_string()).unwrap_or_default();
            errors.at(meta, format!("options go in parentheses: #[{path}(key = value)]"));
            Vec::new()
        }
    }
}

fn arguments(tokens: TokenStream, errors: &mut Errors) -> Vec<Argument> {
    let mut arguments: Vec<Argument> = Vec::new();
    for piece in split_at_commas(tokens) {
        match syn::parse2::<Argument>(piece.clone()) {
            Ok(argument) if arguments.iter().any(|earlier| earlier.key == argument.key) => {
                errors.at(&argument.key, format!("`{}` is given twice: keep one", argument.key));
            }
            Ok(argument) => arguments.push(argument),
            Err(_) => errors.at(piece, "options are written `key = value`, flags `key`, with commas between"),
        }
    }
    arguments
}

fn split_at_commas(tokens: TokenStream) -> Vec<TokenStream> {
    let is_comma = |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ',');
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let pieces = tokens.split(is_comma).filter(|piece| !piece.is_empty());
    pieces.map(|piece| piece.iter().cloned().collect()).collect()
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let trimmed = text.trim();
    if !trimmed.is_empty() && trimmed.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("a duration needs a unit: did you mean \"{trimmed}s\"?"));
    }
    let duration = humantime::parse_duration(trimmed).map_err(|_| {
        format!(
            "\"{text}\" is not a duration: write numbers with units (ms, s, m, h, d), \
             as in \"30s\" or \"1h 30m\""
        )
    })?;
    if duration.subsec_nanos() % 1_000_000 != 0 {
        return Err(format!("\"{text}\" is too fine: durations are whole milliseconds"));
    }
    if u64::try_from(duration.as_millis()).is_err() {
        return Err(format!("\"{text}\" is too long for a duration"));
    }
    Ok(duration)
}

/// The known name that a misspelt one was probably meant to be.
fn closest<'a>(written: &str, known: &[&'a str]) -> Option<&'a str> {
    let distances = known.iter().map(|name| (edit_distance(written, name), *name));
    let (distance, name) = distances.min()?;
    (distance <= name.len().div_ceil(3)).then_some(name)
}

/// Levenshtein's distance, one row of the table at a time.
fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, left) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in b.chars().enumerate() {
            let substituted = diagonal + usize::from(left != right);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.chars().count()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use quote::quote;

    fn service_errors(tokens: TokenStream) -> Vec<String> {
        let mut errors = Errors::default();
        ServiceOptions::parse(tokens, &mut errors);
        errors.messages()
    }

    #[test]
    fn every_bad_argument_is_reported() {
        let messages = service_errors(quote!(nmae = "x", version = 3, name = "a", name = "b", "c", name =,));
        assert_eq!(
            messages,
            [
                "`name` is given twice: keep one",
                "options are written `key = value`, flags `key`, with commas between",
                "options are written `key = value`, flags `key`, with commas between",
                "#[service] has no option `nmae`: did you mean `name`? its options are `name`, `version`",
                "`version` is a string: \"1.2.0\"",
            ]
        );
    }

    #[test]
    fn durations_need_a_unit_and_whole_milliseconds() {
        assert_eq!(parse_duration("1h 30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse_duration("30"), Err("a duration needs a unit: did you mean \"30s\"?".into()));
        for bad in ["", "soon", "-1s", "5us", "99999999999999999999d"] {
            assert!(parse_duration(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn only_close_misspellings_are_suggested() {
        assert_eq!(closest("leese", &HandlerOptions::KNOWN), Some("lease"));
        assert_eq!(closest("concurency", &HandlerOptions::KNOWN), Some("concurrency"));
        assert_eq!(closest("volatil", &HandlerOptions::KNOWN), Some("volatile"));
        assert_eq!(closest("timeout", &HandlerOptions::KNOWN), None);
    }
}
