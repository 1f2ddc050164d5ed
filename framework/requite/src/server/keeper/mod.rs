//! The lease keeper: an OS thread with a runtime and a connection of its own, so that handlers may block every other
//! thread and the heartbeats go on.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::sync::{Notify, SetOnce, mpsc};

use super::{
    held::Held,
    method::{MethodRuntime, ServiceRuntime},
};
use crate::{
    broker::{AnyBroker, Broker},
    error::{ConnectError, ServeError},
    protocol::time::Moment,
    turns,
};

mod control;
mod probe;
mod rounds;
mod table;
#[cfg(test)]
mod tests;

/// A handle to the keeper; clones reach the same one.
#[derive(Clone)]
pub(crate) struct Keeper {
    shared: Arc<Shared>,
}

struct Shared {
    intake: Mutex<Intake>,
    /// Woken when the intake was empty and is not any more.
    arrived: Notify,
    orders: mpsc::UnboundedSender<Order>,
}

/// Deliveries that the keeper has not looked at yet. Most handlers are short: what is over before the keeper looks is
/// taken out again, so that its memory, and the buffers that its message was part of, are free for the next ones.
#[derive(Default)]
struct Intake {
    /// How often the keeper has looked.
    looks: u64,
    arrived: Vec<Option<Arc<Held>>>,
}

/// Where a delivery waits for the keeper's next look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    look: u64,
    place: usize,
}

/// What the keeper is asked to do.
enum Order {
    /// Beat for this delivery now, and say when it is confirmed.
    Prove(Arc<Held>),
    /// Pass on what its handler reports.
    PassOn(Arc<Held>),
    /// Messages came by that ask to cancel requests of this service.
    CancelHeard(Arc<ServiceRuntime>),
    /// It is stored that this request is cancelled.
    Cancel(Arc<Held>),
    /// Nothing that asks to cancel is pulled any more.
    PullsNoMore,
    /// Hand a delivery back, after the heartbeats that were sent for it.
    Nak {
        ack: String,
        delay: Duration,
        expires: Moment,
    },
    /// Let go of what has not started, and of handlers at their checkpoints.
    Drain,
    /// Let go of everything in hand; answered when all of it is under way.
    HandOver(tokio::sync::oneshot::Sender<()>),
    /// Wait until everything that was sent before is on the server.
    SeeOff(tokio::sync::oneshot::Sender<()>),
    Stop,
}

impl Keeper {
    /// Starts the keeper. On the real broker it lives on a thread of its own; in a simulation, where time is virtual,
    /// it is a task beside the others. `closed` is set when its connection is gone for good.
    pub(crate) async fn start(
        broker: &AnyBroker,
        methods: Vec<Arc<MethodRuntime>>,
        worker: &str,
        closed: Arc<SetOnce<ServeError>>,
    ) -> Result<Self, ConnectError> {
        let (orders, inbox) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared { intake: Mutex::default(), arrived: Notify::new(), orders });
        let keeper = Self { shared };
        let name = format!("requite keeper {worker}");
        let probe = probe::Probe::new(tokio::runtime::Handle::current());
        let run = rounds::Rounds::new(keeper.clone(), methods, inbox, probe, closed);
        if let AnyBroker::Simulated(_) = broker {
            let own = broker.connect_again(&name).await?;
            tokio::spawn(turns::own_of_keeper(run.run(own)));
            return Ok(keeper);
        }
        let (connected, connection) = tokio::sync::oneshot::channel();
        let broker = broker.clone();
        std::thread::Builder::new()
            .name("requite-keeper".into())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .expect("a runtime without options can be built");
                runtime.block_on(async move {
                    // Connected from here, so that the connection's task lives on this thread too.
                    match broker.connect_again(&name).await {
                        Ok(own) => {
                            // Whoever gave up on the start has nobody to stop this thread.
                            if connected.send(Ok(())).is_ok() {
                                run.run(own).await;
                            }
                        }
                        Err(error) => drop(connected.send(Err(error))),
                    }
                });
            })
            .map_err(|error| ConnectError::InvalidSetting { name: "threads", text: error.to_string() })?;
        let ended = Err(ConnectError::InvalidSetting { name: "keeper", text: "its thread ended".into() });
        connection.await.unwrap_or(ended)?;
        Ok(keeper)
    }

    /// Takes note of a delivery: from now on it is watched, beaten for and, if it comes to that, lost in time.
    pub(crate) fn register(&self, held: &Arc<Held>) -> Ticket {
        let mut intake = self.intake();
        let ticket = Ticket { look: intake.looks, place: intake.arrived.len() };
        intake.arrived.push(Some(Arc::clone(held)));
        drop(intake);
        if ticket.place == 0 {
            self.shared.arrived.notify_one();
        }
        ticket
    }

    /// A delivery is over. Where the keeper has looked at it since, it finds that out by itself.
    pub(crate) fn forget(&self, ticket: Ticket) {
        let mut intake = self.intake();
        let held = if intake.looks == ticket.look { intake.arrived[ticket.place].take() } else { None };
        drop(intake);
        drop(held);
    }

    /// What arrived since the last time and is not over.
    fn taken_in(&self) -> impl Iterator<Item = Arc<Held>> {
        let mut intake = self.intake();
        intake.looks += 1;
        std::mem::take(&mut intake.arrived).into_iter().flatten()
    }

    fn intake(&self) -> MutexGuard<'_, Intake> {
        self.shared.intake.lock().expect("nobody panics with the intake in hand")
    }

    pub(crate) fn prove(&self, held: &Arc<Held>) {
        let _ = self.shared.orders.send(Order::Prove(Arc::clone(held)));
    }

    /// From now on passes on how far the handler is.
    pub(crate) fn pass_on_progress(&self, held: &Arc<Held>) {
        let _ = self.shared.orders.send(Order::PassOn(Arc::clone(held)));
    }

    pub(crate) fn cancel_heard(&self, service: &Arc<ServiceRuntime>) {
        let _ = self.shared.orders.send(Order::CancelHeard(Arc::clone(service)));
    }

    pub(super) fn cancel(&self, held: &Arc<Held>) {
        let _ = self.shared.orders.send(Order::Cancel(Arc::clone(held)));
    }

    pub(crate) fn nak(&self, ack: &str, delay: Duration, expires: Moment) {
        let _ = self.shared.orders.send(Order::Nak { ack: ack.to_owned(), delay, expires });
    }

    /// From now on looks by itself whether what it hears to be cancelled is.
    pub(crate) fn pulls_no_more(&self) {
        let _ = self.shared.orders.send(Order::PullsNoMore);
    }

    /// From now on lets go of what has not started, and of every handler that has a checkpoint to go on from elsewhere.
    pub(crate) fn drain(&self) {
        let _ = self.shared.orders.send(Order::Drain);
    }

    /// Lets go of everything in hand.
    pub(crate) async fn hand_over(&self) {
        let (done, all) = tokio::sync::oneshot::channel();
        if self.shared.orders.send(Order::HandOver(done)).is_ok() {
            let _ = all.await;
        }
    }

    /// Waits until what the keeper was asked to send is on the server: its thread ends with the process.
    pub(crate) async fn see_off(&self) {
        let (done, all) = tokio::sync::oneshot::channel();
        if self.shared.orders.send(Order::SeeOff(done)).is_ok() {
            let _ = all.await;
        }
    }

    pub(crate) fn stop(&self) {
        let _ = self.shared.orders.send(Order::Stop);
    }
}
