//! What somebody tries, what it would come to, and how that is told from nothing: the same attempt, made by somebody
//! who may do everything, comes to it.

use requite::async_nats::{StatusCode, Subscriber};
use serde_json::Value;

use crate::{
    actor::{Actor, Sent, arrived},
    stage::{Stage, until},
};

/// What an attempt is to come to.
#[derive(Clone, Debug)]
pub(crate) enum Aim {
    /// An answer without an error.
    Answer,
    /// Any answer of the server's, be it that there is nothing now.
    AnyAnswer,
    /// To hear on this subject what somebody else publishes.
    Hear(Sent),
    /// That a message arrives on this subject.
    Arrives(String),
    /// That a stream has a message under this subject.
    Stored(String, String),
    /// That a stream has none there any more.
    Lost(String, String),
    /// That a handler is run with this text.
    Runs(String),
    /// That the server's API says so: question, pointer into the answer, value.
    Says(String, &'static str, Value),
}

/// What is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// The server denies it.
    Denied,
    /// The server takes it, and it comes to nothing.
    Nothing,
    /// It works: a limit that the documentation names.
    Works,
}

/// What somebody tries.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    /// Subscribed before.
    pub(crate) hears: Option<String>,
    pub(crate) sent: Vec<Sent>,
    pub(crate) aim: Aim,
    pub(crate) expected: Expected,
}

impl Attempt {
    pub(crate) fn denied(sent: Sent, aim: Aim) -> Self {
        Self { hears: None, sent: vec![sent], aim, expected: Expected::Denied }
    }

    /// To hear on `subject` what somebody else publishes.
    pub(crate) fn denied_to_hear(subject: &str, published: Sent) -> Self {
        let hears = Some(subject.to_owned());
        Self { hears, sent: Vec::new(), aim: Aim::Hear(published), expected: Expected::Denied }
    }

    pub(crate) fn expect(mut self, expected: Expected) -> Self {
        self.expected = expected;
        self
    }

    /// Whether the server says that it denied the last thing that was tried.
    fn is_denied(&self, denied: &[String]) -> bool {
        let last = self.sent.last();
        let mut subjects: Vec<&str> = match last {
            Some(sent) => sent.headers.iter().map(|(_, value)| value.as_str()).collect(),
            None => self.hears.as_deref().into_iter().collect(),
        };
        subjects.extend(last.map(|it| it.subject.as_str()));
        subjects.extend(last.and_then(|it| it.reply.as_deref()));
        denied.iter().any(|text| subjects.iter().any(|subject| text.contains(&format!("\"{subject}\""))))
    }
}

/// Makes the attempt as `actor` and then, with targets of its own, as root, who shows that it is well-formed. Panics if
/// either comes to something else.
pub(crate) async fn judge(stage: &Stage, actor: &Actor, what: &str, attempt: &Attempt, control: &Attempt) {
    let mut tried = Trial::begin(stage, actor, attempt).await;
    let mut proof = Trial::begin(stage, &stage.root, control).await;
    // Root comes after the actor on the same ways, so what has become of it shows what became of the other.
    until(&format!("root does what {what}"), async || proof.has_worked().await).await;
    let denied = std::mem::take(&mut tried.denied);
    actor.denied().await;
    if attempt.expected == Expected::Denied {
        assert!(attempt.is_denied(&denied), "{what}: not denied, but {denied:?}");
    } else {
        assert!(denied.is_empty(), "{what}: {denied:?}");
    }
    match attempt.expected {
        Expected::Works => until(what, async || tried.has_worked().await).await,
        Expected::Denied | Expected::Nothing => assert!(!tried.has_worked().await, "{what}: it worked"),
    }
}

/// An attempt that was made.
struct Trial<'a> {
    stage: &'a Stage,
    aim: Aim,
    /// Where its success is heard, if it is to be heard.
    heard: Option<Subscriber>,
    denied: Vec<String>,
    worked: bool,
}

impl<'a> Trial<'a> {
    async fn begin(stage: &'a Stage, actor: &Actor, attempt: &Attempt) -> Self {
        let own = match &attempt.hears {
            Some(subject) => Some(actor.subscribe(subject).await),
            None => None,
        };
        let inbox = format!("{}.-ask", actor.nats.new_inbox());
        let heard = match &attempt.aim {
            Aim::Answer | Aim::AnyAnswer => Some(actor.subscribe(&inbox).await),
            Aim::Hear(_) => own,
            Aim::Arrives(subject) => Some(stage.root.subscribe(subject).await),
            _ => None,
        };
        stage.root.denied().await;
        let mut denied = actor.denied().await;
        for sent in &attempt.sent {
            let mut sent = sent.clone();
            if matches!(attempt.aim, Aim::Answer | Aim::AnyAnswer) {
                sent = sent.reply(&inbox);
            }
            actor.send(&sent).await;
            denied.extend(actor.denied().await);
        }
        if let Aim::Hear(published) = &attempt.aim {
            stage.root.send(published).await;
            stage.root.denied().await;
        }
        Self { stage, aim: attempt.aim.clone(), heard, denied, worked: false }
    }

    async fn has_worked(&mut self) -> bool {
        let root = &self.stage.root;
        let heard = self.heard.as_mut().map(arrived).unwrap_or_default();
        self.worked |= match &self.aim {
            Aim::Answer => heard.iter().any(|answer| {
                let error = serde_json::from_slice::<Value>(&answer.payload)
                    .is_ok_and(|answer| !answer["error"].is_null());
                answer.status.is_none_or(|status| status == StatusCode::OK) && !error
            }),
            Aim::AnyAnswer | Aim::Hear(_) | Aim::Arrives(_) => !heard.is_empty(),
            Aim::Stored(stream, subject) => root.stored(stream, subject).await.is_some(),
            Aim::Lost(stream, subject) => root.stored(stream, subject).await.is_none(),
            Aim::Runs(text) => self.stage.vault.runs(text) > 0,
            Aim::Says(question, pointer, value) => {
                root.ask(&format!("$JS.API.{question}"), "").await.pointer(pointer) == Some(value)
            }
        };
        self.worked
    }
}
