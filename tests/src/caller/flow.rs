//! Calls with a stream: what is read or sent meanwhile is written down before the answer.

use requite::{Accepted, Attach, Call, CallError, ClientStream, Items, ServerStream, Sink, SinkError};

use super::{Caller, Order, Service, What};
use crate::{
    entry::{Answer, Close, End},
    mill::{Flour, Job, MillError, Work},
    stream::{Flowing, Pouring, Sack},
};

/// Whether a method has a stream.
pub(super) fn has_stream(method: &str) -> bool {
    matches!(method, "resume" | "anew" | "loose" | "fill")
}

type Reading = Call<Flour, MillError, ServerStream<Sack>>;
/// A stream to read, and its call.
type Opened = (Items<Sack>, Accepted<Flour, MillError>);
type Sending = Call<Flour, MillError, ClientStream<Sack>>;

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
}

impl Caller {
    pub(super) async fn call_with_stream(&self, order: Order) -> Answer {
        let service = &self.service;
        match order.what.clone() {
            What::Run(job, key) if order.method == "fill" => {
                let made = service.send(job.clone()).deadline(order.deadline);
                let made = if let Some(key) = key { made.key(key) } else { made };
                match made.open().await {
                    Ok((sink, accepted)) => self.sends(order, &job, sink, accepted).await,
                    Err(error) => self.write_result(order.call, Err(error), None),
                }
            }
            What::Run(job, key) => {
                let made = service.read(&order.method, job).deadline(order.deadline);
                let made = if let Some(key) = key { made.key(key) } else { made };
                let opened = made.open().await;
                self.reads(order, opened).await
            }
            What::AttachKey(key) => {
                let attached = service.read_again(&order.method, &key).deadline(order.deadline);
                let opened = attached.open().await;
                self.reads(order, opened).await
            }
            What::AttachId(id) => panic!("nobody attaches to the stream of {id}"),
        }
    }

    async fn reads(&self, order: Order, opened: Result<Opened, CallError<MillError>>) -> Answer {
        let (mut items, accepted) = match opened {
            Ok(opened) => opened,
            Err(error) => return self.write_result(order.call, Err(error), None),
        };
        let id = accepted.id().to_string();
        if matches!(order.what, What::Run(..)) {
            self.accepted(&order.call, &accepted, order.cancel);
        }
        let mut flow = Flowing::begin(&self.ledger, &self.name, &id, End::Reads(order.call.clone()));
        flow.read(&mut items, u64::MAX, true).await;
        drop(flow);
        self.write_result(order.call, accepted.await, Some(id))
    }

    async fn sends(
        &self,
        order: Order,
        job: &Job,
        mut sink: Sink<Sack>,
        accepted: Accepted<Flour, MillError>,
    ) -> Answer {
        let Work::Pour(pour) = job.work else { panic!("{:?} has no stream", job.work) };
        let id = accepted.id().to_string();
        self.accepted(&order.call, &accepted, order.cancel);
        let mut flow = Flowing::begin(&self.ledger, &self.name, &id, End::Sends(order.call.clone()));
        let pouring = Pouring { pour, attempt: 0, who: &order.call, job: &job.name, up_to_middle: false };
        let sent: Result<(), SinkError> = async {
            // Another process of this name may have begun.
            let stored = sink.items_stored().await?;
            flow.send(&mut sink, stored, &pouring).await?;
            sink.finish().await
        }
        .await;
        flow.close(match sent {
            Ok(()) => Close::All,
            Err(error) => Close::Other(error.to_string()),
        });
        drop(flow);
        self.write_result(order.call, accepted.await, Some(id))
    }
}
