//! A user with a bare connection, who tries what is written down and notes what the server denies.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use futures_util::{FutureExt, StreamExt};
use requite::async_nats::{Client, ConnectOptions, Event, HeaderMap, Message, ServerError, Subscriber};
use serde_json::Value;
use tokio::sync::{Mutex, mpsc};

use crate::stage::{PASSWORD, PATIENCE};

/// One message.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sent {
    pub(crate) subject: String,
    pub(crate) reply: Option<String>,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

impl Sent {
    pub(crate) fn to(subject: impl Into<String>) -> Self {
        Self { subject: subject.into(), ..Self::default() }
    }

    pub(crate) fn reply(mut self, subject: impl Into<String>) -> Self {
        self.reply = Some(subject.into());
        self
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn body(mut self, body: impl ToString) -> Self {
        self.body = body.to_string().into_bytes();
        self
    }

    pub(crate) fn bytes(mut self, body: &[u8]) -> Self {
        self.body = body.to_vec();
        self
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.insert(*name, value.as_str());
        }
        headers
    }

    /// A request as a caller writes it, for a method that takes a text.
    pub(crate) fn request(subject: impl Into<String>, text: &str) -> Self {
        let headers = [("Rq-V", "1"), ("Rq-Kind", "call"), ("Content-Type", "application/json")];
        let request = Self::to(subject).body(Value::from(text));
        headers.into_iter().fold(request, |request, (name, value)| request.header(name, value))
    }
}

/// A user.
pub(crate) struct Actor {
    pub(crate) name: &'static str,
    pub(crate) nats: Client,
    denials: Mutex<mpsc::UnboundedReceiver<String>>,
    fences: AtomicU32,
}

impl Actor {
    pub(crate) async fn connect(url: &str, name: &'static str) -> Self {
        let (denied, denials) = mpsc::unbounded_channel();
        let options = ConnectOptions::with_user_and_password(name.into(), PASSWORD.into())
            .custom_inbox_prefix(format!("_INBOX.{name}"))
            .event_callback(move |event| {
                if let Event::ServerError(ServerError::Other(text)) = event {
                    // Nobody looks any more once the test is over.
                    let _ = denied.send(text);
                }
                std::future::ready(())
            });
        let nats = options.connect(url).await.unwrap();
        Self { name, nats, denials: Mutex::new(denials), fences: AtomicU32::new(0) }
    }

    pub(crate) async fn subscribe(&self, subject: &str) -> Subscriber {
        self.nats.subscribe(subject.to_owned()).await.unwrap()
    }

    pub(crate) async fn send(&self, sent: &Sent) {
        let (subject, headers, body) = (sent.subject.clone(), sent.headers(), sent.body.clone().into());
        match &sent.reply {
            Some(reply) => {
                self.nats.publish_with_reply_and_headers(subject, reply.clone(), headers, body).await
            }
            None => self.nats.publish_with_headers(subject, headers, body).await,
        }
        .unwrap();
    }

    /// Waits until the server has taken in everything that was sent, and returns what it denied.
    pub(crate) async fn denied(&self) -> Vec<String> {
        let mut denied = Vec::new();
        if self.name == "root" {
            self.ask("$JS.API.INFO", "").await;
            return denied;
        }
        // Nobody else may publish there, and is told so.
        let fence = format!("fence.{}", self.fences.fetch_add(1, Ordering::Relaxed));
        self.nats.publish(fence.clone(), "".into()).await.unwrap();
        let mut denials = self.denials.lock().await;
        let fenced = async {
            loop {
                let text = denials.recv().await.expect("the connection holds the sender");
                if text.contains(&fence) {
                    return;
                }
                denied.push(text);
            }
        };
        tokio::time::timeout(PATIENCE, fenced).await.expect("the server takes in what was sent");
        denied
    }

    /// What the server answers to a question about streams, errors included.
    pub(crate) async fn ask(&self, subject: &str, body: impl ToString) -> Value {
        let answer = self.nats.request(subject.to_owned(), body.to_string().into()).await.unwrap();
        serde_json::from_slice(&answer.payload).unwrap()
    }

    /// What a stream says to a message.
    pub(crate) async fn publish(&self, sent: &Sent) -> Value {
        let request =
            self.nats.request_with_headers(sent.subject.clone(), sent.headers(), sent.body.clone().into());
        serde_json::from_slice(&request.await.unwrap().payload).unwrap()
    }

    /// Publishes into a stream, which must take it.
    pub(crate) async fn store(&self, sent: &Sent) {
        let answer = self.publish(sent).await;
        assert!(answer["error"].is_null() && answer["seq"].is_u64(), "{sent:?}: {answer}");
    }

    /// The newest message that a stream has under a subject.
    pub(crate) async fn stored(&self, stream: &str, subject: &str) -> Option<Value> {
        let body = serde_json::json!({ "last_by_subj": subject });
        let mut answer = self.ask(&format!("$JS.API.STREAM.MSG.GET.{stream}"), body).await;
        answer["error"].is_null().then(|| answer["message"].take())
    }
}

/// What has arrived by now.
pub(crate) fn arrived(messages: &mut Subscriber) -> Vec<Message> {
    std::iter::from_fn(|| messages.next().now_or_never().flatten()).collect()
}

/// The next message, if one comes.
pub(crate) async fn next(messages: &mut Subscriber, within: Duration) -> Option<Message> {
    tokio::time::timeout(within, messages.next()).await.ok().flatten()
}
