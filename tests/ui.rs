//! What the macros accept, and what they say to what they do not: one file per mistake in `ui/`, with the compiler's
//! words beside it. `TRYBUILD=overwrite` rewrites them; read the difference as a user would.

#[test]
fn mistakes_are_reported_on_the_tokens_that_make_them() {
    let cases = trybuild::TestCases::new();
    cases.pass("ui/pass/*.rs");
    cases.compile_fail("ui/*.rs");
}
