//! Calls with streams of items: opened where others are started, and read or written while they last.

use std::{any::Any, sync::Arc};

use tokio::sync::watch;

use super::{
    Accepted, Attach, Call,
    answers::{End, Outcome},
    call::{make_ready, refusal},
    drive::{Drive, OnEnd, Rest},
    events::CallEvent,
    observers::Observer,
};
use crate::{
    codec::ContentType,
    error::{CallError, Unavailable},
    items::{
        Bidirectional, ClientStream, Items, ServerStream, Sink,
        inflow::{Ending, Inflow},
        intake::Ears,
        lane::Lane,
        outflow::Outflow,
    },
    name::random_bits,
    protocol::{
        caller::Verdict,
        items::writer::{Broken, Writer},
    },
    service::{HandlerError, ItemType, Method, ReplyType},
    subject::Side,
    turns,
    wire::{position::Position, record::Status},
};

impl<T: ReplyType, E: HandlerError, D: ItemType> Call<T, E, ServerStream<D>> {
    /// Sends the call, and returns its items and what is left of it as soon as it is stored. The items end with the call;
    /// await that for its value, or for the error of the handler.
    ///
    /// ```no_run
    /// # use futures_util::{Stream, stream};
    /// # use requite::{ItemsError, prelude::*};
    /// # struct Bank;
    /// # #[service] impl Bank { #[handler] fn statement(&self, account: u64) -> impl Stream<Item = i64> { stream::iter([account as i64]) } }
    /// # async fn run(bank: BankClient) -> Result<(), Box<dyn std::error::Error>> {
    /// let (mut entries, call) = bank.statement(17).open().await?;
    /// while let Some(entry) = entries.next().await {
    ///     match entry {
    ///         Err(ItemsError::Failed) => break, // the call says why
    ///         entry => println!("{}", entry?),
    ///     }
    /// }
    /// call.await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As for a call that is awaited, if it ends before it is accepted.
    pub async fn open(self) -> Result<(Items<D>, Accepted<T, E>), CallError<E>> {
        let opened = opened(self).await?;
        Ok((opened.items(), opened.call))
    }
}

impl<T: ReplyType, E: HandlerError, U: ItemType> Call<T, E, ClientStream<U>> {
    /// Sends the call, and returns where its items go and what is left of it as soon as it is stored.
    ///
    /// ```no_run
    /// # use requite::{Items, SinkError, prelude::*};
    /// # struct Store;
    /// # #[service] impl Store { #[handler] async fn put(&self, rows: Items<String>) -> u64 { 0 } }
    /// # async fn run(store: StoreClient, rows: Vec<String>) -> Result<(), Box<dyn std::error::Error>> {
    /// let (mut sink, call) = store.put().open().await?;
    /// for row in rows {
    ///     match sink.send(row).await {
    ///         Err(SinkError::Ended | SinkError::Left) => break, // the call says why
    ///         sent => sent?,
    ///     }
    /// }
    /// sink.finish().await?;
    /// println!("{} rows", call.await?);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As for a call that is awaited, if it ends before it is accepted.
    pub async fn open(self) -> Result<(Sink<U>, Accepted<T, E>), CallError<E>> {
        let opened = opened(self).await?;
        Ok((opened.sink(), opened.call))
    }
}

impl<T: ReplyType, E: HandlerError, U: ItemType, D: ItemType> Call<T, E, Bidirectional<U, D>> {
    /// Sends the call, and returns both of its streams and what is left of it as soon as it is stored.
    ///
    /// # Errors
    ///
    /// As for a call that is awaited, if it ends before it is accepted.
    pub async fn open(self) -> Result<(Sink<U>, Items<D>, Accepted<T, E>), CallError<E>> {
        let opened = opened(self).await?;
        Ok((opened.sink(), opened.items(), opened.call))
    }
}

impl<T: ReplyType, E: HandlerError, D: ItemType> Attach<T, E, ServerStream<D>> {
    /// Reads on where [another reader](Items::position) was, with the item behind its last. Of a stream that is not stored
    /// this says nothing.
    pub fn behind(mut self, position: Position) -> Self {
        self.position = position;
        self
    }

    /// Reads the items of the call from the first one on, or from [where another reader was](Self::behind), as far as they are
    /// kept. Of a `volatile` stream from which somebody has read before, they are lost.
    ///
    /// # Errors
    ///
    /// If the key or a name cannot be used, or the connection is closed.
    pub async fn open(self) -> Result<(Items<D>, Accepted<T, E>), CallError<E>> {
        let opened = attached(self).await?;
        Ok((opened.items(), opened.call))
    }
}

impl<T: ReplyType, E: HandlerError, U: ItemType> Attach<T, E, ClientStream<U>> {
    /// Goes on with the call's stream, behind the [items that are stored](Sink::items_stored). Whoever wrote it before can
    /// add nothing more once this sink is used.
    ///
    /// # Errors
    ///
    /// If the key or a name cannot be used, or the connection is closed.
    pub async fn open(self) -> Result<(Sink<U>, Accepted<T, E>), CallError<E>> {
        let opened = attached(self).await?;
        Ok((opened.sink(), opened.call))
    }
}

impl<T: ReplyType, E: HandlerError, U: ItemType, D: ItemType> Attach<T, E, Bidirectional<U, D>> {
    /// The same as [`Attach::behind`] of a call with one stream.
    pub fn behind(mut self, position: Position) -> Self {
        self.position = position;
        self
    }

    /// Goes on with the call's stream, and reads the other from its first item on, or from [where another reader
    /// was](Self::behind). Until the sink is used, another process may go on writing.
    ///
    /// # Errors
    ///
    /// If the key or a name cannot be used, or the connection is closed.
    pub async fn open(self) -> Result<(Sink<U>, Items<D>, Accepted<T, E>), CallError<E>> {
        let opened = attached(self).await?;
        Ok((opened.sink(), opened.items(), opened.call))
    }
}

/// A call with its streams.
struct Opened<T, E> {
    flows: Flows,
    alive: Arc<dyn Any + Send + Sync>,
    content_type: ContentType,
    call: Accepted<T, E>,
}

impl<T, E> Opened<T, E> {
    fn items<D: ItemType>(&self) -> Items<D> {
        let flow = self.flows.down.as_ref().expect("its handler has such a stream");
        Items::new(Arc::clone(flow), Some(Arc::clone(&self.alive)))
    }

    fn sink<U: ItemType>(&self) -> Sink<U> {
        let flow = self.flows.up.as_ref().expect("its handler takes such a stream");
        Sink::new(Arc::clone(flow), self.content_type, Some(Arc::clone(&self.alive)))
    }
}

async fn opened<T: ReplyType, E: HandlerError, S>(call: Call<T, E, S>) -> Result<Opened<T, E>, CallError<E>> {
    let (method, require_worker) = (call.method, call.requires_worker());
    let mut drive = call.prepare()?;
    let flows = Flows::new(&drive, &method, None);
    let ears = flows.listen().await?;
    make_ready(&mut drive, require_worker).await?;
    drive.on_end = Some(flows.on_end());
    let (finished, is_fresh) = match drive.go(true).await {
        Rest::Accepted => (None, drive.is_fresh()),
        // Its hash was compared.
        Rest::Finished(Verdict::Outcome) => (Some(Verdict::Outcome), false),
        Rest::Finished(verdict) => return Err(refusal(verdict, &drive)),
    };
    Ok(flows.start(drive, finished, ears, is_fresh))
}

async fn attached<T: ReplyType, E: HandlerError, S>(
    attach: Attach<T, E, S>,
) -> Result<Opened<T, E>, CallError<E>> {
    let (method, position) = (attach.method, attach.position);
    let mut drive = attach.prepare()?;
    let flows = Flows::new(&drive, &method, Some(position));
    let ears = flows.listen().await?;
    make_ready(&mut drive, false).await?;
    drive.on_end = Some(flows.on_end());
    Ok(flows.start(drive, None, ears, false))
}

/// The caller's ends of a call's streams.
#[derive(Clone)]
struct Flows {
    up: Option<Arc<Outflow>>,
    down: Option<Arc<Inflow>>,
}

impl Flows {
    /// Of a call that is attached to, the reader goes on where another was.
    fn new(drive: &Drive, method: &Method, attached: Option<Position>) -> Self {
        let (route, id) = (&drive.target.route, drive.target.id.as_str());
        let kept = method.retention(id.starts_with("k."));
        let content_type = drive.client.config().content_type;
        let call = (route.caller.as_str(), id);
        let lane = |side| {
            let lane = Lane::new(drive.client.broker(), &route.subjects, call, side, content_type, kept);
            if method.volatile { lane.unstored(&route.subjects, call) } else { lane }
        };
        let up = method.up.then(|| {
            // Under a key of its own, and before it is accepted, nobody else can have written.
            let writer = match (method.volatile, drive.is_fresh()) {
                (true, _) => Writer::unstored(1, random_bits()),
                (false, true) => Writer::new(1, random_bits()),
                (false, false) => Writer::joining(random_bits()),
            };
            let flow = Outflow::new(lane(Side::Up), writer.up(), method.idle);
            Arc::new(if attached.is_some() { flow.idle_until_used() } else { flow })
        });
        let position = attached.filter(|_| !method.volatile).unwrap_or_default();
        let down = method.down.then(|| Arc::new(Inflow::behind(lane(Side::Down), method.idle, position)));
        Self { up, down }
    }

    /// Before the request is sent, so that no frame is missed.
    async fn listen<E>(&self) -> Result<Option<Ears>, CallError<E>> {
        match &self.down {
            Some(flow) => {
                flow.listen().await.map(Some).map_err(|_| CallError::Unavailable(Unavailable::Closed))
            }
            None => Ok(None),
        }
    }

    fn on_end(&self) -> OnEnd {
        let Self { up, down } = self.clone();
        Box::new(move |end| {
            if let Some(down) = down {
                down.end(match end {
                    End::Outcome(&Outcome { status, attempt, items, .. }) => match status {
                        Some(Status::Ok) => Ending::Value { attempt, items },
                        _ => Ending::Error { attempt, items },
                    },
                    End::Unknown | End::Dropped => Ending::Unknown,
                });
            }
            if let Some(up) = up {
                match end {
                    End::Outcome(_) | End::Unknown => up.stop(Broken::Ended),
                    End::Dropped => up.leave(),
                }
            }
        })
    }

    /// The worker's heartbeats are signs of life of its streams, too. And that the call is accepted is told once its request
    /// is known to be its own.
    fn observer(&self, is_ours: watch::Sender<bool>) -> Observer {
        let Self { up, down } = self.clone();
        Box::new(move |event| {
            if let CallEvent::Accepted { .. } = event {
                is_ours.send_replace(true);
            }
            if let CallEvent::Started { .. } | CallEvent::Restarted { .. } | CallEvent::Alive { .. } = event {
                if let Some(down) = &down {
                    down.hear();
                }
                if let Some(up) = &up {
                    up.hear();
                }
            }
        })
    }

    fn begin(self, ears: Option<Ears>, is_fresh: bool) {
        if let Some((flow, ears)) = self.down.zip(ears) {
            turns::spawn(flow.run(ears, is_fresh));
        }
        if let Some(flow) = self.up {
            turns::spawn(flow.run());
        }
    }

    /// Nothing is read, written or said of a stream before the request under its key is known to be the call's own.
    fn start<T: ReplyType, E: HandlerError>(
        self,
        drive: Drive,
        finished: Option<Verdict>,
        ears: Option<Ears>,
        is_fresh: bool,
    ) -> Opened<T, E> {
        let content_type = drive.client.config().content_type;
        let is_ours = drive.is_ours();
        let (tells, mut told) = watch::channel(is_ours);
        let mut call = Accepted::new(Box::new(drive), finished);
        let alive = call.stream(self.observer(tells));
        if is_ours {
            self.clone().begin(ears, is_fresh);
        } else {
            let flows = self.clone();
            turns::spawn(async move {
                // If it is another's, the call ends, and with it who would tell.
                if told.wait_for(|is_ours| *is_ours).await.is_ok() {
                    flows.begin(ears, is_fresh);
                }
            });
        }
        Opened { flows: self, alive, content_type, call }
    }
}
