//! Questions from other workers and from callers, answered on the keeper's connection, so that a worker whose handlers
//! block still says what is its own.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::sync::mpsc;

use super::rounds::Rounds;
use crate::{
    broker::{AnyBroker, Broker, Message, Outgoing, Subscription},
    protocol::attempt::Attempt,
    server::method::MethodRuntime,
    subject::is_for_answers,
    turns,
    wire::control::{MINE, MineQuestion, NOT_MINE},
};

/// Questions that may wait; more are dropped, and asked again by whoever asked.
const BACKLOG: usize = 1024;

/// The questions of one keeper.
pub(super) struct Questions {
    heard: mpsc::Receiver<Question>,
}

/// One question.
pub(super) enum Question {
    /// Is this attempt yours?
    Mine(Message),
    /// The request of this attempt is to be cancelled.
    Cancel(Message),
    /// Is this call running? Only its owner answers.
    Ping(Message),
    /// Does anybody serve this method?
    Any(Message),
}

impl Questions {
    pub(super) async fn listen(broker: &AnyBroker, methods: &[Arc<MethodRuntime>]) -> Self {
        let (tell, heard) = mpsc::channel(BACKLOG);
        let mut services: Vec<&str> = Vec::new();
        for method in methods {
            let subjects = &method.service.subjects;
            if !services.contains(&method.options.service) {
                services.push(method.options.service);
                let worker = method.service.worker.as_str();
                forward(broker, subjects.mine(worker), Question::Mine, &tell).await;
                forward(broker, subjects.told_to_cancel(worker), Question::Cancel, &tell).await;
                forward(broker, subjects.pings(), Question::Ping, &tell).await;
            }
            forward(broker, subjects.any_workers(method.options.name), Question::Any, &tell).await;
        }
        Self { heard }
    }

    pub(super) async fn next(&mut self) -> Option<Question> {
        self.heard.recv().await
    }
}

async fn forward(
    broker: &AnyBroker,
    subject: String,
    wrap: fn(Message) -> Question,
    tell: &mpsc::Sender<Question>,
) {
    let Ok(mut messages) = broker.subscribe(subject).await else {
        return;
    };
    let tell = tell.clone();
    tokio::spawn(turns::own(async move {
        while let Some(message) = messages.next().await {
            if message.is_control() {
                let _ = tell.try_send(wrap(message));
            }
        }
    }));
}

impl Question {
    pub(super) fn answer(self, rounds: &Rounds, broker: &AnyBroker) {
        let (message, body) = match self {
            Self::Mine(message) => {
                let mine =
                    MineQuestion::decode(&message.payload).is_some_and(|question| owns(rounds, &question));
                (message, if mine { MINE } else { NOT_MINE })
            }
            Self::Cancel(message) => {
                if let Some(told) = MineQuestion::decode(&message.payload) {
                    rounds.cancel(&told, broker);
                }
                return;
            }
            Self::Ping(message) => {
                let runs = rounds.methods().iter().any(|method| {
                    let ping = method.service.subjects.parse_ping(&message.subject);
                    ping.is_some_and(|(caller, id)| runs(rounds, method, caller, id))
                });
                if !runs {
                    return;
                }
                (message, MINE)
            }
            // Who starts nothing more serves nobody.
            Self::Any(_) if rounds.is_draining() => return,
            Self::Any(message) => (message, MINE),
        };
        let Some(reply) = message.reply.filter(|reply| is_for_answers(reply)) else {
            return;
        };
        let answer = Outgoing::control(reply.to_string(), Bytes::from_static(body));
        // Without waiting for room: at most a backlog of them.
        let _ = broker.publish(answer).now_or_never();
    }
}

fn owns(rounds: &Rounds, question: &MineQuestion<'_>) -> bool {
    rounds.all().any(|held| {
        held.origin().name == question.id
            && held.look(|attempt| attempt.id() == question.attempt_id && attempt.is_mine())
    })
}

fn runs(rounds: &Rounds, method: &Arc<MethodRuntime>, caller: &str, id: &str) -> bool {
    rounds.all().any(|held| {
        let origin = held.origin();
        Arc::ptr_eq(&held.method, method)
            && (origin.caller, origin.id) == (caller, id)
            && held.look(Attempt::is_mine)
    })
}
