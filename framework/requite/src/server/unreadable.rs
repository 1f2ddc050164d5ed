//! Requests that no worker ever sees, because the NATS client closes its connection over their bytes. They come back
//! with every lease, so a connection that is cut twice within two of them is a reason to look: what the consumer has
//! delivered is read as JSON, and what the client could not have read is buried.

use std::time::Duration;

use bytes::Bytes;

use super::{method::MethodRuntime, settle, stats::count};
use crate::{
    broker::{
        AnyBroker, Broker, Headers, Outgoing,
        api::{self, ANSWER_WITHIN, ApiFailure},
        what_cannot_be_read,
    },
    protocol::time::Moment,
    subject::ack_by_sequence,
    wire::jetstream::RawMessage,
};

/// The most messages that are read in one inspection; the next one goes on behind them.
const MOST: usize = 256;

/// When to look, and from where on.
#[derive(Debug)]
pub(crate) struct Inspector {
    lease: Duration,
    last_cut: Option<Moment>,
    is_due: bool,
    /// Everything below was looked at, back to the start of what is not settled.
    next: u64,
}

impl Inspector {
    pub(crate) fn new(lease: Duration) -> Self {
        Self { lease, last_cut: None, is_due: false, next: 0 }
    }

    /// A worker that starts looks once: its predecessor may have been ended by what it would find.
    pub(crate) fn at_start(lease: Duration) -> Self {
        Self { is_due: true, ..Self::new(lease) }
    }

    /// The connection was cut. Once may be the network; what is delivered again cuts it again.
    pub(crate) fn disconnected(&mut self, now: Moment) {
        self.is_due |= self.last_cut.is_some_and(|last| now.since(last) <= self.lease * 2);
        self.last_cut = Some(now);
    }

    /// The worker is bound again: it does not look before the next cut, not even if it could not.
    pub(crate) fn bound(&mut self) {
        self.is_due = false;
    }

    /// Looks through what the consumer has delivered, if there is a reason to. While it does, its worker pulls nothing,
    /// so it takes no longer than a heartbeat interval and the last answer.
    pub(crate) async fn inspect(&mut self, broker: &AnyBroker, method: &MethodRuntime) {
        if self.is_due
            && let Err(failure) = self.walk(broker, method).await
        {
            let method = method.options.name;
            tracing::warn!(method, %failure, "cannot look for requests that cut the connection");
        }
    }

    async fn walk(&mut self, broker: &AnyBroker, method: &MethodRuntime) -> Result<(), ApiFailure> {
        let (stream, name) = (&method.service.request_stream, method.options.name);
        let filter = method.service.subjects.requests(name);
        let consumer = api::consumer_info(broker, stream, name).await?;
        let until = broker.now() + method.times.heartbeat();
        self.next = self.next.max(consumer.ack_floor.stream_seq + 1);
        for _ in 0..MOST {
            if broker.now() >= until {
                return Ok(());
            }
            let found = api::read_next(broker, stream, &filter, self.next).await?;
            let Some(message) = found.filter(|it| it.seq <= consumer.delivered.stream_seq) else {
                self.next = 0;
                return Ok(());
            };
            let headers = message.header_block().ok_or(ApiFailure::Unreadable)?;
            if let Some(reason) = what_cannot_be_read(&message.subject, &headers) {
                bury(&message, reason, broker, method).await?;
            }
            self.next = message.seq + 1;
        }
        Ok(())
    }
}

/// Keeps the body for people and acks. Nobody can have the message in hand, so nobody's is taken.
async fn bury(
    message: &RawMessage,
    reason: &'static str,
    broker: &AnyBroker,
    method: &MethodRuntime,
) -> Result<(), ApiFailure> {
    let (service, name, sequence) = (&method.service, method.options.name, message.seq);
    tracing::warn!(sequence, subject = message.subject, reason, "a request that cut the connection");
    let letter = service.subjects.dead_letter_unseen(&message.subject, name, sequence);
    let body = message.payload().ok_or(ApiFailure::Unreadable)?;
    if settle::store_dead_letter(letter, Headers::default(), body, reason, sequence, broker).await {
        count(&service.counters.dead_letters);
        let ack = ack_by_sequence(&service.request_stream, name, sequence);
        broker.request(Outgoing::new(ack, Bytes::from_static(b"+ACK")), ANSWER_WITHIN).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(6);

    fn after(cuts: &[u64]) -> Inspector {
        let mut inspector = Inspector::new(LEASE);
        for second in cuts {
            inspector.disconnected(Moment(0) + Duration::from_secs(*second));
        }
        inspector
    }

    #[test]
    fn only_a_second_cut_within_two_leases_is_a_reason_to_look() {
        for (cuts, is_due) in [
            (&[][..], false),
            (&[100], false),
            (&[100, 106], true),
            (&[100, 112], true),
            (&[100, 113], false),
            (&[100, 113, 120], true),
            (&[100, 106, 200], true),
        ] {
            assert_eq!(after(cuts).is_due, is_due, "{cuts:?}");
        }
    }

    #[test]
    fn a_look_needs_another_cut() {
        let mut inspector = after(&[100, 106]);
        inspector.bound();
        assert!(!inspector.is_due);
        inspector.disconnected(Moment(0) + Duration::from_secs(112));
        assert!(inspector.is_due);
    }
}
