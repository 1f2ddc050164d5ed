//! The rules. Each is a function from a source to what breaks it there.

use std::collections::BTreeSet;

use crate::source::{Source, occurrences};

/// Files over 400 code lines, each with the reason. Test modules do not count.
pub(crate) const LONG_FILES: [(&str, &str); 0] = [];

/// Functions over 60 lines, as `path::name`, each with the reason.
pub(crate) const LONG_FUNCTIONS: [(&str, &str); 0] = [];

/// Files outside `wire/` that derive serde, each with the reason.
pub(crate) const DERIVES_SERDE: [(&str, &str); 2] = [
    (
        "framework/requite/src/service.rs",
        "`NoError` is a payload type of the users', like their own error enums",
    ),
    ("framework/requite/src/error.rs", "`SinkError` and `ItemsError` go into the users' own error enums"),
];

const FORBIDDEN_NAMES: [&str; 7] = ["util", "utils", "common", "helper", "helpers", "manager", "misc"];

pub(crate) fn names_async_nats(source: &Source) -> Vec<String> {
    if source.is_below("framework/requite/src/broker/jetstream/") {
        return Vec::new();
    }
    let mut found = occurrences(source, &["async_nats"]);
    if source.path == "framework/requite/src/lib.rs" {
        found.truncate(
            found.len().saturating_sub(occurrences(source, &["pub", "use", "async_nats", ";"]).len()),
        );
    }
    found
}

/// Deadlines are judged by the server's time stamps and by clocks that only measure: a wrong date changes nothing.
pub(crate) fn reads_the_date(source: &Source) -> Vec<String> {
    let [mut found, elapsed] =
        [&["SystemTime"][..], &["UNIX_EPOCH", ".", "elapsed"]].map(|it| occurrences(source, it));
    found.extend(elapsed);
    found
}

/// The simulated broker plays the server, so it knows the server's subjects.
pub(crate) fn formats_subjects(source: &Source) -> Vec<String> {
    const PARTS: [&str; 15] = [
        "$JS.", ".req.", ".put.", ".out.", ".itm.", ".in.", ".sig.", ".ctl.", ".dead.", "_REQ_", "_OUT_",
        "_ITM_", "_DEAD_", ".mine", ".credit",
    ];
    let exempt = ["subject.rs", "broker/simulated/"].map(|path| format!("framework/requite/src/{path}"));
    if exempt.iter().any(|path| source.is_below(path)) {
        return Vec::new();
    }
    let texts = source.code().into_iter().filter(|token| token.text.starts_with('"'));
    texts
        .filter(|token| PARTS.iter().any(|part| token.text.contains(part)))
        .map(|token| format!("{}:{}: {}", source.path, token.first, token.text))
        .collect()
}

pub(crate) fn derives_serde(source: &Source) -> Vec<String> {
    let allowed = DERIVES_SERDE.iter().any(|(path, _)| *path == source.path);
    if allowed || source.is_below("framework/requite/src/wire/") {
        return Vec::new();
    }
    let code = source.code();
    let mut found = Vec::new();
    for (at, token) in code.iter().enumerate().filter(|(_, token)| token.text == "derive") {
        let list = code[at..].iter().take_while(|it| it.text != ")");
        if list.into_iter().any(|it| it.text == "Serialize" || it.text == "Deserialize") {
            found.push(format!("{}:{}: derives serde", source.path, token.first));
        }
    }
    found
}

pub(crate) fn is_impure(source: &Source) -> Vec<String> {
    let words = [
        &["async"][..],
        &["await"],
        &["tokio"],
        &["Instant"],
        &["SystemTime"],
        &["std", ":", ":", "net"],
        &["std", ":", ":", "fs"],
        &["std", ":", ":", "io"],
        &["crate", ":", ":", "broker"],
        &["crate", ":", ":", "client"],
        &["crate", ":", ":", "server"],
    ];
    words.iter().flat_map(|words| occurrences(source, words)).collect()
}

pub(crate) fn unwraps(source: &Source) -> Vec<String> {
    occurrences(source, &[".", "unwrap", "("])
}

pub(crate) fn opens_without_a_word(source: &Source) -> Vec<String> {
    if source.text.starts_with("//! ") { Vec::new() } else { vec![source.path.clone()] }
}

/// Lines with code on them; test modules do not count.
pub(crate) fn code_lines(source: &Source) -> usize {
    source.code().iter().flat_map(|token| token.first..=token.last).collect::<BTreeSet<_>>().len()
}

pub(crate) fn is_too_long(source: &Source) -> Vec<String> {
    let (lines, excused) = (code_lines(source), LONG_FILES.iter().any(|(path, _)| *path == source.path));
    if lines > 400 && !excused { vec![format!("{}: {lines} code lines", source.path)] } else { Vec::new() }
}

pub(crate) fn has_long_functions(source: &Source) -> Vec<String> {
    let code = source.code();
    let mut found = Vec::new();
    for (at, token) in code.iter().enumerate().filter(|(_, token)| token.text == "fn") {
        let Some(name) =
            code.get(at + 1).filter(|name| name.text.starts_with(|c: char| c.is_alphabetic() || c == '_'))
        else {
            continue;
        };
        // The body is the first pair of braces outside of brackets; a declaration ends with a semicolon before.
        let (mut depth, mut braces, mut last) = (0, 0, token.first);
        for it in &code[at..] {
            match it.text.as_str() {
                "(" | "[" => depth += 1,
                ")" | "]" => depth -= 1,
                "{" => braces += 1,
                "}" => braces -= 1,
                _ => {}
            }
            last = it.last;
            if braces == 0 && depth == 0 && (it.text == "}" || it.text == ";") {
                break;
            }
        }
        let (length, place) = (last + 1 - token.first, format!("{}::{}", source.path, name.text));
        if length > 60 && !LONG_FUNCTIONS.iter().any(|(excused, _)| *excused == place) {
            found.push(format!("{place}: {length} lines"));
        }
    }
    found
}

pub(crate) fn has_a_vague_name(source: &Source) -> Vec<String> {
    let parts = source.path.trim_end_matches(".rs").split('/');
    parts
        .filter(|part| FORBIDDEN_NAMES.contains(part))
        .map(|part| format!("{}: {part}", source.path))
        .collect()
}
