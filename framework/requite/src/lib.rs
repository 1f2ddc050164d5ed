//! Request/reply over NATS JetStream that runs a request once.

mod codec;
