//! Calls with a stream: what is read or sent meanwhile is written down before the answer.

use std::time::Duration;

use requite::{
    Accepted, Attach, Bidirectional, Call, CallError, ClientStream, Items, ServerStream, Sink, SinkError,
};

use super::{Caller, Order, Service, What};
use crate::{
    entry::{Answer, Close, End},
    mill::{Flour, Job, MillError, Work},
    stream::{Flowing, Pouring, Sack},
};

/// Whether a method has a stream.
pub(super) fn has_stream(method: &str) -> bool {
    matches!(method, "resume" | "anew" | "loose" | "fill" | "trade")
}

type Reading = Call<Flour, MillError, ServerStream<Sack>>;
type Sending = Call<Flour, MillError, ClientStream<Sack>>;
type Trading = Call<Flour, MillError, Bidirectional<Sack, Sack>>;

/// A call, and the ends of its streams that there are.
struct Opened {
    sink: Option<Sink<Sack>>,
    items: Option<Items<Sack>>,
    accepted: Accepted<Flour, MillError>,
}

impl Opened {
    fn to_read((items, accepted): (Items<Sack>, Accepted<Flour, MillError>)) -> Self {
        Self { sink: None, items: Some(items), accepted }
    }
}

/// What every call is made with.
fn made<S>(
    call: Call<Flour, MillError, S>,
    key: Option<String>,
    deadline: Duration,
) -> Call<Flour, MillError, S> {
    let call = call.deadline(deadline);
    if let Some(key) = key { call.key(key) } else { call }
}

impl Service {
    fn read(&self, method: &str, job: Job) -> Reading {
        match (self, method) {
            (Self::Mill(mill), "resume") => mill.resume(job),
            (Self::Mill(mill), "anew") => mill.anew(job),
            (Self::Mill(mill), "loose") => mill.loose(job),
            (Self::Silo(silo), "resume") => silo.resume(job),
            (Self::Silo(silo), "anew") => silo.anew(job),
            (Self::Silo(silo), "loose") => silo.loose(job),
            _ => panic!("{method} of {} sends no stream", self.name()),
        }
    }

    fn read_again(&self, method: &str, key: &str) -> Attach<Flour, MillError, ServerStream<Sack>> {
        match (self, method) {
            (Self::Mill(mill), "resume") => mill.attach_resume(key),
            (Self::Mill(mill), "anew") => mill.attach_anew(key),
            (Self::Silo(silo), "resume") => silo.attach_resume(key),
            (Self::Silo(silo), "anew") => silo.attach_anew(key),
            _ => panic!("nobody reads {method} of {} again", self.name()),
        }
    }

    fn send(&self, job: Job) -> Sending {
        match self {
            Self::Mill(mill) => mill.fill(job),
            Self::Silo(silo) => silo.fill(job),
        }
    }
    fn trade(&self, job: Job) -> Trading {
        match self {
            Self::Mill(mill) => mill.trade(job),
            Self::Silo(silo) => silo.trade(job),
        }
    }
}

impl Caller {
    pub(super) async fn call_with_stream(&self, order: Order) -> Answer {
        let Opened { sink, items, accepted } = match self.open(&order).await {
            Ok(opened) => opened,
            Err(error) => return self.write_result(order.call, Err(error), None),
        };
        let id = accepted.id().to_string();
        if matches!(order.what, What::Run(..)) {
            self.accepted(&order.call, &accepted, order.cancel);
        }
        let reads = async {
            if let Some(items) = items {
                self.reads(&order, &id, items).await;
            }
        };
        let sends = async {
            if let Some(sink) = sink {
                self.sends(&order, &id, sink).await;
            }
        };
        tokio::join!(reads, sends);
        self.write_result(order.call, accepted.await, Some(id))
    }

    async fn open(&self, order: &Order) -> Result<Opened, CallError<MillError>> {
        let (service, deadline) = (&self.service, order.deadline);
        match (order.what.clone(), &*order.method) {
            (What::Run(job, key), "fill") => {
                let (sink, accepted) = made(service.send(job), key, deadline).open().await?;
                Ok(Opened { sink: Some(sink), items: None, accepted })
            }
            (What::Run(job, key), "trade") => {
                let (sink, items, accepted) = made(service.trade(job), key, deadline).open().await?;
                Ok(Opened { sink: Some(sink), items: Some(items), accepted })
            }
            (What::Run(job, key), method) => {
                made(service.read(method, job), key, deadline).open().await.map(Opened::to_read)
            }
            (What::AttachKey(key), method) => {
                service.read_again(method, &key).deadline(deadline).open().await.map(Opened::to_read)
            }
            (What::AttachId(id), _) => panic!("nobody attaches to the stream of {id}"),
        }
    }

    async fn reads(&self, order: &Order, id: &str, mut items: Items<Sack>) {
        let mut flow = Flowing::begin(&self.ledger, &self.name, id, End::Reads(order.call.clone()));
        if flow.read(&mut items, order.leaves.unwrap_or(u64::MAX), true).await {
            flow.close(Close::Left);
        }
    }

    async fn sends(&self, order: &Order, id: &str, mut sink: Sink<Sack>) {
        let What::Run(job, _) = &order.what else { panic!("{:?} sends nothing", order.what) };
        let Work::Pour(pour) = job.work else { panic!("{:?} has no stream", job.work) };
        let mut flow = Flowing::begin(&self.ledger, &self.name, id, End::Sends(order.call.clone()));
        let pouring = Pouring { pour, attempt: 0, who: &order.call, job: &job.name, up_to_middle: false };
        let sent: Result<(), SinkError> = async {
            // Another process of this name may have begun.
            let stored = sink.items_stored().await?;
            flow.send(&mut sink, stored, &pouring).await?;
            sink.finish().await
        }
        .await;
        match sent {
            Ok(()) => flow.close(Close::All),
            Err(error) => flow.refused(&error),
        }
    }
}
