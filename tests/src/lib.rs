//! The tests that cross crate borders are the targets beside this file.
