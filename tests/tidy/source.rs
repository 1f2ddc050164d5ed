//! The repository's sources as the rules see them: tokens with their lines, without comments, with or without tests.

use std::{
    fs,
    path::{Path, PathBuf},
    str::FromStr,
};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A file of the repository.
pub(crate) struct Source {
    /// From the repository's root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// A word, sign or literal of the code, with its lines.
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) first: usize,
    pub(crate) last: usize,
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ has a parent").to_owned()
}

pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every `.rs` file below `folder` that is not built.
pub(crate) fn sources(folder: &str) -> Vec<Source> {
    let (mut found, mut folders) = (Vec::new(), vec![root().join(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder can be read") {
            let path = entry.expect("the folder can be read").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                folders.push(path);
            } else if name.ends_with(".rs") {
                let from_root = path.strip_prefix(root()).expect("it is below the root");
                let path = from_root.to_string_lossy().replace('\\', "/");
                found.push(Source { text: read(&path), path });
            }
        }
    }
    assert!(!found.is_empty(), "no sources in {folder}");
    found
}

/// Compile-fail cases and golden expansions: input and output of the macros, not modules.
pub(crate) fn is_sample(path: &str) -> bool {
    path.starts_with("tests/ui/") || path.starts_with("framework/requite-macros/tests/expand/")
}

/// Code that ships, or that users copy: libraries and examples, without tests and benches.
pub(crate) fn shipped() -> Vec<Source> {
    let mut all = without_test_files("framework");
    all.extend(without_test_files("examples"));
    all
}

/// The sources below a folder, without tests, benches and modules that only they and fuzzers compile.
pub(crate) fn without_test_files(folder: &str) -> Vec<Source> {
    let mut all = sources(folder);
    let for_tests: Vec<String> = all.iter().flat_map(modules_for_tests).collect();
    all.retain(|it| !it.path.contains("/tests/") && !it.path.contains("/benches/"));
    all.retain(|it| !for_tests.iter().any(|path| it.path.starts_with(path)));
    all
}

/// `a/x.rs` and `a/x/` for every `#[cfg(test)] mod x;`.
fn modules_for_tests(source: &Source) -> Vec<String> {
    let kept = modules(&source.path, &source.code());
    let mut found = modules(&source.path, &source.tokens(true));
    found.retain(|path| !kept.contains(path));
    found.into_iter().map(|path| path.replace("/mod.rs", "/")).collect()
}

/// Where the compiler looks for the modules that these tokens name.
fn modules(path: &str, tokens: &[Token]) -> Vec<String> {
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    let stem = file.trim_end_matches(".rs");
    // Roots of targets and `mod.rs` have their modules beside them, others in a folder of their name. Trying both costs
    // nothing: what does not exist is not looked at.
    let below = [folder.to_owned(), format!("{folder}/{stem}")];
    let mut found = Vec::new();
    let mut named = None;
    for window in tokens.windows(3) {
        let [first, second, third] = window else { continue };
        if (first.text.as_str(), second.text.as_str()) == ("path", "=") {
            named = Some(format!("{folder}/{}", third.text.trim_matches('"')));
        }
        if (first.text.as_str(), third.text.as_str()) == ("mod", ";") {
            let name = &second.text;
            let usual =
                below.iter().flat_map(|at| [format!("{at}/{name}.rs"), format!("{at}/{name}/mod.rs")]);
            found.extend(named.take().map_or_else(|| usual.collect(), |path| vec![path]));
        }
    }
    found
}

impl Source {
    pub(crate) fn is_below(&self, folder: &str) -> bool {
        self.path.starts_with(folder)
    }

    /// The code without doc comments and without what is compiled for tests only.
    pub(crate) fn code(&self) -> Vec<Token> {
        self.tokens(false)
    }

    /// The files of the modules that this one names; some of them do not exist.
    pub(crate) fn modules(&self) -> Vec<String> {
        modules(&self.path, &self.tokens(true))
    }

    fn tokens(&self, with_tests: bool) -> Vec<Token> {
        let stream =
            TokenStream::from_str(&self.text).unwrap_or_else(|error| panic!("{}: {error}", self.path));
        let mut tokens = Vec::new();
        flatten(stream, with_tests, &mut tokens);
        tokens
    }
}

fn is_sign(tree: Option<&TokenTree>, sign: char) -> bool {
    matches!(tree, Some(TokenTree::Punct(punct)) if punct.as_char() == sign)
}

/// The tokens inside an attribute at this position, without spaces.
fn attribute(trees: &[TokenTree], at: usize) -> Option<String> {
    let inner = at + 1 + usize::from(is_sign(trees.get(at + 1), '!'));
    match (is_sign(trees.get(at), '#'), trees.get(inner)) {
        (true, Some(TokenTree::Group(group))) => Some(group.stream().to_string().replace(' ', "")),
        _ => None,
    }
}

fn flatten(stream: TokenStream, with_tests: bool, tokens: &mut Vec<Token>) {
    let trees: Vec<TokenTree> = stream.into_iter().collect();
    let (mut skip_to, mut in_test) = (0, false);
    for (at, tree) in trees.iter().enumerate() {
        let attribute = attribute(&trees, at).unwrap_or_default();
        if attribute.starts_with("doc=") {
            skip_to = at + 2 + usize::from(is_sign(trees.get(at + 1), '!'));
        }
        // What is for tests only ends with its braces or a semicolon.
        let for_tests = ["cfg(test)", "cfg(any(test,fuzzing))"].contains(&attribute.as_str());
        in_test |= !with_tests && for_tests;
        if at >= skip_to && !in_test {
            take(tree, with_tests, tokens);
        }
        let braces = matches!(tree, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace);
        if braces || is_sign(Some(tree), ';') {
            in_test = false;
        }
    }
}

fn take(tree: &TokenTree, with_tests: bool, tokens: &mut Vec<Token>) {
    let span = tree.span();
    let TokenTree::Group(group) = tree else {
        let (first, last) = (span.start().line, span.end().line);
        return tokens.push(Token { text: tree.to_string(), first, last });
    };
    let (open, close) = match group.delimiter() {
        Delimiter::Parenthesis => ("(", ")"),
        Delimiter::Brace => ("{", "}"),
        Delimiter::Bracket => ("[", "]"),
        Delimiter::None => ("", ""),
    };
    let mut bracket = |text: &str, line| tokens.push(Token { text: text.into(), first: line, last: line });
    bracket(open, group.span_open().start().line);
    flatten(group.stream(), with_tests, tokens);
    tokens.push(Token { text: close.into(), first: group.span_close().end().line, last: span.end().line });
}

/// Where a run of words stands in the code, as `path:line`.
pub(crate) fn occurrences(source: &Source, words: &[&str]) -> Vec<String> {
    let code = source.code();
    code.windows(words.len())
        .filter(|window| window.iter().zip(words).all(|(token, word)| token.text == *word))
        .map(|window| format!("{}:{}: {}", source.path, window[0].first, words.concat()))
        .collect()
}
