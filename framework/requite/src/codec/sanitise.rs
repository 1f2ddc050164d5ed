//! Makes text that somebody else wrote fit for a log line, a terminal and a header.

/// The longest text that comes out, in characters.
const LONGEST: usize = 300;

/// Keeps the first 300 characters on one line: whatever breaks a line, drives a terminal or reorders what is
/// shown becomes a space. A text that was cut ends in `…`.
pub(crate) fn sanitise(text: &str) -> String {
    let mut clean: String = text.chars().take(LONGEST).map(|c| if is_unsafe(c) { ' ' } else { c }).collect();
    if text.chars().nth(LONGEST).is_some() {
        clean.pop();
        clean.push('…');
    }
    clean
}

/// Control characters (CR, LF, NUL, escape, C1), Unicode's line separators, and the marks that turn the
/// direction of writing or take no space, by which a text can show as another.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}')
        || matches!(c, '\u{061C}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}')
        || matches!(c, '\u{2060}'..='\u{206F}' | '\u{FEFF}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{LONGEST, is_unsafe, sanitise};

    #[test]
    fn ordinary_text_is_left_alone() {
        for text in ["", "missing field `größe`", "数 🦀 e\u{301}"] {
            assert_eq!(sanitise(text), text);
        }
    }

    #[test]
    fn a_text_stays_on_its_line() {
        assert_eq!(sanitise("a\r\nNats-Msg-Id: x"), "a  Nats-Msg-Id: x");
        assert_eq!(sanitise("a\0b\tc\u{1b}[31md\u{7f}\u{85}"), "a b c [31md  ");
        assert_eq!(sanitise("a\u{2028}b\u{2029}c\u{202e}d\u{feff}"), "a b c d ");
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(sanitise(&"ü".repeat(LONGEST)), "ü".repeat(LONGEST));
        let cut = sanitise(&"🦀".repeat(1_000_000));
        assert_eq!(cut, "🦀".repeat(LONGEST - 1) + "…");
    }

    proptest! {
        #[test]
        fn what_comes_out_is_short_safe_and_stable(text in "\\PC*|(?s).{0,400}") {
            let clean = sanitise(&text);
            prop_assert!(clean.chars().count() <= LONGEST);
            prop_assert!(!clean.chars().any(is_unsafe));
            prop_assert_eq!(sanitise(&clean), clean);
        }
    }
}
