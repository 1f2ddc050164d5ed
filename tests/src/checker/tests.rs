//! Histories made by hand, one that holds and one that breaks each promise.
