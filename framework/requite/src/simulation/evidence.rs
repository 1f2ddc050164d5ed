//! What the broker has to show for a run: requests, records and dead letters as they were stored, read back.

use std::{collections::BTreeMap, time::Duration};

use super::{
    history::{Answer, Reached},
    plan::Job,
    stage::Played,
    worker::{Done, Failure},
};
use crate::{
    broker::simulated::Stored,
    codec::{self, ContentType, Limits},
    subject::CANCEL,
    wire::{
        checkpoint::Checkpoint,
        progress::StoredProgress,
        record::{AttemptId, Kind, Record, Status},
    },
};

/// A record as it was written.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub(super) at: Duration,
    pub(super) kind: Kind,
    pub(super) attempt: u32,
    pub(super) attempt_id: AttemptId,
    /// On a released record: it was handed over, and not released for a retry.
    pub(super) handed_over: bool,
    /// It says that the request is cancelled.
    pub(super) cancelled: bool,
    /// On an outcome.
    pub(super) answer: Option<Answer>,
}

/// Progress that was stored.
pub(super) struct Reported {
    pub(super) id: String,
    pub(super) attempt: u32,
    /// The kind and attempt of the request's record at that time.
    pub(super) record: Option<(Kind, u32)>,
}

/// Everything by `<caller>.<id>`.
#[derive(Default)]
pub(super) struct Evidence {
    /// When each request was stored, and for which job.
    pub(super) requests: BTreeMap<String, Vec<(Duration, u32)>>,
    pub(super) records: BTreeMap<String, Vec<Written>>,
    /// When each checkpoint was stored, by which attempt, and how far that had come.
    pub(super) checkpoints: BTreeMap<String, Vec<(Duration, u32, Reached)>>,
    /// Progress as it was stored, of all requests.
    pub(super) progress: Vec<Reported>,
    pub(super) dead_letters: BTreeMap<String, Vec<Duration>>,
}

impl Evidence {
    pub(super) fn read(played: &Played) -> Self {
        let at = |stored: &Stored| Duration::from_nanos(stored.at);
        let mut evidence = Self::default();
        let calls = |stored: &&Stored| !stored.subject.contains(CANCEL);
        for stored in played.requests.iter().filter(calls) {
            let job: Job = decode(&stored.payload);
            evidence.requests.entry(id_of(stored)).or_default().push((at(stored), job.tag));
        }
        for stored in &played.records {
            if stored.subject.starts_with("rq.chk.") {
                let checkpoint = Checkpoint::decode(&stored.payload).expect("only workers write checkpoints");
                let stored_by = (at(stored), checkpoint.attempt, decode(checkpoint.body));
                evidence.checkpoints.entry(id_of(stored)).or_default().push(stored_by);
                continue;
            }
            if stored.subject.starts_with("rq.pgr.") {
                let progress = StoredProgress::decode(&stored.payload).expect("only workers write progress");
                let last = evidence.records.get(&id_of(stored)).and_then(|records| records.last());
                let last = last.map(|record| (record.kind, record.attempt));
                evidence.progress.push(Reported {
                    id: id_of(stored),
                    attempt: progress.attempt,
                    record: last,
                });
                continue;
            }
            evidence.records.entry(id_of(stored)).or_default().push(written(stored, at(stored)));
        }
        for stored in &played.dead_letters {
            evidence.dead_letters.entry(id_of(stored)).or_default().push(at(stored));
        }
        evidence
    }

    /// The first outcome of a request.
    pub(super) fn outcome(&self, id: &str) -> Option<(Duration, &Answer)> {
        self.records.get(id)?.iter().find_map(|it| it.answer.as_ref().map(|answer| (it.at, answer)))
    }

    /// The id under which a job was stored.
    pub(super) fn id_of_job(&self, tag: u32) -> Option<&str> {
        let stored = self.requests.iter().find(|(_, copies)| copies.iter().any(|(_, it)| *it == tag));
        stored.map(|(id, _)| id.as_str())
    }
}

/// Every subject here ends with caller and id, three tokens.
pub(super) fn id_of(stored: &Stored) -> String {
    let tokens: Vec<&str> = stored.subject.rsplitn(4, '.').collect();
    format!("{}.{}.{}", tokens[2], tokens[1], tokens[0])
}

fn decode<T: serde::de::DeserializeOwned>(body: &[u8]) -> T {
    codec::decode(ContentType::default(), body, &Limits::default()).expect("what was encoded here")
}

fn written(stored: &Stored, at: Duration) -> Written {
    let record = Record::decode(&stored.payload).expect("only workers write records");
    let answer = (record.kind == Kind::Outcome).then(|| match (record.status, record.body) {
        (Some(Status::Ok), Some(body)) => Answer::Value(decode::<Done>(body).run),
        (Some(Status::Failed), Some(body)) => Answer::Failed(decode::<Failure>(body).run),
        (Some(Status::Cancelled), _) => Answer::Cancelled { may_have_run: record.attempt > 0 },
        (Some(Status::Rejected), _) => Answer::Rejected(record.reason.expect("a rejection has a reason")),
        _ => Answer::Aborted(record.reason.expect("an outcome without a body has a reason")),
    });
    let handed_over = record.kind == Kind::Released && record.error.is_none();
    Written {
        at,
        kind: record.kind,
        attempt: record.attempt,
        attempt_id: record.attempt_id,
        handed_over,
        cancelled: record.cancel || record.kind == Kind::CancelRequested,
        answer,
    }
}
