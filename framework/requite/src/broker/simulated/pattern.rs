//! Subject patterns as the server reads them: wildcards, overlaps and the mapping of one subject to another.

/// Whether a subject falls under a pattern with `*` and `>`.
pub(super) fn matches(pattern: &str, subject: &str) -> bool {
    // Up to the first wildcard both read alike, and most pairs differ before.
    let (literal, there) = (pattern.as_bytes(), subject.as_bytes());
    let mut at = 0;
    while at < literal.len() && at < there.len() && literal[at] == there[at] {
        at += 1;
    }
    if at < there.len() && literal.get(at).is_some_and(|it| *it != b'*' && *it != b'>') {
        return false;
    }
    let mut subject = subject.split('.');
    for token in pattern.split('.') {
        match (token, subject.next()) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (token, Some(there)) if token == there => {}
            _ => return false,
        }
    }
    subject.next().is_none()
}

/// Whether some subject falls under both patterns.
pub(super) fn overlap(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one.split('.'), other.split('.'));
    loop {
        match (one.next(), other.next()) {
            (None, None) => return true,
            (Some(">"), Some(_)) | (Some(_), Some(">")) => return true,
            (Some(a), Some(b)) if a == b || a == "*" || b == "*" => {}
            _ => return false,
        }
    }
}

/// The subject that `src → dest` makes of `subject`; nothing if `src` does not match.
///
/// `{{wildcard(n)}}` and `$n` in `dest` stand for the n-th `*` of `src`, a final `>` for what `>` of `src` matched.
pub(super) fn map(src: &str, dest: &str, subject: &str) -> Option<String> {
    if !matches(src, subject) {
        return None;
    }
    let tokens: Vec<&str> = subject.split('.').collect();
    let wildcards: Vec<&str> =
        src.split('.').zip(&tokens).filter(|(token, _)| *token == "*").map(|(_, there)| *there).collect();
    let rest = src.split('.').position(|token| token == ">").map(|at| tokens[at..].join("."));
    let mapped = dest.split('.').map(|token| {
        let number = token
            .strip_prefix("{{wildcard(")
            .and_then(|it| it.strip_suffix(")}}"))
            .or(token.strip_prefix('$'));
        match number.and_then(|it| it.parse::<usize>().ok()) {
            Some(number) => wildcards.get(number.checked_sub(1)?).map(|it| (*it).to_owned()),
            None if token == ">" => rest.clone(),
            None => Some(token.to_owned()),
        }
    });
    mapped.collect::<Option<Vec<_>>>().map(|tokens| tokens.join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_whole_tokens() {
        assert!(matches("a.*.c", "a.b.c") && matches("a.>", "a.b.c") && matches("a", "a"));
        for (pattern, subject) in [("a.*", "a"), ("a.>", "a"), ("a.*", "a.b.c"), ("a.b", "a.c")] {
            assert!(!matches(pattern, subject), "{pattern} {subject}");
        }
    }

    #[test]
    fn patterns_overlap_where_a_subject_fits_both() {
        assert!(overlap("a.*.c", "a.b.*") && overlap("a.>", "a.b.c") && !overlap("a.*", "a.b.c"));
    }

    #[test]
    fn mappings_fill_in_what_the_wildcards_matched() {
        assert_eq!(map("n.put.s.>", "n.>", "n.put.s.out.x.y").as_deref(), Some("n.out.x.y"));
        let republish = map("n.out.s.*.*", "n.in.{{wildcard(1)}}.s.{{wildcard(2)}}", "n.out.s.a.b");
        assert_eq!(republish.as_deref(), Some("n.in.a.s.b"));
        assert_eq!(map("n.out.*", "n.in.$1", "n.other.a"), None);
        assert_eq!(map("n.out.*", "n.in.$2", "n.out.a"), None);
    }
}
