//! How to reach nats-server: addresses and credentials, kept so that the keeper can connect a second time.

use std::{path::PathBuf, time::Duration};

use async_nats::ConnectOptions;

use crate::{ConnectError, subject::inboxes_of};

/// The server answers pings; two missed ones close the connection.
const PING: Duration = Duration::from_secs(5);
/// A first connection that takes longer is an error.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
const LONGEST_RECONNECT_DELAY: Duration = Duration::from_secs(2);

/// Addresses and credentials of a connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub(crate) urls: Vec<async_nats::ServerAddr>,
    pub(crate) credentials_file: Option<PathBuf>,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<Secret>,
    pub(crate) token: Option<Secret>,
    pub(crate) nkey: Option<Secret>,
    pub(crate) tls_ca: Option<PathBuf>,
    pub(crate) tls_certificate: Option<(PathBuf, PathBuf)>,
    pub(crate) require_tls: bool,
    /// Whose inboxes: replies come to `_INBOX.<this>.…`, which permissions can name.
    pub(crate) inbox_owner: String,
}

/// A text that is never shown.
#[derive(Clone)]
pub(crate) struct Secret(pub(crate) String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl Settings {
    /// Reads a comma-separated list of addresses.
    pub(crate) fn addresses(&mut self, urls: &str) -> Result<(), ConnectError> {
        self.urls = urls.split(',').map(|url| url.trim().parse()).collect::<Result<_, _>>().map_err(
            |error: std::io::Error| ConnectError::InvalidSetting { name: "url", text: error.to_string() },
        )?;
        Ok(())
    }

    /// Takes user and password, or the token, from the first address that has any: the NATS client itself does not
    /// look there. Says whether there were any.
    pub(crate) fn take_credentials_of_address(&mut self) -> bool {
        let Some(url) = self.urls.iter().find(|url| url.has_user_pass()) else {
            return false;
        };
        let user = url.username().map(percent_decoded);
        match url.password() {
            Some(password) => {
                self.password = Some(Secret(percent_decoded(password)));
                self.user = user;
            }
            None => self.token = user.map(Secret),
        }
        true
    }

    pub(super) fn servers(&self) -> Vec<async_nats::ServerAddr> {
        self.urls.clone()
    }

    /// The addresses without user names and passwords.
    pub(crate) fn shown(&self) -> String {
        let shown = self.urls.iter().map(|url| format!("{}:{}", url.host(), url.port()));
        shown.collect::<Vec<_>>().join(",")
    }

    pub(super) async fn options(&self, name: &str) -> Result<ConnectOptions, ConnectError> {
        let mut options = ConnectOptions::new()
            .name(name)
            .ping_interval(PING)
            .connection_timeout(CONNECT_TIMEOUT)
            .request_timeout(None)
            .custom_inbox_prefix(inboxes_of(&self.inbox_owner))
            .reconnect_delay_callback(reconnect_delay);
        if let Some(file) = &self.credentials_file {
            options = options.credentials_file(file).await.map_err(|error| ConnectError::InvalidSetting {
                name: "credentials file",
                text: format!("{}: {error}", file.display()),
            })?;
        }
        if let (Some(user), Some(password)) = (&self.user, &self.password) {
            options = options.user_and_password(user.clone(), password.0.clone());
        }
        if let Some(token) = &self.token {
            options = options.token(token.0.clone());
        }
        if let Some(seed) = &self.nkey {
            options = options.nkey(seed.0.clone());
        }
        if let Some(ca) = &self.tls_ca {
            options = options.add_root_certificates(ca.clone());
        }
        if let Some((certificate, key)) = &self.tls_certificate {
            options = options.add_client_certificate(certificate.clone(), key.clone());
        }
        Ok(options.require_tls(self.require_tls))
    }
}

/// A part of an address as it was meant; what is not a valid escape stays as it is.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, more @ ..] = rest {
        let escape = more.first_chunk().filter(|_| *first == b'%');
        match escape.and_then(|digits: &[u8; 2]| data_encoding::HEXLOWER_PERMISSIVE.decode(digits).ok()) {
            Some(byte) => {
                bytes.extend(byte);
                rest = &more[2..];
            }
            None => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// At once, then doubling from 50 ms; half of it random, so that the clients of a restarted server do not come as one.
fn reconnect_delay(attempts: usize) -> Duration {
    if attempts <= 1 {
        return Duration::ZERO;
    }
    let full = Duration::from_millis(50 << attempts.min(6)).min(LONGEST_RECONNECT_DELAY);
    let random = u32::from(crate::name::random_bits()[0]);
    full / 2 + full * random / 512
}
