//! A nats-server for one measurement: file storage in a directory of its own, on a free port of 127.0.0.1.
//!
//! Its own process for every measurement, so that no path inherits another's heap, files or expiring records.

pub(crate) use requite_test::NatsServer;
