//! The real broker: one connection to nats-server through `async_nats`, and nothing above plain NATS messages.
//!
//! The only module that names `async_nats`.

use std::{
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_nats::{ConnectErrorKind, StatusCode, message::OutboundMessage};
use futures_util::StreamExt;
use tokio::{sync::broadcast, task::AbortHandle};

use super::{Answer, Broker, Event, Message, Outgoing, SendError, ServerFacts, Subscription};
use crate::{ConnectError, protocol::time::Moment, subject::answers_of_workers};

pub(crate) mod clock;
pub(crate) mod headers;
mod options;
mod outbox;
pub(crate) mod readable;
mod replies;

pub(crate) use async_nats::{Client as NatsClient, Subject};
pub(crate) use options::{Secret, Settings};

use headers::Headers;
use outbox::Outbox;
use replies::Replies;

/// Headers of ours are smaller; only what comes near the limit is measured.
const LARGEST_HEADERS: usize = 16 * 1024;
/// Events that a slow listener may lag behind before it misses some; it then treats itself as reconnected.
const EVENT_BACKLOG: usize = 256;

/// A connection to nats-server. A clone is one more count: every request holds some.
#[derive(Clone, Debug)]
pub(crate) struct Connection(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: NatsClient,
    outbox: Outbox,
    replies: Arc<Replies>,
    /// Tasks that end with the connection.
    listeners: [AbortHandle; 2],
    events: broadcast::Sender<Event>,
    settings: Arc<Settings>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        for listener in &self.listeners {
            listener.abort();
        }
        self.replies.end();
    }
}

impl Connection {
    /// Connects; `name` is what the server shows for this connection.
    pub(crate) async fn connect(settings: Arc<Settings>, name: &str) -> Result<Self, ConnectError> {
        let (events, _) = broadcast::channel(EVENT_BACKLOG);
        let waiting: Arc<OnceLock<Weak<Replies>>> = Arc::default();
        let options = settings.options(name).await?.event_callback({
            let (events, waiting) = (events.clone(), Arc::clone(&waiting));
            let was_connected = AtomicBool::new(false);
            move |event| {
                if let Some(event) = translate(event, &was_connected) {
                    if let Some(replies) = waiting.get().and_then(Weak::upgrade) {
                        match event {
                            Event::Disconnected => replies.lost(),
                            Event::Reconnected => replies.back(),
                            Event::Closed => replies.closed(),
                            _ => {}
                        }
                    }
                    if let Event::Denied { subject } = &event {
                        // Whoever published hears nothing but silence.
                        tracing::warn!(subject, "no permission for this subject");
                    }
                    // Nobody listening is no error: a client without pending calls.
                    let _ = events.send(event);
                }
                std::future::ready(())
            }
        });
        let client = options.connect(settings.servers()).await.map_err(|error| {
            let server = settings.shown();
            match error.kind() {
                ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
                    ConnectError::Unauthorized { server, text: error.to_string() }
                }
                ConnectErrorKind::Tls => ConnectError::Tls { server, text: error.to_string() },
                _ if is_failed_handshake(&error) => ConnectError::Tls { server, text: error.to_string() },
                _ => ConnectError::Unreachable { server, text: error.to_string() },
            }
        })?;
        let inbox = client.new_inbox();
        let answers = client.subscribe(format!("{inbox}.*")).await.map_err(|error| {
            ConnectError::Unreachable { server: settings.shown(), text: error.to_string() }
        })?;
        let outbox = Outbox::start(client.clone());
        let (replies, listeners) = Replies::start(inbox, answers);
        let _ = waiting.set(Arc::downgrade(&replies));
        Ok(Self(Arc::new(Inner { client, outbox, replies, listeners, events, settings })))
    }

    /// The client underneath, for users who share the connection.
    pub(crate) fn client(&self) -> &NatsClient {
        &self.0.client
    }

    /// Checked here, because what is too large is refused by the server by closing the connection.
    fn check_size(&self, message: &Outgoing) -> Result<(), SendError> {
        let max = self.0.client.max_payload();
        let size = message.payload.len();
        if size + LARGEST_HEADERS > max && size + message.headers.size() > max {
            return Err(SendError::TooLarge { max });
        }
        Ok(())
    }

    /// Hands a message over, and says whether there is room for the next.
    fn send(&self, message: Outgoing) -> Result<bool, SendError> {
        self.check_size(&message)?;
        let Outgoing { subject, reply, headers, payload } = message;
        let (reply, headers) = (reply.map(Subject::from), headers.into_nats());
        self.0.outbox.publish(OutboundMessage { subject, payload, reply, headers })
    }
}

impl Broker for Connection {
    type Subscription = Inbox;

    fn publish(&self, message: Outgoing) -> impl Future<Output = Result<(), SendError>> + Send {
        let sent = self.send(message);
        async move {
            if !sent? {
                Box::pin(self.0.outbox.room()).await;
            }
            Ok(())
        }
    }

    fn request(
        &self,
        mut message: Outgoing,
        within: Duration,
    ) -> impl Future<Output = Result<Answer, SendError>> + Send + use<> {
        let (mut pending, reply) = self.0.replies.expect(within);
        message.reply = Some(reply);
        let full = self.send(message).map(|has_room| (!has_room).then(|| Arc::clone(&self.0)));
        async move {
            if let Some(inner) = full? {
                // Boxed, so that the future of a request that need not wait is small.
                Box::pin(async move { inner.outbox.room().await }).await;
            }
            // By reference: what is awaited by value is held a second time.
            responded((&mut pending).await.ok_or(SendError::TimedOut)?)
        }
    }

    /// Asked seldom, so that each question has an inbox of its own.
    async fn ask(&self, mut message: Outgoing, within: Duration) -> Result<Answer, SendError> {
        let inbox = answers_of_workers(&self.new_inbox());
        let mut answers = self.0.client.subscribe(inbox.clone()).await.map_err(|_| SendError::Closed)?;
        message.reply = Some(inbox);
        self.publish(message).await?;
        let answered = tokio::time::timeout(within, answers.next()).await.map_err(|_| SendError::TimedOut)?;
        responded(replies::answer(answered.ok_or(SendError::Closed)?))
    }

    async fn subscribe(&self, subject: String) -> Result<Inbox, SendError> {
        self.0.client.subscribe(subject).await.map(Inbox).map_err(|_| SendError::Closed)
    }

    fn is_connected(&self) -> bool {
        self.0.client.connection_state() == async_nats::connection::State::Connected
    }

    fn events(&self) -> broadcast::Receiver<Event> {
        self.0.events.subscribe()
    }

    fn server(&self) -> ServerFacts {
        let info = self.0.client.server_info();
        ServerFacts {
            id: info.server_id,
            version: info.version,
            clustered: info.cluster.is_some(),
            max_payload: self.0.client.max_payload(),
        }
    }

    fn new_inbox(&self) -> String {
        self.0.client.new_inbox()
    }

    async fn connect_again(&self, name: &str) -> Result<Self, ConnectError> {
        Self::connect(Arc::clone(&self.0.settings), name).await
    }

    fn now(&self) -> Moment {
        clock::now()
    }
}

/// A subscription; dropping it unsubscribes.
pub(crate) struct Inbox(async_nats::Subscriber);

impl Subscription for Inbox {
    async fn next(&mut self) -> Option<Message> {
        self.0.next().await.map(from_nats)
    }

    async fn end(&mut self) {
        // Refused only by a connection that is closed, which ends the subscription as well.
        let _ = self.0.drain().await;
    }
}

fn from_nats(message: async_nats::Message) -> Message {
    Message {
        subject: message.subject,
        reply: message.reply,
        headers: Headers::from_nats(message.headers),
        status: status(message.status),
        description: message.description,
        payload: message.payload,
    }
}

/// The answer, unless it is the server's word that nobody answers.
fn responded(answer: Answer) -> Result<Answer, SendError> {
    if answer.status == Some(StatusCode::NO_RESPONDERS.as_u16()) && answer.payload.is_empty() {
        return Err(SendError::NoResponders);
    }
    Ok(answer)
}

/// A status of the server; that of a plain message is none.
fn status(status: Option<StatusCode>) -> Option<u16> {
    status.filter(|it| *it != StatusCode::OK).map(|it| it.as_u16())
}

/// Whether the other side's TLS could not be read or is not trusted: the NATS client reports that as an error of the
/// connection, and rustls marks it as invalid data.
fn is_failed_handshake(error: &async_nats::ConnectError) -> bool {
    let source = std::error::Error::source(error).and_then(|it| it.downcast_ref::<std::io::Error>());
    error.kind() == ConnectErrorKind::Io
        && source.is_some_and(|it| it.kind() == std::io::ErrorKind::InvalidData)
}

/// The events that decide something; the others are for logs and stay with `async_nats`.
fn translate(event: async_nats::Event, was_connected: &AtomicBool) -> Option<Event> {
    match event {
        // The first is told some time after the connection is there and used, and is no reconnect.
        async_nats::Event::Connected => {
            was_connected.swap(true, Ordering::Relaxed).then_some(Event::Reconnected)
        }
        async_nats::Event::Disconnected => Some(Event::Disconnected),
        async_nats::Event::SlowConsumer(_) => Some(Event::Overrun),
        async_nats::Event::Closed => Some(Event::Closed),
        async_nats::Event::ServerError(async_nats::ServerError::AuthorizationViolation) => {
            Some(Event::Unauthorized { text: "authorization violation".into() })
        }
        // A reconnect that was refused; its kind is told as text only.
        async_nats::Event::ClientError(async_nats::ClientError::Other(text)) => {
            [ConnectErrorKind::AuthorizationViolation, ConnectErrorKind::Authentication]
                .iter()
                .any(|kind| kind.to_string() == text)
                .then_some(Event::Unauthorized { text })
        }
        async_nats::Event::ServerError(async_nats::ServerError::Other(text)) => denied_subject(&text)
            .map(|subject| Event::Denied { subject: subject.into() })
            .or_else(|| text.contains("uthentication").then_some(Event::Unauthorized { text })),
        _ => None,
    }
}

/// The subject in `Permissions Violation for Publish to "…"`.
fn denied_subject(text: &str) -> Option<&str> {
    let rest = text
        .strip_prefix("Permissions Violation for ")
        .or_else(|| text.strip_prefix("permissions violation for "))?;
    rest.split_once('"')?.1.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::{AtomicBool, Event, denied_subject, translate};

    #[test]
    fn that_a_connection_is_there_is_no_reconnect() {
        let was_connected = AtomicBool::new(false);
        let told = || translate(async_nats::Event::Connected, &was_connected);
        assert!(told().is_none());
        assert!(matches!(told(), Some(Event::Reconnected)));
    }

    #[test]
    fn the_denied_subject_is_read_from_the_servers_text() {
        assert_eq!(denied_subject("Permissions Violation for Publish to \"a.b\""), Some("a.b"));
        assert_eq!(
            denied_subject("Permissions Violation for Subscription to \"a.>\" using queue \"q\""),
            Some("a.>")
        );
        assert_eq!(denied_subject("Stale Connection"), None);
    }
}
