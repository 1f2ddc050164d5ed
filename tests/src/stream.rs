//! Streams of items whose ends write down what went through them: not every item, but which numbers of which attempt
//! followed each other.

use std::time::Duration;

use requite::{Items, ItemsError, Sink, SinkError};
use serde::{Deserialize, Serialize};

use crate::{
    entry::{Close, End, Event, Flow, Piece},
    ledger::Ledger,
};

/// Between two items behind the middle of a stream that waits for the gate.
const SLOWLY: Duration = Duration::from_millis(5);
/// So many items come between two pauses of a stream that makes some.
const BREATH: u64 = 50;

/// What travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sack {
    /// The attempt that sent it; 0 where a caller did.
    pub attempt: u32,
    /// Its place in the stream, from 1.
    pub number: u64,
}

/// What is to be poured into a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pour {
    /// How many items, at least.
    pub items: u64,
    /// How many milliseconds a pause takes; there is one after some items each.
    pub pause: u64,
    /// Behind the middle it goes on slowly until the gate is open, and nobody gives up for want of a sign of life.
    pub gate: bool,
    /// Every attempt up to this one fails in the middle.
    pub fails: u32,
}

impl Pour {
    /// The number of the item in the middle.
    pub fn middle(&self) -> u64 {
        self.items / 2
    }

    /// Goes on slowly behind the middle until the gate is open.
    pub fn to_the_gate(items: u64) -> Self {
        Self { items, pause: 0, gate: true, fails: 0 }
    }
}

/// One end of a stream that is in use; what went through is written down with its end.
pub struct Flowing {
    ledger: Ledger,
    flow: Flow,
}

impl Drop for Flowing {
    fn drop(&mut self) {
        self.ledger.write(Event::Flow(self.flow.clone()));
    }
}

impl Flowing {
    /// Of the request with this caller and id.
    pub fn begin(ledger: &Ledger, caller: &str, id: &str, end: End) -> Self {
        let (caller, id) = (caller.to_owned(), id.to_owned());
        let flow = Flow { caller, id, end, pieces: Vec::new(), close: Close::Dropped };
        Self { ledger: ledger.clone(), flow }
    }

    /// The number of the last item that went through.
    pub fn last(&self) -> u64 {
        match self.flow.pieces.last() {
            Some(Piece::Items { last, .. }) => *last,
            Some(Piece::Restarted(_)) | None => 0,
        }
    }

    /// Says how it ended.
    pub fn close(&mut self, close: Close) {
        self.flow.close = close;
    }

    /// How it ended, as far as that was said.
    pub fn closed(&self) -> &Close {
        &self.flow.close
    }

    /// Says why it took no more.
    pub fn refused(&mut self, error: &SinkError) {
        self.close(match error {
            SinkError::Left => Close::Left,
            error => Close::Other(error.to_string()),
        });
    }

    fn pass(&mut self, sack: Sack) {
        match self.flow.pieces.last_mut() {
            Some(Piece::Items { attempt, last, .. })
                if *attempt == sack.attempt && last.checked_add(1) == Some(sack.number) =>
            {
                *last = sack.number;
            }
            _ => {
                let Sack { attempt, number } = sack;
                self.flow.pieces.push(Piece::Items { attempt, first: number, last: number });
            }
        }
    }

    /// Reads on until an item has this number or nothing more comes; says whether it was such an item. Who is patient
    /// outwaits silence.
    pub async fn read(&mut self, items: &mut Items<Sack>, until: u64, is_patient: bool) -> bool {
        self.close(Close::Dropped);
        let close = loop {
            match items.next().await {
                Some(Ok(sack)) => {
                    self.pass(sack);
                    if sack.number == until {
                        return true;
                    }
                }
                Some(Err(ItemsError::Restarted { attempt })) => {
                    self.flow.pieces.push(Piece::Restarted(attempt));
                }
                Some(Err(ItemsError::Silent { .. })) if is_patient => {}
                Some(Err(silent @ ItemsError::Silent { .. })) => break Close::Other(silent.to_string()),
                Some(Err(ItemsError::Failed)) => break Close::Failed,
                Some(Err(ItemsError::Abandoned)) => break Close::Abandoned,
                Some(Err(ItemsError::Closed)) => break Close::Closed,
                Some(Err(error)) => break Close::Wrong(error.to_string()),
                None => break Close::All,
            }
        };
        self.close(close);
        false
    }

    /// Sends items behind `last` until this number, or, where there is no such number, as many as are to be poured.
    ///
    /// # Errors
    ///
    /// When the stream does not take them; that is written down as well.
    pub async fn send(
        &mut self,
        sink: &mut Sink<Sack>,
        last: u64,
        pouring: &Pouring<'_>,
    ) -> Result<(), SinkError> {
        let sent = self.pour(sink, last, pouring).await;
        if let Err(error) = &sent {
            self.refused(error);
        }
        sent
    }

    async fn pour(
        &mut self,
        sink: &mut Sink<Sack>,
        mut last: u64,
        pouring: &Pouring<'_>,
    ) -> Result<(), SinkError> {
        let Pouring { pour, attempt, who, job, up_to_middle } = *pouring;
        // The place where it goes on, also if there is nothing left to send.
        self.flow.pieces.push(Piece::Items { attempt, first: last + 1, last });
        let (mut is_open, mut is_told) = (!pour.gate, false);
        while last < pour.items || !is_open {
            if last >= pour.middle() && !is_told {
                if up_to_middle {
                    return sink.flush().await;
                }
                is_told = true;
                self.ledger.write(Event::Midway { who: who.to_owned(), job: job.to_owned() });
            }
            let sack = Sack { attempt, number: last + 1 };
            match sink.send(sack).await {
                // It may be offered again.
                Err(SinkError::Silent { .. }) if pour.gate => continue,
                sent => sent?,
            }
            last += 1;
            self.pass(sack);
            if is_told && !is_open {
                tokio::time::sleep(SLOWLY).await;
                is_open = self.ledger.is_open();
            }
            if pour.pause > 0 && last.is_multiple_of(BREATH) {
                tokio::time::sleep(Duration::from_millis(pour.pause)).await;
            }
        }
        Ok(())
    }
}

/// Who pours what.
#[derive(Clone, Copy, Debug)]
pub struct Pouring<'a> {
    /// What.
    pub pour: Pour,
    /// Stands on every item.
    pub attempt: u32,
    /// The call, or the worker.
    pub who: &'a str,
    /// The job.
    pub job: &'a str,
    /// Whether that is all, for this time.
    pub up_to_middle: bool,
}
