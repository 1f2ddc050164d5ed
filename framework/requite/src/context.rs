//! What a handler is told about its request.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    codec::{self, ContentType, Limits},
    error::{CheckpointError, SinkError},
    items::{Items, Sink},
    progress::Progress,
    protocol::lease::LeaseState,
    server::{
        checkpoint,
        held::{Held, Stop},
        keeper::Keeper,
        progress,
        streams::{self, Undelivered},
    },
    service::{ItemType, NoError},
};

/// What a handler may know of the request it runs: who asked, which attempt it is, whether it should stop.
///
/// ```
/// # use requite::prelude::*;
/// # struct Shop;
/// #[service]
/// impl Shop {
///     #[handler]
///     async fn charge(&self, cx: &Context, cents: u64) -> String {
///         // The bank drops a second charge with the same key, whichever attempt sends it.
///         format!("{cents} cents under {}, attempt {}", cx.idempotency_key(), cx.attempt())
///     }
/// }
/// ```
#[derive(Clone)]
pub struct Context {
    held: Arc<Held>,
    keeper: Keeper,
}

impl Context {
    pub(crate) fn new(held: Arc<Held>, keeper: Keeper) -> Self {
        Self { held, keeper }
    }

    /// The options of the handler.
    #[cfg(test)]
    pub(crate) fn method(&self) -> crate::service::Method {
        self.held.method.options
    }

    /// Tells the statistics that the handler has what it takes, and runs.
    pub(crate) fn count_run(&self) {
        self.held.count_run();
    }

    /// 1 for the first attempt. Above 1, an earlier attempt may have begun and may have had effects.
    pub fn attempt(&self) -> u32 {
        self.held.look(super::protocol::attempt::Attempt::number)
    }

    /// The same in every attempt of one request, and different for every other request: hand it to systems that can
    /// drop repetitions.
    pub fn idempotency_key(&self) -> String {
        let origin = self.held.origin();
        format!("{}.{}.{}", self.held.method.options.service, origin.caller, origin.id)
    }

    /// The request's id.
    pub fn id(&self) -> &str {
        self.held.origin().id
    }

    /// The name of the caller, as its credentials allow it to be used.
    pub fn caller(&self) -> &str {
        self.held.origin().caller
    }

    /// A number that grows with every attempt of the request, for systems that refuse older ones. Always there in a
    /// handler declared `fenced` or `once`; elsewhere only once the request had to be claimed.
    pub fn fencing_token(&self) -> Option<u64> {
        self.held.look(super::protocol::attempt::Attempt::fence)
    }

    /// Whether the lease was confirmed lately. When not, another worker may be given the request soon: a careful
    /// handler starts nothing that it cannot repeat.
    pub fn lease_ok(&self) -> bool {
        self.held.stopping() == Stop::No && self.held.lease().state(self.held.now()) == LeaseState::Held
    }

    /// Resolves when the handler has to stop: its lease is lost, or the worker shuts down and its time is over, or it has
    /// a checkpoint to go on from elsewhere. The handler's future is dropped at its next `await`, so only work on other
    /// tasks or threads needs this.
    pub async fn stopped(&self) {
        self.held.stopped().await;
    }

    /// Whether [`Context::stopped`] has resolved; for code that blocks.
    pub fn is_stopped(&self) -> bool {
        self.held.stopping() != Stop::No
    }

    /// Resolves when the request is cancelled. The handler may still end in its own way, with a value or an error, within
    /// its `kill_after`, 30 s by default; after that its future is dropped, and the request has ended as cancelled. It is not
    /// tried again.
    ///
    /// ```
    /// # use requite::prelude::*;
    /// # struct Shop;
    /// # impl Shop { async fn ship(&self, parcel: u32) {} }
    /// #[service]
    /// impl Shop {
    ///     /// How many were shipped.
    ///     #[handler(kill_after = "10s")]
    ///     async fn ship_all(&self, cx: &Context, parcels: Vec<u32>) -> usize {
    ///         for (at, parcel) in parcels.iter().enumerate() {
    ///             tokio::select! {
    ///                 () = self.ship(*parcel) => {}
    ///                 () = cx.cancelled() => return at,
    ///             }
    ///         }
    ///         parcels.len()
    ///     }
    /// }
    /// ```
    pub async fn cancelled(&self) {
        self.held.until(|| self.held.cancelled().is_some()).await;
    }

    /// Whether [`Context::cancelled`] has resolved; for code that blocks.
    pub fn is_cancelled(&self) -> bool {
        self.held.cancelled().is_some()
    }

    /// How long until the caller's deadline, by the server's clock; nothing if the request carries none.
    pub fn remaining(&self) -> Option<Duration> {
        self.held.left()
    }

    /// When the caller's deadline passes, by this machine's clock; nothing if the request carries none. It is judged by
    /// the server's clock, as far as that is known here, and never by the caller's. Calls that the handler makes on its
    /// own task end by then.
    ///
    /// ```
    /// # use requite::prelude::*;
    /// # struct Shop;
    /// # async fn look_up(name: &str) -> Option<u64> { None }
    /// #[service]
    /// impl Shop {
    ///     #[handler]
    ///     async fn price(&self, cx: &Context, name: String) -> Option<u64> {
    ///         match cx.deadline() {
    ///             Some(at) => tokio::time::timeout_at(at.into(), look_up(&name)).await.ok()?,
    ///             None => look_up(&name).await,
    ///         }
    ///     }
    /// }
    /// ```
    pub fn deadline(&self) -> Option<Instant> {
        Instant::now().checked_add(self.held.left()?)
    }

    /// Stores what the next attempt has to know, should this one not come to its end. When this returns, it is stored; a
    /// later checkpoint replaces it. It is kept until the caller's deadline, and ends with it.
    ///
    /// A worker that shuts down hands on what has a checkpoint: there the handler is dropped at its next `await`, at the
    /// latest at the next checkpoint, behind which it does not go on, and another worker's begins with the last one. Not so
    /// where the handler is `once`.
    ///
    /// It costs one round trip to the record stream, the first one of an attempt that had no claim yet two. While no server
    /// can be reached it waits, but not longer than the lease lasts. A handler that makes several at once stores the last
    /// of those that wait for their turn.
    ///
    /// ```
    /// # use requite::prelude::*;
    /// # struct Shop;
    /// # impl Shop { async fn ship(&self, parcel: u32) {} }
    /// #[derive(Clone, Debug, thiserror::Error, Serialize, Deserialize, CallError)]
    /// #[error("interrupted")]
    /// #[retry]
    /// struct Interrupted;
    ///
    /// #[service]
    /// impl Shop {
    ///     #[handler]
    ///     async fn ship_all(&self, cx: &Context, parcels: Vec<u32>) -> Result<(), Interrupted> {
    ///         let shipped: usize = cx.last_checkpoint().map_err(|_| Interrupted)?.unwrap_or(0);
    ///         for (at, parcel) in parcels.iter().enumerate().skip(shipped) {
    ///             self.ship(*parcel).await;
    ///             cx.checkpoint(&(at + 1)).await.map_err(|_| Interrupted)?;
    ///         }
    ///         Ok(())
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// If the handler has to stop, because another worker may have the request by now; or if the checkpoint cannot be
    /// encoded, is too large for the server, or finds no room. A handler that does not need it may go on then.
    pub async fn checkpoint<T: Serialize + ?Sized>(&self, state: &T) -> Result<(), CheckpointError> {
        let body = codec::encode(ContentType::MessagePack, state)
            .map_err(|error| CheckpointError::Unencodable { text: error.to_string() })?;
        checkpoint::store(&self.held, &self.keeper, body).await
    }

    /// The last checkpoint that this request's handler has stored, in this attempt or an earlier one; nothing if there is
    /// none. Costs no round trip.
    ///
    /// # Errors
    ///
    /// If it is no `T`.
    pub fn last_checkpoint<T: DeserializeOwned>(&self) -> Result<Option<T>, CheckpointError> {
        let decode = |body: Bytes| codec::decode(ContentType::MessagePack, &body, &Limits::default());
        let last = checkpoint::last(&self.held).map(decode).transpose();
        last.map_err(|error| CheckpointError::Undecodable { text: error.to_string() })
    }

    /// Tells the caller how far the handler is. It never waits and never fails: reports that follow each other within a
    /// tenth of a second are passed on as one, the newest, and so is the last one before the outcome dropped. Of a handler
    /// that runs for longer than a second, the newest is also stored, once a second and with every
    /// [checkpoint](Self::checkpoint), for whoever begins to watch later. Heartbeats go on without it.
    ///
    /// ```
    /// # use requite::{Progress, prelude::*};
    /// # struct Shop;
    /// # impl Shop { async fn ship(&self, parcel: u32) {} }
    /// #[service]
    /// impl Shop {
    ///     #[handler]
    ///     async fn ship_all(&self, cx: &Context, parcels: Vec<u32>) {
    ///         for (at, parcel) in parcels.iter().enumerate() {
    ///             self.ship(*parcel).await;
    ///             cx.progress(Progress::of(at + 1, parcels.len()));
    ///         }
    ///     }
    /// }
    /// ```
    pub fn progress(&self, progress: Progress) {
        progress::report(&self.held, &self.keeper, progress);
    }

    /// How many items of this handler's stream earlier attempts have stored; the next item comes behind them. Ask before
    /// the first item is sent: a later attempt that does not ask begins the stream anew, and its caller is told so.
    ///
    /// From here on no earlier attempt can add any more. Of a `volatile` stream it is 0: nothing is stored, and a later attempt
    /// always begins anew.
    ///
    /// ```
    /// # use requite::{Sink, SinkError, prelude::*};
    /// # struct Export;
    /// #[service]
    /// impl Export {
    ///     #[handler]
    ///     async fn numbers(&self, cx: &Context, up_to: u64, mut sink: Sink<u64>) -> u64 {
    ///         let Ok(stored) = cx.items_stored().await else { return 0 };
    ///         for number in stored + 1..=up_to {
    ///             if sink.send(number).await.is_err() {
    ///                 return number;
    ///             }
    ///         }
    ///         up_to
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// If the handler has to stop, or what is stored cannot be found out.
    ///
    /// # Panics
    ///
    /// In a handler without a stream to its caller.
    pub async fn items_stored(&self) -> Result<u64, SinkError> {
        assert!(self.held.method.options.down, "the handler has no stream to its caller");
        streams::sink(&self.held, &self.keeper).stored().await
    }

    /// The caller's W3C trace context, where it sent one.
    pub fn trace_parent(&self) -> Option<&str> {
        self.held.envelope.trace_parent.as_deref()
    }
}

/// What the caller sends.
#[doc(hidden)]
pub fn items<U: ItemType>(cx: &Context) -> Items<U> {
    Items::new(streams::items(&cx.held), None)
}

/// What the caller reads.
#[doc(hidden)]
pub fn sink<D: ItemType>(cx: &Context) -> Sink<D> {
    Sink::new(streams::sink(&cx.held, &cx.keeper), cx.held.envelope.content_type, None)
}

/// Sends what a handler has returned as a stream. Once its call is cancelled nobody is left who could end it.
#[doc(hidden)]
pub async fn stream<D: ItemType, E>(cx: &Context, items: impl Stream<Item = Result<D, E>>) -> Result<(), E> {
    tokio::select! {
        biased;
        () = cx.cancelled() => {
            cx.held.set_undelivered(Undelivered::Cancelled);
            Ok(())
        }
        sent = send(cx, items) => sent,
    }
}

async fn send<D: ItemType, E>(cx: &Context, items: impl Stream<Item = Result<D, E>>) -> Result<(), E> {
    let (mut sink, mut items) = (sink::<D>(cx), std::pin::pin!(items));
    while let Some(item) = items.next().await {
        match sink.send(item?).await {
            Ok(()) => {}
            // The handler is about to be dropped.
            Err(SinkError::Stopped | SinkError::Replaced) => std::future::pending().await,
            Err(error) => {
                cx.held.set_undelivered(Undelivered::Refused(error));
                break;
            }
        }
    }
    Ok(())
}

/// The same of a stream that cannot fail.
#[doc(hidden)]
pub async fn infallible_stream<D: ItemType>(cx: &Context, items: impl Stream<Item = D>) {
    match stream(cx, items.map(Ok::<D, NoError>)).await {
        Ok(()) => {}
        Err(never) => match never {},
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("method", &self.held.method.options.name)
            .field("caller", &self.caller())
            .field("id", &self.id())
            .field("attempt", &self.attempt())
            .finish_non_exhaustive()
    }
}
