//! The messages of one stream, by sequence and by subject.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::pattern::matches;
use crate::broker::Headers;

/// A stored message.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) sequence: u64,
    pub(crate) subject: String,
    pub(crate) headers: Headers,
    pub(crate) payload: Bytes,
    /// Nanoseconds since 1970 by the server's clock.
    pub(crate) stored: u64,
    /// For observers: the same, since the simulation began.
    pub(crate) at: u64,
    /// When the server removes it, if it carries a time to live.
    pub(super) expires: Option<u64>,
}

impl Stored {
    /// What the message counts against the limit of bytes, in a file store.
    pub(super) fn size(&self) -> u64 {
        stored_size(&self.subject, &self.headers, &self.payload)
    }
}

/// Record header, sequence, time stamp, lengths and checksum (`fileStoreMsgSizeRaw`).
pub(super) fn stored_size(subject: &str, headers: &Headers, payload: &Bytes) -> u64 {
    let headers = header_size(headers).map_or(0, |size| size + 4);
    (22 + subject.len() + headers + payload.len() + 8) as u64
}

/// How long the headers are as they cross the wire.
pub(super) fn header_size(headers: &Headers) -> Option<usize> {
    const FRAME: usize = "NATS/1.0\r\n\r\n".len();
    let line = |name: &str, value: &str| name.len() + value.len() + ": \r\n".len();
    let lines =
        |(name, values): (&str, Vec<&str>)| values.iter().map(|value| line(name, value)).sum::<usize>();
    (!headers.is_empty()).then(|| FRAME + headers.iter().map(lines).sum::<usize>())
}

/// The headers as they cross the wire, sorted, because the map they come from has no order.
pub(super) fn header_block(headers: &Headers) -> Option<String> {
    if headers.is_empty() {
        return None;
    }
    let mut lines: Vec<String> = headers
        .iter()
        .flat_map(|(name, values)| values.into_iter().map(move |value| format!("{name}: {value}\r\n")))
        .collect();
    lines.sort();
    Some(format!("NATS/1.0\r\n{}\r\n", lines.concat()))
}

/// Messages in the order of their sequences.
#[derive(Clone, Default)]
pub(super) struct Store {
    messages: BTreeMap<u64, Stored>,
    by_subject: BTreeMap<String, BTreeSet<u64>>,
    expiring: BTreeSet<(u64, u64)>,
    bytes: u64,
    last_sequence: u64,
    /// Removed by the limits, which a killed server does not remember, since the store was last empty.
    dropped: Vec<Stored>,
    /// For observers: everything that was ever stored.
    journal: Vec<Stored>,
}

impl Store {
    /// Appends a message under the next sequence.
    pub(super) fn append(&mut self, mut message: Stored) -> u64 {
        self.last_sequence += 1;
        message.sequence = self.last_sequence;
        self.journal.push(message.clone());
        self.insert(message);
        self.last_sequence
    }

    fn insert(&mut self, message: Stored) {
        self.bytes += message.size();
        self.by_subject.entry(message.subject.clone()).or_default().insert(message.sequence);
        if let Some(at) = message.expires {
            self.expiring.insert((at, message.sequence));
        }
        self.messages.insert(message.sequence, message);
    }

    /// Removes a message that the limits leave no room for.
    pub(super) fn drop_surplus(&mut self, sequence: u64) -> Option<Stored> {
        let message = self.remove(sequence)?;
        if !self.messages.is_empty() {
            self.dropped.push(message.clone());
        }
        Some(message)
    }

    /// What the limits had removed is there again.
    pub(super) fn recover(&mut self) {
        for message in std::mem::take(&mut self.dropped) {
            self.insert(message);
        }
    }

    pub(super) fn journal(&self) -> &[Stored] {
        &self.journal
    }

    pub(super) fn remove(&mut self, sequence: u64) -> Option<Stored> {
        let message = self.messages.remove(&sequence)?;
        self.bytes -= message.size();
        if let Some(sequences) = self.by_subject.get_mut(&message.subject) {
            sequences.remove(&sequence);
            if sequences.is_empty() {
                self.by_subject.remove(&message.subject);
            }
        }
        if let Some(at) = message.expires {
            self.expiring.remove(&(at, sequence));
        }
        if self.messages.is_empty() {
            self.dropped.clear();
        }
        Some(message)
    }

    pub(super) fn get(&self, sequence: u64) -> Option<&Stored> {
        self.messages.get(&sequence)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Stored> {
        self.messages.values()
    }

    /// The first message from `sequence` on whose subject falls under `filter`.
    pub(super) fn next(&self, filter: &str, sequence: u64) -> Option<&Stored> {
        self.messages.range(sequence..).map(|(_, message)| message).find(|it| matches(filter, &it.subject))
    }

    /// The newest message of a subject, or of a pattern.
    pub(super) fn last_of(&self, subject: &str) -> Option<&Stored> {
        let newest = |sequences: &BTreeSet<u64>| sequences.last().copied();
        let sequence = if subject.contains(['*', '>']) {
            let of_all = self.by_subject.iter().filter(|(there, _)| matches(subject, there));
            of_all.filter_map(|(_, sequences)| newest(sequences)).max()?
        } else {
            newest(self.by_subject.get(subject)?)?
        };
        self.messages.get(&sequence)
    }

    pub(super) fn first_of(&self, subject: &str) -> Option<&Stored> {
        self.messages.get(self.by_subject.get(subject)?.first()?)
    }

    pub(super) fn count_of(&self, subject: &str) -> usize {
        self.by_subject.get(subject).map_or(0, BTreeSet::len)
    }

    pub(super) fn subjects(&self) -> usize {
        self.by_subject.len()
    }

    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn last_sequence(&self) -> u64 {
        self.last_sequence
    }

    /// The sequence of the first message; of an emptied store, the one after its last.
    pub(super) fn first_sequence(&self) -> u64 {
        match self.messages.first_key_value() {
            Some((sequence, _)) => *sequence,
            None if self.last_sequence == 0 => 0,
            None => self.last_sequence + 1,
        }
    }

    /// When the next message expires, and which.
    pub(super) fn next_expiry(&self) -> Option<(u64, u64)> {
        self.expiring.first().copied()
    }
}
