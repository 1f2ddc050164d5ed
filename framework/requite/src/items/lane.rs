//! One direction of one call on the wire: where its frames are written, stored and heard, and where credit is given.

use std::time::Duration;

use bytes::Bytes;

#[cfg(test)]
use crate::planted::{Bug, is_planted};
use crate::{
    broker::{
        Answer, AnyBroker, Broker, Headers, Message, Outgoing, SendError, Subject,
        api::{self, ApiFailure, StoreAnswer},
        headers_of,
    },
    codec::ContentType,
    protocol::{
        items::{
            slot::{Head, Slot},
            writer::{self, Write},
        },
        time::Moment,
    },
    subject::{ANY, ServiceSubjects, Side, api::read_any, joined},
    wire::{
        VERSION,
        credit::Credit,
        frame::{Frame, OVERHEAD},
        header,
        jetstream::RawMessage,
    },
};

/// Our headers beside a frame, the same both ways, with head-room.
const HEADERS: usize = 512;
/// Why nothing can be stored where nobody answers for the stream.
const NOBODY: &str = "nobody stores items here";
/// How long one write or read may take before it is made again.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// A frame that was read: what it is, and its items.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Received {
    pub(crate) there: Slot,
    /// Which frame it says that it is.
    pub(crate) slot: Option<u64>,
    pub(crate) content_type: ContentType,
    /// The writer wants to know at once that it is here.
    pub(crate) asks: bool,
    pub(crate) items: Vec<Bytes>,
}

/// Why nobody knows what lies in a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// The stream of frames is not there, or nobody who has it.
    Gone(String),
    Unanswered,
}

impl Received {
    const FOREIGN: Self = Self {
        there: Slot::Foreign,
        slot: None,
        content_type: ContentType::MessagePack,
        asks: false,
        items: Vec::new(),
    };

    /// A message with these headers, to which the server has added its own so often.
    fn read(headers: &Headers, own: usize, payload: &Bytes) -> Self {
        if is_frame(headers, own) { Self::decode(payload) } else { Self::FOREIGN }
    }

    fn decode(payload: &Bytes) -> Self {
        let Some(frame) = Frame::decode(payload) else {
            return Self::FOREIGN;
        };
        let Some(content_type) = ContentType::parse(frame.content_type) else {
            return Self::FOREIGN;
        };
        let Frame { epoch, writer, slot, settled, first, end, .. } = frame;
        let items: Vec<Bytes> = frame.items.iter().map(|item| payload.slice_ref(item)).collect();
        let count = items.len() as u64;
        Self {
            there: Slot::Frame(Head { epoch, writer, settled, first, count, end }),
            slot,
            content_type,
            asks: frame.ask,
            items,
        }
    }

    /// Whether nothing comes behind it.
    pub(crate) fn ends(&self) -> bool {
        matches!(self.there, Slot::Frame(Head { end: Some(_), .. }))
    }

    /// What its items take.
    pub(crate) fn bytes(&self) -> u64 {
        self.items.iter().map(|item| item.len() as u64).sum()
    }
}

/// One direction of one call.
#[derive(Clone, Debug)]
pub(crate) struct Lane {
    pub(crate) broker: AnyBroker,
    pub(crate) side: Side,
    /// Whether this end is a worker's: it reads what the leader says, and callers any replica.
    pub(crate) is_workers: bool,
    /// Whether frames are stored before they are read.
    pub(crate) is_stored: bool,
    /// The stream of frames.
    pub(crate) stream: String,
    /// Where frames are stored, before the slot.
    pub(crate) frames: String,
    /// Where they are written, before the slot.
    pub(crate) puts: Subject,
    /// Where the server republishes them, before the slot.
    pub(crate) inbox: String,
    /// Where the reader gives credit to the writer.
    pub(crate) credit: String,
    /// Where a caller says that it is there, whatever else it says.
    pub(crate) alive: String,
    /// In which items are written.
    pub(crate) content_type: ContentType,
    /// How long frames are kept.
    pub(crate) kept: Duration,
}

impl Lane {
    /// The subjects of one direction of a call, which a worker writes below its own prefix.
    pub(crate) fn new(
        broker: &AnyBroker,
        subjects: &ServiceSubjects,
        (caller, id): (&str, &str),
        side: Side,
        content_type: ContentType,
        kept: Duration,
    ) -> Self {
        let frames = subjects.frames(caller, id, side);
        Self {
            broker: broker.clone(),
            side,
            is_workers: false,
            is_stored: true,
            stream: subjects.item_stream(),
            puts: frames.clone().into(),
            frames,
            inbox: subjects.frames_inbox(caller, id, side),
            credit: subjects.credit(caller, id, side),
            alive: subjects.credit(caller, id, Side::Down),
            content_type,
            kept,
        }
    }

    /// The same for a stream that is not stored.
    pub(crate) fn unstored(mut self, subjects: &ServiceSubjects, (caller, id): (&str, &str)) -> Self {
        self.is_stored = false;
        self.inbox = subjects.frames_volatile(caller, id, self.side);
        self.puts = self.inbox.clone().into();
        self
    }

    /// Whether what the server refused on this subject is a frame of this lane; what there is to do then.
    pub(crate) fn refusal(&self, denied: &str) -> Option<String> {
        let is_ours =
            if self.is_stored { slot_of(&self.puts, denied).is_some() } else { denied == &*self.puts };
        is_ours.then(|| match (self.is_workers, self.is_stored) {
            // The subject has the secret in it, and callers are told what is said here.
            (true, true) => "no permission to store items, which Permissions::worker has".to_owned(),
            (true, false) => format!("no permission to publish to {denied}, which Permissions::worker lists"),
            (false, _) => format!("no permission to publish to {denied}, which Permissions::caller lists"),
        })
    }

    /// The most bytes that one item may take.
    pub(crate) fn largest_item(&self) -> usize {
        self.broker.server().max_payload.saturating_sub(HEADERS + OVERHEAD)
    }

    fn frame(&self, write: Write) -> Outgoing {
        let subject = joined([&self.puts, &write.slot.to_string()]);
        let mut message = Outgoing::control(subject, write.payload);
        message.headers = message.headers.with(header::KIND, header::KIND_ITEMS);
        message
    }

    /// Sends a frame that is not stored, which is handed over at once. If it is lost, it is missed; `Err` if it would be every
    /// time.
    pub(crate) fn send(&self, write: Write) -> impl Future<Output = Result<(), SendError>> + Send {
        let sending = self.broker.publish(Outgoing::new(self.puts.clone(), write.payload));
        async move {
            match sending.await {
                Err(error @ SendError::TooLarge { .. }) => Err(error),
                _ => Ok(()),
            }
        }
    }

    /// Writes a frame into a slot that is empty.
    pub(crate) async fn write(&self, write: Write) -> writer::Answer {
        let mut message = self.frame(write);
        message.headers = into_empty(message.headers, self.kept);
        match api::store(&self.broker, message, ANSWER_WITHIN).await {
            StoreAnswer::Stored(_) => writer::Answer::Stored,
            StoreAnswer::Duplicate | StoreAnswer::Exists | StoreAnswer::WrongLast | StoreAnswer::InDoubt => {
                writer::Answer::InDoubt
            }
            StoreAnswer::NoResponders => writer::Answer::Refused(NOBODY.into()),
            StoreAnswer::Full(text) | StoreAnswer::TooLarge(text) => writer::Answer::Refused(text),
            StoreAnswer::Refused(error) => writer::Answer::Refused(error.to_string()),
            StoreAnswer::Closed => writer::Answer::Closed,
        }
    }

    /// What lies in a slot.
    pub(crate) async fn read(&self, slot: u64) -> Result<Option<Received>, Unread> {
        let subject = joined([&self.frames, &slot.to_string()]);
        if self.is_workers {
            let read = api::read_last(&self.broker, &self.stream, &subject).await;
            return match read {
                Ok(found) => Ok(found.map(|message| received(&message))),
                Err(failure) => Err(self.unread(&failure)),
            };
        }
        let question = Outgoing::new(read_any(&self.stream, &subject), Bytes::new());
        match self.broker.request(question, ANSWER_WITHIN).await {
            Ok(Answer { status: None, headers, payload, .. }) => {
                Ok(Some(Received::read(&headers.unwrap_or_default(), 1, &payload)))
            }
            Ok(Answer { status: Some(404), .. }) => Ok(None),
            Ok(Answer { .. }) => Err(self.unread(&ApiFailure::Unreadable)),
            Err(error) => Err(self.unread(&error.into())),
        }
    }

    fn unread(&self, failure: &ApiFailure) -> Unread {
        tracing::debug!(frames = self.frames, %failure, "a frame could not be read");
        // No replica that answers reads: there is no such stream, or nobody to be reached.
        let is_gone = failure.is_not_found() || *failure == ApiFailure::Send(SendError::NoResponders);
        if is_gone { Unread::Gone(NOBODY.into()) } else { Unread::Unanswered }
    }

    /// A slot that is taken, behind which not many can be, with what lies there.
    pub(crate) async fn last(&self) -> Result<Option<(u64, Slot)>, Unread> {
        if !self.is_workers {
            return self.last_by_trying().await;
        }
        let pattern = joined([&self.frames, ANY]);
        let read = api::read_last(&self.broker, &self.stream, &pattern).await;
        match read {
            Ok(Some(message)) => match (slot_of(&self.frames, &message.subject), received(&message).there) {
                (Some(slot), there @ Slot::Frame(_)) => Ok(Some((slot, there))),
                _ => self.last_by_trying().await,
            },
            Ok(None) => Ok(None),
            Err(failure) => Err(self.unread(&failure)),
        }
    }

    /// By the slots' numbers, for a caller may not ask otherwise: twice as far each time, and then back by halves. What is no
    /// frame may lie behind slots that are empty, and proves nothing; a writer that begins before it passes it.
    async fn last_by_trying(&self) -> Result<Option<(u64, Slot)>, Unread> {
        let Some(first) = self.read(1).await? else {
            return Ok(None);
        };
        let (mut taken, mut beyond, mut last) = (1, 2, first.there);
        while let Some(frame @ Slot::Frame(_)) = self.read(beyond).await?.map(|it| it.there) {
            (taken, beyond, last) = (beyond, beyond * 2, frame);
        }
        while taken + 1 < beyond {
            let middle = taken + (beyond - taken) / 2;
            match self.read(middle).await?.map(|it| it.there) {
                Some(frame @ Slot::Frame(_)) => (taken, last) = (middle, frame),
                _ => beyond = middle,
            }
        }
        Ok(Some((taken, last)))
    }

    /// Where frames arrive.
    pub(crate) fn listens(&self) -> String {
        if self.is_stored { joined([&self.inbox, ANY]) } else { self.inbox.clone() }
    }

    /// The slot and the frame of a message on the inbox. Where frames are stored, it counts only if the server says, and says
    /// alone, that it stored it in this slot.
    pub(crate) fn heard(&self, message: &Message) -> Option<(u64, Received)> {
        if !self.is_stored {
            let is_ours = *message.subject == *self.inbox && message.is_unmarked();
            let frame = is_ours.then(|| Received::decode(&message.payload))?;
            return Some((frame.slot?, frame));
        }
        let slot = slot_of(&self.inbox, &message.subject)?;
        let (mut stream, mut subject) = (false, false);
        for (name, last) in message.headers.lasts() {
            match name {
                header::STREAM => stream = last == self.stream,
                header::SUBJECT => subject = slot_of(&self.frames, last) == Some(slot),
                _ => {}
            }
        }
        if !stream || !subject {
            return None;
        }
        Some((slot, Received::read(&message.headers, 1, &message.payload)))
    }

    /// Tells the writer what it may send.
    pub(crate) async fn give(&self, credit: Credit) {
        let _ = self.broker.publish(Outgoing::control(self.credit.clone(), credit.encode())).await;
    }

    /// Says that this caller is there.
    pub(crate) async fn say_alive(&self) {
        let _ = self.broker.publish(Outgoing::control(self.alive.clone(), Credit::default().encode())).await;
    }

    /// From when on silence of the other side counts. A caller is there, or was a moment ago; a handler may have to wait
    /// for its turn, so it counts from its first sign of life on.
    pub(crate) fn hears_from(&self) -> Moment {
        if self.is_workers { self.broker.now() } else { Moment::FAR }
    }

    /// Whether this end is the one that says that it is there, by itself.
    pub(crate) fn says_alive(&self) -> bool {
        self.side == Side::Up && !self.is_workers
    }
}

/// What has a frame stored only where nothing is, and how long.
pub(crate) fn into_empty(headers: Headers, kept: Duration) -> Headers {
    let headers = headers.with_own(header::TTL, format!("{}s", kept.as_secs().max(1)));
    #[cfg(test)]
    if is_planted(Bug::ItemUnchecked) {
        return headers;
    }
    headers.with_own(header::EXPECTED_LAST, "0".into())
}

fn received(message: &RawMessage) -> Received {
    let headers = message.header_block().and_then(|block| headers_of(&block));
    match headers.zip(message.payload()) {
        Some((headers, payload)) => Received::read(&headers, 0, &payload),
        None => Received::FOREIGN,
    }
}

fn slot_of(prefix: &str, subject: &str) -> Option<u64> {
    subject.strip_prefix(prefix)?.parse().ok()
}

/// Whether it is a frame of ours. A stored message that somebody aimed here has the server's headers once more than `own`.
fn is_frame(headers: &Headers, own: usize) -> bool {
    headers.first(header::VERSION) == Some(VERSION)
        && headers.first(header::KIND) == Some(header::KIND_ITEMS)
        && headers.iter().all(|(name, values)| !header::SERVER_ONLY.contains(&name) || values.len() <= own)
}

/// What a message of credit on this subject says. What a worker has a consumer bring here keeps its own subject.
pub(crate) fn credit_of(message: &Message, subject: &str) -> Option<Credit> {
    let is_ours = message.is_control() && *message.subject == *subject;
    is_ours.then(|| Credit::decode(&message.payload)).flatten()
}
