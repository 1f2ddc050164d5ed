//! How a client is set up: by hand, from the environment, or both; what is set by hand wins.

use std::path::PathBuf;

use super::{Client, connect};
use crate::{
    broker::jetstream::{Secret, Settings},
    codec::ContentType,
    error::ConnectError,
    name::Name,
};

/// The address of a server that nobody named.
const LOCAL: &str = "nats://127.0.0.1:4222";

/// What a client is set up with.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) namespace: Name,
    pub(crate) caller: Name,
    pub(crate) key_secret: Option<Vec<u8>>,
    pub(crate) settings: Settings,
    /// How requests are encoded; answers come in the same encoding.
    pub(crate) content_type: ContentType,
}

#[cfg(test)]
impl Config {
    /// What a test's client needs that goes by this name on a simulated server.
    pub(crate) fn simulated(caller: &str) -> std::sync::Arc<Self> {
        std::sync::Arc::new(Self {
            namespace: "rq".parse().expect("a name"),
            caller: caller.parse().expect("a name"),
            key_secret: None,
            settings: Settings::default(),
            content_type: ContentType::default(),
        })
    }
}

/// Sets up a [`Client`].
///
/// What is not set here is read from the environment:
///
/// | variable | meaning | default |
/// |---|---|---|
/// | `NATS_URL` | addresses, comma-separated; the first may name user and password, or a token | `nats://127.0.0.1:4222` |
/// | `NATS_CREDS` | path of a credentials file | none |
/// | `NATS_USER`, `NATS_PASSWORD` | user and password | none |
/// | `NATS_TOKEN`, `NATS_NKEY` | a token; the seed of an nkey | none |
/// | `NATS_CA`, `NATS_CERT`, `NATS_KEY` | paths for TLS | the system's roots |
/// | `REQUITE_NAMESPACE` | keeps environments on one server apart | `rq` |
/// | `REQUITE_CALLER` | the name that ids belong to | the user's, else the program's name |
/// | `REQUITE_KEY_SECRET` | makes ids of keys unguessable | none |
///
/// ```no_run
/// # async fn run() -> Result<(), requite::ConnectError> {
/// let client = requite::Client::builder().url("nats://localhost:4222").caller("shop").connect().await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "nothing is connected before `connect`"]
pub struct ClientBuilder {
    url: Option<String>,
    namespace: Option<String>,
    caller: Option<String>,
    key_secret: Option<Secret>,
    settings: Settings,
    content_type: ContentType,
}

impl ClientBuilder {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Addresses of the servers, comma-separated.
    pub fn url(mut self, url: impl Into<String>) -> Self {
        self.url = Some(url.into());
        self
    }

    /// Keeps environments on one server apart; one token.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// The name that ids belong to: every process of one application uses the same, and its credentials allow it.
    pub fn caller(mut self, caller: impl Into<String>) -> Self {
        self.caller = Some(caller.into());
        self
    }

    /// Makes ids of keys unguessable for others who know the keys. All processes of the caller need the same.
    pub fn key_secret(mut self, secret: impl Into<String>) -> Self {
        self.key_secret = Some(Secret(secret.into()));
        self
    }

    /// A credentials file, as `nsc` makes them; read again on every connection.
    pub fn credentials_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.credentials_file = Some(path.into());
        self
    }

    /// User and password.
    pub fn user(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.settings.user = Some(user.into());
        self.settings.password = Some(Secret(password.into()));
        self
    }

    /// A token.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.settings.token = Some(Secret(token.into()));
        self
    }

    /// The seed of an nkey.
    pub fn nkey(mut self, seed: impl Into<String>) -> Self {
        self.settings.nkey = Some(Secret(seed.into()));
        self
    }

    /// A file with the certificate authorities to trust, PEM.
    pub fn tls_ca(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.tls_ca = Some(path.into());
        self.settings.require_tls = true;
        self
    }

    /// Certificate and key of this client, PEM.
    pub fn tls_certificate(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.settings.tls_certificate = Some((certificate.into(), key.into()));
        self.settings.require_tls = true;
        self
    }

    /// Refuses connections without TLS.
    pub fn require_tls(mut self) -> Self {
        self.settings.require_tls = true;
        self
    }

    /// Sends requests as JSON instead of MessagePack; answers come in the same encoding.
    pub fn json(mut self) -> Self {
        self.content_type = ContentType::Json;
        self
    }

    /// Connects.
    ///
    /// # Errors
    ///
    /// If no server answers within 5 s, it refuses the credentials, or a setting cannot be used.
    pub async fn connect(self) -> Result<Client, ConnectError> {
        connect(self.config(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))?).await
    }

    /// Fills in what was not set by hand.
    fn config(self, env: impl Fn(&str) -> Option<String>) -> Result<Config, ConnectError> {
        let mut settings = self.settings;
        settings.addresses(&self.url.or_else(|| env("NATS_URL")).unwrap_or_else(|| LOCAL.into()))?;
        let by_hand = settings.user.is_some()
            || settings.token.is_some()
            || settings.nkey.is_some()
            || settings.credentials_file.is_some();
        if !by_hand && !settings.take_credentials_of_address() {
            settings.credentials_file = env("NATS_CREDS").map(PathBuf::from);
            settings.user = env("NATS_USER");
            settings.password = env("NATS_PASSWORD").map(Secret);
            settings.token = env("NATS_TOKEN").map(Secret);
            settings.nkey = env("NATS_NKEY").map(Secret);
            both("NATS_USER", settings.user.is_some(), "NATS_PASSWORD", settings.password.is_some())?;
        }
        if settings.tls_ca.is_none() {
            settings.tls_ca = env("NATS_CA").map(PathBuf::from);
        }
        if settings.tls_certificate.is_none() {
            let (certificate, key) = (env("NATS_CERT"), env("NATS_KEY"));
            both("NATS_CERT", certificate.is_some(), "NATS_KEY", key.is_some())?;
            settings.tls_certificate = certificate.map(PathBuf::from).zip(key.map(PathBuf::from));
        }
        let namespace = name("namespace", self.namespace.or_else(|| env("REQUITE_NAMESPACE")), "rq")?;
        let caller = match self.caller.or_else(|| env("REQUITE_CALLER")) {
            Some(caller) => name("caller", Some(caller), "")?,
            None => own_name(&settings),
        };
        settings.inbox_owner = caller.to_string();
        let secret = self.key_secret.or_else(|| env("REQUITE_KEY_SECRET").map(Secret));
        Ok(Config {
            namespace,
            caller,
            key_secret: secret.map(|it| it.0.into_bytes()),
            settings,
            content_type: self.content_type,
        })
    }
}

/// Of two settings that mean nothing without each other, one that is missing is a mistake.
fn both(one: &'static str, has_one: bool, other: &'static str, has_other: bool) -> Result<(), ConnectError> {
    let missing = |name: &'static str, set: &str| {
        Err(ConnectError::InvalidSetting { name, text: format!("is not set, but {set} is") })
    };
    match (has_one, has_other) {
        (true, false) => missing(other, one),
        (false, true) => missing(one, other),
        _ => Ok(()),
    }
}

fn name(setting: &'static str, value: Option<String>, default: &str) -> Result<Name, ConnectError> {
    value.as_deref().unwrap_or(default).parse().map_err(|error: crate::InvalidName| {
        ConnectError::InvalidSetting { name: setting, text: error.to_string() }
    })
}

/// The name of a caller that has none: its user's, else the program's.
fn own_name(settings: &Settings) -> Name {
    let program = || {
        let path = std::env::current_exe().ok()?;
        Some(path.file_stem()?.to_string_lossy().into_owned())
    };
    settings
        .user
        .clone()
        .or_else(program)
        .and_then(|text| Name::sanitised(&text))
        .unwrap_or_else(|| "caller".parse().expect("a plain word is a name"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_by_hand_wins_over_the_environment() {
        let env = |name: &str| match name {
            "NATS_URL" => Some("nats://env:1".to_owned()),
            "NATS_USER" => Some("env-user".to_owned()),
            "NATS_PASSWORD" => Some("p".to_owned()),
            "REQUITE_NAMESPACE" => Some("env".to_owned()),
            _ => None,
        };
        let config = ClientBuilder::new().config(env).unwrap();
        assert_eq!((config.settings.shown().as_str(), config.caller.as_str()), ("env:1", "env-user"));
        assert_eq!(config.namespace.as_str(), "env");
        let by_hand =
            ClientBuilder::new().url("nats://hand:2").user("me", "x").namespace("ns").caller("shop");
        let config = by_hand.config(env).unwrap();
        assert_eq!((config.settings.shown().as_str(), config.caller.as_str()), ("hand:2", "shop"));
        assert_eq!((config.namespace.as_str(), config.settings.user.as_deref()), ("ns", Some("me")));
    }

    #[test]
    fn a_name_that_cannot_be_a_token_is_an_error_that_names_the_setting() {
        let error = ClientBuilder::new().caller("a.b").config(|_| None).unwrap_err();
        assert!(error.to_string().contains("caller"), "{error}");
    }

    #[test]
    fn half_of_a_pair_in_the_environment_is_a_mistake() {
        for (set, missing) in
            [("NATS_USER", "NATS_PASSWORD"), ("NATS_PASSWORD", "NATS_USER"), ("NATS_CERT", "NATS_KEY")]
        {
            let error =
                ClientBuilder::new().config(|name| (name == set).then(|| "x".to_owned())).unwrap_err();
            assert!(
                matches!(error, ConnectError::InvalidSetting { name, .. } if name == missing),
                "{error:?}"
            );
        }
    }

    #[test]
    fn credentials_in_the_address_are_used_unless_others_are_set_by_hand() {
        let env = |name: &str| (name == "NATS_USER").then(|| "env-user".to_owned());
        let config = |builder: ClientBuilder| builder.config(env).unwrap();
        let with_user = config(ClientBuilder::new().url("nats://ada:p%40ss%3a@host"));
        let password = with_user.settings.password.as_ref().map(|it| it.0.as_str());
        assert_eq!((with_user.settings.user.as_deref(), password), (Some("ada"), Some("p@ss:")));
        assert_eq!((with_user.caller.as_str(), with_user.settings.shown().as_str()), ("ada", "host:4222"));
        let with_token = config(ClientBuilder::new().url("nats://t0ken@host"));
        assert_eq!(with_token.settings.token.as_ref().map(|it| it.0.as_str()), Some("t0ken"));
        assert_eq!(with_token.settings.user, None);
        let by_hand = config(ClientBuilder::new().url("nats://ada:p@host").user("me", "x"));
        assert_eq!(by_hand.settings.user.as_deref(), Some("me"));
    }

    #[test]
    fn secrets_are_not_shown() {
        let builder =
            ClientBuilder::new().user("me", "hunter2").token("hunter2").nkey("hunter2").key_secret("hunter2");
        assert!(!format!("{builder:?}").contains("hunter2"));
    }
}
