//! Limits of names, versions, durations and counts.

use crate::attr::{Given, HandlerOptions};
use crate::errors::Errors;
use crate::model::{Handler, Service};
use quote::ToTokens;
use std::time::Duration;

/// Heartbeats renew the lease; below this, one slow round trip would cost a run.
const SHORTEST_LEASE: Duration = Duration::from_secs(6);
const SHORTEST_RUN: Duration = Duration::from_secs(1);
/// Where none is given.
const LEASE: Duration = Duration::from_secs(30);
/// Three signs of life come in this part of the lease, or in this time if that is less.
const SHORTEST_IDLE: (u32, Duration) = (2, Duration::from_secs(15));
const SHORTEST_RETENTION: Duration = Duration::from_secs(60);
const MOST_AT_ONCE: u64 = 1_000_000;
const LONGEST_NAME: usize = 64;

pub(crate) fn service(service: &Service, errors: &mut Errors) {
    match &service.options.name {
        Some(name) => wire_name(&name.value, name, "name", errors),
        None => wire_name(&service.name(), &service.ident, "default name", errors),
    }
    if let Some(version) = &service.options.version
        && !is_semver(&version.value)
    {
        errors.at(
            version,
            "a version is three numbers, as in \"1.2.0\", \"1.2.0-rc.1\" or \"1.2.0+build.7\"; \
             leave it out for the version of your crate",
        );
    }
}

pub(crate) fn handler(handler: &Handler, errors: &mut Errors) {
    let options = &handler.options;
    match &options.name {
        Some(name) => wire_name(&name.value, name, "name", errors),
        None => wire_name(&handler.name(), handler.ident(), "default name", errors),
    }
    let rule = "the shortest lease is 6s; heartbeats renew it, so a long run needs no long lease";
    at_least(SHORTEST_LEASE, &options.lease, rule, errors);
    at_least(SHORTEST_RUN, &options.max_run, "the shortest `max_run` is 1s", errors);
    let rule = "the shortest retention is 60s: an answer stays readable at least that long, \
                and a call must be accepted within half of it";
    at_least(SHORTEST_RETENTION, &options.retention, rule, errors);
    counts(handler, errors);
    of_streams(handler, errors);
}

fn counts(handler: &Handler, errors: &mut Errors) {
    let options = &handler.options;
    if let Some(concurrency) = &options.concurrency
        && !(1..=MOST_AT_ONCE).contains(&concurrency.value)
    {
        errors.at(concurrency, format!("`concurrency` is from 1 to {MOST_AT_ONCE} requests at once"));
    }
    let Some(attempts) = &options.attempts else { return };
    if !(1..=u64::from(u32::MAX)).contains(&attempts.value) {
        let rule = format!("`attempts` counts the first run too: from 1 (no retry) to {}", u32::MAX);
        errors.at(attempts, rule);
    } else if options.once.as_ref().is_some_and(|once| once.value) && attempts.value > 1 {
        errors.at(attempts, "`once` means one attempt: leave `attempts` out, or leave `once` out");
    }
}

fn of_streams(handler: &Handler, errors: &mut Errors) {
    let HandlerOptions { volatile, idle, lease, .. } = &handler.options;
    if handler.mentions_stream() {
        let lease = lease.as_ref().map_or(LEASE, |given| given.value.max(SHORTEST_LEASE));
        let shortest = (lease / SHORTEST_IDLE.0).min(SHORTEST_IDLE.1);
        let rule = format!(
            "the shortest `idle` is {shortest:?} with a lease of {lease:?}: in that time a side that lives says so \
             three times"
        );
        at_least(shortest, idle, &rule, errors);
        return;
    }
    if let Some(volatile) = volatile {
        errors.at(volatile, "`volatile` is for streams: this handler has none");
    }
    if let Some(idle) = idle {
        errors.at(idle, "`idle` is for streams: this handler has none");
    }
}

fn at_least(shortest: Duration, given: &Option<Given<Duration>>, rule: &str, errors: &mut Errors) {
    if let Some(given) = given
        && given.value < shortest
    {
        errors.at(given, rule);
    }
}

fn wire_name(name: &str, tokens: impl ToTokens, what: &str, errors: &mut Errors) {
    let letters = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    if !letters || name.is_empty() || name.len() > LONGEST_NAME || name.starts_with('-') {
        let rule = format!(
            "\"{name}\" cannot be a {what}: names are 1 to {LONGEST_NAME} of `A-Z a-z 0-9 _ -`, not starting \
             with `-`, because they become part of a NATS subject; choose one with `name = \"…\"`"
        );
        errors.at(tokens, rule);
    }
}

/// Semantic Versioning 2.0.0.
fn is_semver(version: &str) -> bool {
    let (version, build) = version.split_once('+').map_or((version, None), |(v, build)| (v, Some(build)));
    let (core, pre) = version.split_once('-').map_or((version, None), |(core, pre)| (core, Some(pre)));
    let is_number = |part: &str| {
        let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        digits && (part == "0" || !part.starts_with('0'))
    };
    let is_word = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let numbers: Vec<&str> = core.split('.').collect();
    numbers.len() == 3
        && numbers.into_iter().all(is_number)
        && [pre, build].into_iter().flatten().all(|words| words.split('.').all(is_word))
}

#[cfg(test)]
mod tests {
    use super::{handler, is_semver};
    use crate::errors::Errors;
    use crate::model::Service;
    use proc_macro2::TokenStream;
    use quote::quote;

    #[test]
    fn options_of_streams_are_for_handlers_with_one() {
        let mut errors = Errors::default();
        let item = quote! {
            impl Billing {
                #[handler(volatile, idle = "10ms")]
                async fn total(&self) -> u64 {}

                #[handler(volatile, idle = "14s")]
                async fn export(&self, sink: Sink<u64>) {}

                #[handler(lease = "6s", idle = "3s")]
                async fn import(&self, items: Items<u64>) {}

                #[handler(lease = "8s", idle = "3s")]
                async fn convert(&self, items: Items<u64>) {}

                #[handler(volatile, idle = "15s")]
                fn entries(&self) -> impl Stream<Item = u64> {}
            }
        };
        let service = Service::parse(TokenStream::new(), item, &mut errors).expect("an impl is a service");
        for it in &service.handlers {
            handler(it, &mut errors);
        }
        assert_eq!(
            errors.messages(),
            [
                "`volatile` is for streams: this handler has none",
                "`idle` is for streams: this handler has none",
                "the shortest `idle` is 15s with a lease of 30s: in that time a side that lives says so three times",
                "the shortest `idle` is 4s with a lease of 8s: in that time a side that lives says so three times",
            ]
        );
    }

    #[test]
    fn versions_are_three_numbers_with_optional_labels() {
        for good in ["0.1.0", "1.2.30", "1.0.0-rc.1", "1.0.0+20260101", "1.0.0-a-b+c.d"] {
            assert!(is_semver(good), "{good:?} was refused");
        }
        for bad in ["", "1", "1.2", "1.2.3.4", "v1.2.3", "1.02.0", "1.2.x", "1.2.3-", "1.2.3+", "1.2.3-a..b"]
        {
            assert!(!is_semver(bad), "{bad:?} was taken");
        }
    }
}
