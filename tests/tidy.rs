//! The repository's rules as tests: who may name what, how long things may get, what every file must have.
//!
//! `source` reads the sources, `rules` has the rules and their exceptions. Every rule is also tried on a bad sample.

#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/source.rs"]
mod source;

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use rules::*;
use source::{Source, is_sample, read, root, shipped, sources, without_test_files};

/// What cargo says of the workspace in this folder.
fn metadata_of(folder: &str) -> serde_json::Value {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root().join(folder))
        .output()
        .expect("cargo runs");
    serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON")
}

fn metadata() -> serde_json::Value {
    metadata_of(".")
}

/// The paths in backquotes that look like a module: `client/call.rs`, `wire/`.
fn paths_in(text: &str) -> BTreeSet<String> {
    let quoted = text.split('`').skip(1).step_by(2);
    let plain = |it: &&str| {
        (it.ends_with(".rs") || it.ends_with('/'))
            && it.chars().all(|c| c.is_ascii_alphanumeric() || "_-/.".contains(c))
    };
    quoted.filter(plain).map(str::to_owned).collect()
}

fn holds(all: &[Source], rule: fn(&Source) -> Vec<String>) {
    let broken: Vec<_> = all.iter().flat_map(rule).collect();
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

/// Tries a rule on a file that breaks it and on one that keeps it.
fn tells(rule: fn(&Source) -> Vec<String>, path: &str, bad: &str, good: &str) {
    let source = |text: &str| Source { path: path.into(), text: text.into() };
    assert!(!rule(&source(bad)).is_empty(), "passes: {bad}");
    assert_eq!(rule(&source(good)), Vec::<String>::new());
}

const ANY: &str = "framework/requite/src/any.rs";

#[test]
fn only_the_jetstream_broker_names_async_nats() {
    holds(&shipped(), names_async_nats);
    tells(names_async_nats, ANY, "use async_nats::Client;", "/// async_nats\n// async_nats\nfn f() {}");
    let lib = "framework/requite/src/lib.rs";
    tells(names_async_nats, lib, "pub use async_nats; use async_nats::A;", "pub use async_nats;");
}

#[test]
fn nothing_reads_the_date() {
    let product: Vec<_> = without_test_files("framework/requite/src");
    let differential = |it: &&Source| it.is_below("framework/requite/src/broker/simulated/differential/");
    let product: Vec<_> = product.into_iter().filter(|it| !differential(&it)).collect();
    holds(&product, reads_the_date);
    let good =
        "fn f(t: T) { t.duration_since(UNIX_EPOCH); } #[cfg(test)] mod tests { use std::time::SystemTime; }";
    tells(reads_the_date, ANY, "fn f() { SystemTime::now(); }", good);
    tells(reads_the_date, ANY, "fn f() { std::time::UNIX_EPOCH.elapsed(); }", good);
}

#[test]
fn only_subject_rs_formats_subjects() {
    holds(&without_test_files("framework/requite/src"), formats_subjects);
    tells(
        formats_subjects,
        ANY,
        r#"fn f() { format!("{ns}.req.{s}"); }"#,
        r#"/// `ns.req.s`
        fn f() { g("ack"); } #[cfg(test)] mod tests { const S: &str = "rq.req.s"; }"#,
    );
}

#[test]
fn only_wire_derives_serde() {
    holds(&without_test_files("framework/requite/src"), derives_serde);
    let good = "#[derive(Clone)] struct A; #[cfg(test)] mod tests { #[derive(Serialize)] struct B; }";
    tells(derives_serde, ANY, "#[derive(Clone, serde::Serialize)] struct A;", good);
}

#[test]
fn the_protocol_is_pure() {
    holds(&without_test_files("framework/requite/src/protocol"), is_impure);
    for bad in
        ["async fn f() {}", "use std::net::TcpStream;", "fn f() { Instant::now(); }", "use tokio::spawn;"]
    {
        tells(is_impure, ANY, bad, "/// no async, no `Instant::now`\nuse std::time::Duration;");
    }
}

#[test]
fn nothing_unwraps_outside_tests() {
    holds(&shipped(), unwraps);
    tells(
        unwraps,
        ANY,
        "fn f() { x.unwrap(); }",
        "fn f() { x.unwrap_or(1); } #[cfg(test)] mod t { fn g() { x.unwrap(); } }",
    );
}

#[test]
fn every_file_says_what_it_is_for() {
    holds(&sources("."), opens_without_a_word);
    tells(opens_without_a_word, ANY, "use a::b;\n//! Late.", "//! Says it.\n");
}

#[test]
fn files_and_functions_stay_short() {
    let mut all = sources(".");
    all.retain(|source| !is_sample(&source.path));
    holds(&all, is_too_long);
    holds(&all, has_long_functions);
    tells(
        is_too_long,
        ANY,
        &"const A: u8 = 0;\n".repeat(401),
        &"// a comment\nconst A: u8 = 0;\n\n".repeat(400),
    );
    let function = |lines| format!("fn f(a: [u8; 2]) {{\n{}}}", "g();\n".repeat(lines));
    tells(has_long_functions, ANY, &function(59), &function(58));
}

#[test]
fn every_exception_is_still_needed() {
    for (path, reason) in LONG_FILES.iter().chain(&LONG_FUNCTIONS).chain(&DERIVES_SERDE) {
        let file = path.split("::").next().unwrap_or_default();
        assert!(root().join(file).exists() && !reason.is_empty(), "{path}");
    }
    for (path, _) in LONG_FILES {
        let source = Source { path: path.into(), text: read(path) };
        assert!(code_lines(&source) > 400, "{path} is short: take it off the list");
    }
}

#[test]
fn names_of_modules_say_something() {
    holds(&sources("."), has_a_vague_name);
    let source = Source { path: "framework/requite/src/util/time.rs".into(), text: String::new() };
    assert_eq!(has_a_vague_name(&source).len(), 1);
}

#[test]
fn every_file_is_reachable_from_a_target() {
    let workspaces = [metadata(), metadata_of("tests/fuzz")];
    let mut reached = BTreeSet::new();
    let mut open: Vec<String> = Vec::new();
    let packages = workspaces.iter().filter_map(|it| it["packages"].as_array()).flatten();
    for target in packages.flat_map(|it| it["targets"].as_array()) {
        for path in target.iter().filter_map(|target| target["src_path"].as_str()) {
            let path = Path::new(path).strip_prefix(root()).expect("targets are in the repository");
            open.push(path.to_string_lossy().replace('\\', "/"));
        }
    }
    while let Some(path) = open.pop() {
        if root().join(&path).is_file() && reached.insert(path.clone()) {
            let source = Source { text: read(&path), path };
            open.extend(source.modules());
        }
    }
    let lost = sources(".").into_iter().map(|source| source.path);
    let lost: Vec<_> = lost.filter(|path| !is_sample(path) && !reached.contains(path)).collect();
    assert!(lost.is_empty(), "no target has them: {lost:#?}");
}

#[test]
fn modules_are_found_where_the_compiler_looks() {
    let text = "mod x; /* mod y; */ mod z {} #[path = \"q/w.rs\"] mod w;".into();
    let found = Source { path: "a/b.rs".into(), text }.modules();
    assert_eq!(found, ["a/x.rs", "a/x/mod.rs", "a/b/x.rs", "a/b/x/mod.rs", "a/q/w.rs"]);
}

#[test]
fn every_example_is_short_and_named_in_the_readme() {
    let readme = read("README.md");
    let examples: Vec<_> =
        sources("examples").into_iter().filter(|it| it.path.matches('/').count() == 1).collect();
    assert!(examples.len() >= 5);
    for example in examples {
        let name = example.path.trim_start_matches("examples/").trim_end_matches(".rs");
        assert!(readme.contains(&format!("`{name}`")), "{name} is not in README.md");
        assert!(example.text.starts_with("//! Run with `cargo run "), "{name} does not say how to run it");
        assert!(example.text.lines().count() < 80, "{name} has 80 lines or more");
    }
}

#[test]
fn what_the_architecture_names_exists() {
    let page = read("framework/ARCHITECTURE.md");
    let mut roots: Vec<String> = ["", "framework/", "framework/requite/"].map(str::to_owned).to_vec();
    roots.extend(["requite", "requite-macros", "requite-test"].map(|name| format!("framework/{name}/src/")));
    let named = paths_in(&page);
    for path in &named {
        assert!(
            roots.iter().any(|at| root().join(at).join(path).exists()),
            "{path} is named and does not exist"
        );
    }
    let core =
        Source { path: "framework/requite/src/lib.rs".into(), text: read("framework/requite/src/lib.rs") };
    for path in core.modules().iter().filter(|path| root().join(path).exists()) {
        let path = path.trim_start_matches("framework/requite/src/").replace("mod.rs", "");
        assert!(named.contains(&path), "{path} is not in the code map");
    }
    let sample = paths_in("`client/call.rs` and `wire/`, not `Call` nor `a b/` nor wire.rs");
    assert_eq!(sample.into_iter().collect::<Vec<_>>(), ["client/call.rs", "wire/"]);
}

#[test]
fn every_fuzz_target_has_its_function_and_its_inputs() {
    let metadata = metadata_of("tests/fuzz");
    let targets = metadata["packages"][0]["targets"].as_array().expect("a list");
    let targets: BTreeSet<_> = targets.iter().filter_map(|target| target["name"].as_str()).collect();
    let functions = read("framework/requite/src/fuzzing/mod.rs");
    let (_, list) = functions.split_once("pub const TARGETS").expect("there is a list");
    let listed: BTreeSet<_> = list.split('"').skip(1).step_by(2).collect();
    assert_eq!(targets, listed);
    for name in targets {
        assert!(read(&format!("tests/fuzz/targets/{name}.rs")).contains(&format!("fuzzing::{name}(data)")));
        let kept = fs::read_dir(root().join("tests/fuzz/corpus").join(name)).expect("inputs were kept");
        assert!(kept.count() > 0, "{name}");
    }
}

#[test]
fn macros_depend_on_no_crate_of_the_framework() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("there are packages");
    let macros = packages.iter().find(|it| it["name"] == "requite-macros").expect("the macros are a member");
    for dependency in macros["dependencies"].as_array().expect("a list") {
        let name = dependency["name"].as_str().unwrap_or_default();
        assert!(!name.starts_with("requite"), "requite-macros depends on {name}");
    }
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    let manifest = read("Cargo.toml");
    assert!(manifest.contains("\nunsafe_code = \"forbid\"\n"));
    for package in metadata()["packages"].as_array().expect("there are packages") {
        let path = package["manifest_path"].as_str().expect("a path");
        let text = fs::read_to_string(path).expect("a member's manifest can be read");
        assert!(text.contains("[lints]\nworkspace = true\n"), "{path}");
    }
}

#[test]
fn the_commands_of_the_readme_are_run() {
    let (readme, run) = (read("README.md"), read(".ci/run"));
    for command in ["cargo run --release --bin quickstart", "cargo test --workspace"] {
        assert!(readme.contains(command) && run.contains(command), "{command}");
    }
}
