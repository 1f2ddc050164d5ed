//! The integration tests: one binary, because linking is what costs; one server, or one namespace, for each test.

mod worker;
