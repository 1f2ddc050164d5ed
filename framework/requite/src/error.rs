//! Every error that a user meets: what happened, whether the request may still run, what to do next.

/// Why there is no connection.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// No server answers at the address.
    #[error("no NATS server answers at {server}: {text}")]
    Unreachable {
        /// Host and port; user names and passwords are left out.
        server: String,
        /// What the connection attempt said.
        text: String,
    },
    /// The server refused the credentials.
    #[error("{server} refused the credentials: {text}")]
    Unauthorized {
        /// Host and port.
        server: String,
        /// What the server said.
        text: String,
    },
    /// The TLS handshake failed.
    #[error("no TLS connection to {server}: {text}")]
    Tls {
        /// Host and port.
        server: String,
        /// What the TLS library said.
        text: String,
    },
    /// A setting cannot be used.
    #[error("the setting `{name}` cannot be used: {text}")]
    InvalidSetting {
        /// The setting's name, or its environment variable.
        name: &'static str,
        /// What is wrong with it.
        text: String,
    },
}
