//! What the core asks of JetStream, on any broker: store, read, inspect, configure. Decodes answers by the table of
//! `framework/PROTOCOL.md` section 5, nothing coarser.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use serde::Deserialize;

use super::{Broker, Outgoing, SendError};
use crate::{
    subject::api,
    wire::jetstream::{
        ApiError, ConsumerConfig, ConsumerInfo, ConsumerRequest, NamesAnswer, NamesRequest, NextRequest,
        PubAck, RawMessage, ReadAnswer, ReadRequest, StreamConfig, StreamInfo, code, decode,
    },
};

/// How long one question to the server may take; whoever asks decides whether to ask again.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// The server's answer to a publish into a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StoreAnswer {
    /// Stored under this sequence.
    Stored(u64),
    /// The message id was seen before: not proof that the message is still stored.
    Duplicate,
    /// A message of this subject is stored, and one is the limit.
    Exists,
    /// Compare-and-set: another message is the last of the subject.
    WrongLast,
    /// Not known: ask again.
    InDoubt,
    /// No stream takes the subject, or its leader is not to be reached.
    NoResponders,
    /// The stream, or the account, is full.
    Full(String),
    /// The message is larger than stream or server take.
    TooLarge(String),
    /// Any other error.
    Refused(ApiError),
    /// The connection is closed for good.
    Closed,
}

/// Publishes into a stream and decodes the answer.
pub(crate) fn store<B: Broker>(
    broker: &B,
    message: Outgoing,
    within: Duration,
) -> impl Future<Output = StoreAnswer> + Send + use<B> {
    // Mapped, not awaited in a block: a block would hold the future twice, as what it captured and as what it awaits.
    broker.request(message, within).map(|answer| match answer {
        Ok(answer) => decode_store(&answer.payload),
        Err(SendError::NoResponders) => StoreAnswer::NoResponders,
        Err(SendError::TimedOut) => StoreAnswer::InDoubt,
        Err(error @ SendError::TooLarge { .. }) => StoreAnswer::TooLarge(error.to_string()),
        Err(SendError::Closed) => StoreAnswer::Closed,
    })
}

/// Decodes a publish acknowledgement.
pub(crate) fn decode_store(payload: &[u8]) -> StoreAnswer {
    let Ok(ack) = serde_json::from_slice::<PubAck>(payload) else {
        return StoreAnswer::InDoubt;
    };
    match ack.error {
        // A duplicate without a sequence is a publish that is still under way (nats-server 2.10).
        None if ack.seq == 0 => StoreAnswer::InDoubt,
        None if ack.duplicate => StoreAnswer::Duplicate,
        None => StoreAnswer::Stored(ack.seq),
        Some(error) => match error.err_code {
            code::WRONG_LAST_SEQUENCE => StoreAnswer::WrongLast,
            code::WRONG_LAST_SEQUENCE_IN_PROCESS
            | code::TEMPORARILY_UNAVAILABLE
            | code::DUPLICATE_IN_PROCESS => StoreAnswer::InDoubt,
            code::STORE_FAILED if error.description.contains(code::PER_SUBJECT) => StoreAnswer::Exists,
            code::STORE_FAILED | code::INSUFFICIENT_RESOURCES | code::STORAGE_EXCEEDED => {
                StoreAnswer::Full(error.description)
            }
            code::MESSAGE_TOO_LARGE | code::HEADER_TOO_LARGE => StoreAnswer::TooLarge(error.description),
            _ => StoreAnswer::Refused(error),
        },
    }
}

/// Why a question to JetStream got no usable answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ApiFailure {
    #[error(transparent)]
    Send(#[from] SendError),
    #[error("{0}")]
    Api(ApiError),
    #[error("an answer that cannot be read")]
    Unreadable,
}

impl ApiFailure {
    /// The server says that there is no such stream, consumer or message.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(
            self,
            Self::Api(ApiError {
                err_code: code::STREAM_NOT_FOUND | code::CONSUMER_NOT_FOUND | code::NO_MESSAGE,
                ..
            })
        )
    }
}

async fn ask<B: Broker, T: for<'de> Deserialize<'de>>(
    broker: &B,
    subject: String,
    body: impl Into<Bytes>,
) -> Result<T, ApiFailure> {
    let answer = broker.request(Outgoing::new(subject, body), ANSWER_WITHIN).await?;
    decode(&answer.payload).map_err(|_| ApiFailure::Unreadable)?.map_err(ApiFailure::Api)
}

fn json<T: serde::Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain structs have a JSON form")
}

/// A stored message with its sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) sequence: u64,
    pub(crate) payload: Bytes,
}

/// The newest message of a subject, read from the stream's leader.
pub(crate) async fn read_leader<B: Broker>(
    broker: &B,
    stream: &str,
    subject: &str,
) -> Result<Option<Found>, ApiFailure> {
    let Some(message) = read_last(broker, stream, subject).await? else {
        return Ok(None);
    };
    let payload = message.payload().ok_or(ApiFailure::Unreadable)?;
    Ok(Some(Found { sequence: message.seq, payload }))
}

/// The newest message of a subject or a pattern as it is stored, read from the stream's leader.
pub(crate) async fn read_last<B: Broker>(
    broker: &B,
    stream: &str,
    subject: &str,
) -> Result<Option<RawMessage>, ApiFailure> {
    let body = json(&ReadRequest { last_by_subj: subject });
    message_of(ask::<B, ReadAnswer>(broker, api::read_leader(stream), body).await)
}

fn message_of(answer: Result<ReadAnswer, ApiFailure>) -> Result<Option<RawMessage>, ApiFailure> {
    match answer {
        Ok(answer) => Ok(Some(answer.message)),
        Err(ApiFailure::Api(error)) if error.err_code == code::NO_MESSAGE => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// The first message from `sequence` on whose subject falls under `filter`, as it is stored. It comes as JSON, so that it
/// reaches us whatever its headers are.
pub(crate) async fn read_next<B: Broker>(
    broker: &B,
    stream: &str,
    filter: &str,
    sequence: u64,
) -> Result<Option<RawMessage>, ApiFailure> {
    let body = json(&NextRequest { seq: sequence, next_by_subj: filter });
    message_of(ask::<B, ReadAnswer>(broker, api::read_leader(stream), body).await)
}

/// The newest message of a subject from any replica. `None` proves nothing: a replica may lag.
pub(crate) async fn read_any<B: Broker>(
    broker: &B,
    stream: &str,
    subject: &str,
) -> Result<Option<Bytes>, ApiFailure> {
    let answer =
        broker.request(Outgoing::new(api::read_any(stream, subject), Bytes::new()), ANSWER_WITHIN).await?;
    match answer.status {
        None => Ok(Some(answer.payload)),
        Some(404) => Ok(None),
        Some(status) => {
            Err(ApiFailure::Api(ApiError { code: status, err_code: 0, description: answer.description }))
        }
    }
}

/// The streams that capture a subject.
pub(crate) async fn stream_names<B: Broker>(broker: &B, subject: &str) -> Result<Vec<String>, ApiFailure> {
    let answer: NamesAnswer = ask(broker, api::stream_names(), json(&NamesRequest { subject })).await?;
    Ok(answer.streams.unwrap_or_default())
}

pub(crate) async fn stream_info<B: Broker>(broker: &B, stream: &str) -> Result<StreamInfo, ApiFailure> {
    ask(broker, api::stream_info(stream), Bytes::new()).await
}

pub(crate) async fn create_stream<B: Broker>(
    broker: &B,
    config: &StreamConfig,
) -> Result<StreamInfo, ApiFailure> {
    ask(broker, api::stream_create(&config.name), json(config)).await
}

pub(crate) async fn update_stream<B: Broker>(
    broker: &B,
    config: &StreamConfig,
) -> Result<StreamInfo, ApiFailure> {
    ask(broker, api::stream_update(&config.name), json(config)).await
}

pub(crate) async fn consumer_info<B: Broker>(
    broker: &B,
    stream: &str,
    consumer: &str,
) -> Result<ConsumerInfo, ApiFailure> {
    ask(broker, api::consumer_info(stream, consumer), Bytes::new()).await
}

/// Creates a durable consumer, or updates it; `action` is `create` or `update`.
pub(crate) async fn put_consumer<B: Broker>(
    broker: &B,
    stream: &str,
    config: &ConsumerConfig,
    action: &str,
) -> Result<ConsumerInfo, ApiFailure> {
    let subject = api::consumer_create(stream, &config.durable_name, &config.filter_subject);
    ask(broker, subject, json(&ConsumerRequest { stream_name: stream, config, action })).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: u32, text: &str) -> StoreAnswer {
        decode_store(
            format!(
                r#"{{"error":{{"code":503,"err_code":{code},"description":"{text}"}},"stream":"S","seq":0}}"#
            )
            .as_bytes(),
        )
    }

    #[test]
    fn every_row_of_the_table_is_told_apart() {
        assert_eq!(decode_store(br#"{"stream":"S","seq":7}"#), StoreAnswer::Stored(7));
        assert_eq!(decode_store(br#"{"stream":"S","seq":7,"duplicate":true}"#), StoreAnswer::Duplicate);
        assert_eq!(decode_store(br#"{"stream":"S","seq":0,"duplicate":true}"#), StoreAnswer::InDoubt);
        assert_eq!(decode_store(b"+OK"), StoreAnswer::InDoubt);
        assert_eq!(answer(10071, "wrong last sequence: 3"), StoreAnswer::WrongLast);
        for doubt in [10164, 10163, 10158] {
            assert_eq!(answer(doubt, "x"), StoreAnswer::InDoubt);
        }
        assert_eq!(answer(10077, "maximum messages per subject exceeded"), StoreAnswer::Exists);
        for full in [10077, 10023, 10047] {
            assert!(matches!(answer(full, "maximum messages exceeded"), StoreAnswer::Full(_)));
        }
        for large in [10054, 10097] {
            assert!(matches!(
                answer(large, "message size exceeds maximum allowed"),
                StoreAnswer::TooLarge(_)
            ));
        }
        assert!(matches!(answer(10060, "expected stream"), StoreAnswer::Refused(_)));
    }
}
