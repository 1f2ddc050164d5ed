//! A call that is stored: what may be done with it until it ends.

use std::{
    any::Any,
    fmt,
    future::IntoFuture,
    marker::PhantomData,
    panic,
    pin::Pin,
    sync::{Arc, OnceLock},
};

use tokio::task::{AbortHandle, JoinHandle};

use super::{
    CancelAnswer,
    call::finish,
    cancel::Cancel,
    drive::Drive,
    events::{self, CallEvent, CallEvents},
    observers::{Observer, Shared},
};
use crate::{
    error::{CallError, CancelError, Unknown, Why},
    name::RequestId,
    protocol::caller::Verdict,
    service::{HandlerError, ReplyType},
    turns,
};

/// A call that is stored, or was attached to. Await it for the answer.
#[must_use = "await it for the answer; dropping it stops to wait"]
pub struct Accepted<T, E> {
    id: RequestId,
    cancel: Cancel,
    course: Course<T, E>,
}

/// Who sees the call through.
enum Course<T, E> {
    /// Whoever awaits it.
    Here { drive: Box<Drive>, finished: Option<Verdict>, answer: PhantomData<fn() -> (T, E)> },
    /// A task, for watchers who need not await it.
    Beside(Task<T, E>),
    /// Only while the first becomes the second.
    Changing,
}

struct Task<T, E> {
    observers: Shared,
    answer: JoinHandle<Result<T, CallError<E>>>,
    /// The streams of the call keep it going too.
    alive: Arc<AbortOnDrop>,
    /// What asking to cancel comes to, once the call has ended.
    ended: Arc<OnceLock<CancelAnswer>>,
}

struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<T: ReplyType, E: HandlerError> Accepted<T, E> {
    pub(super) fn new(drive: Box<Drive>, finished: Option<Verdict>) -> Self {
        let (id, cancel) = (drive.target.id.clone(), drive.cancel());
        Self { id, cancel, course: Course::Here { drive, finished, answer: PhantomData } }
    }

    /// The id, to attach to this call from elsewhere.
    pub fn id(&self) -> &RequestId {
        &self.id
    }

    /// Cancels the call, and says what came of that; the call is still there to be awaited. Asking again does no harm.
    ///
    /// That it is cancelled is stored, so it counts also if all workers are busy or none runs: then the answer is
    /// [`Signalled`](CancelAnswer::Signalled), and the call ends once a worker gets to it. What a handler has done already
    /// is not undone.
    ///
    /// ```no_run
    /// # use requite::{CallError, CancelAnswer, prelude::*};
    /// # struct Shop;
    /// # #[service] impl Shop { #[handler] async fn ship(&self, parcels: u32) -> u32 { parcels } }
    /// # async fn run(shop: ShopClient) -> Result<(), Box<dyn std::error::Error>> {
    /// let call = shop.ship(12).start().await?;
    /// call.cancel().await?;
    /// match call.await {
    ///     Ok(shipped) => println!("too late: shipped {shipped}"),
    ///     Err(CallError::Cancelled(cancelled)) => println!("{cancelled}"),
    ///     Err(error) => return Err(error.into()),
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// If it could not be stored that the call is cancelled, or no server says whether it was.
    pub async fn cancel(&self) -> Result<CancelAnswer, CancelError> {
        let ended = match &self.course {
            Course::Here { drive, .. } => drive.ended(),
            Course::Beside(task) => task.ended.get().copied(),
            Course::Changing => None,
        };
        // Its record may not be kept any more.
        match ended {
            Some(answer) => Ok(answer),
            None => self.cancel.run().await,
        }
    }

    /// Watches the rest of the call's life; first of all it is told how the call stands. The function is called in between, so
    /// it must not block.
    pub fn on_event(mut self, observer: impl FnMut(&CallEvent) + Send + 'static) -> Self {
        self.watch(Box::new(observer));
        self
    }

    /// What happens to the call from now on, first of all how it stands, every time that it is asked for. A task of its own
    /// sees the call through then, and the events can be read before, beside or without awaiting it; dropping the call ends
    /// both, once the streams that it was opened with are dropped as well.
    ///
    /// ```no_run
    /// # use requite::{CallEvent, prelude::*};
    /// # struct Shop;
    /// # #[service] impl Shop { #[handler] async fn ship(&self, parcels: u32) -> u32 { parcels } }
    /// # async fn run(shop: ShopClient) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut call = shop.ship(12).start().await?;
    /// let mut events = call.events();
    /// while let Some(event) = events.next().await {
    ///     if let CallEvent::Progress(progress) = event {
    ///         println!("{:.0} %", progress.fraction().unwrap_or(0.0) * 100.0);
    ///     }
    /// }
    /// println!("shipped {}", call.await?);
    /// # Ok(()) }
    /// ```
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn events(&mut self) -> CallEvents {
        let (feed, events) = events::events();
        self.watch_beside(Box::new(move |event| feed.put(event)));
        events
    }

    fn watch(&mut self, observer: Observer) {
        match &mut self.course {
            Course::Here { drive, .. } => drive.observe(observer),
            Course::Beside(task) => task.observers.add(observer),
            Course::Changing => {}
        }
    }

    /// Has a task of its own see the call through; what comes back keeps it going.
    pub(super) fn stream(&mut self, observer: Observer) -> Arc<dyn Any + Send + Sync> {
        self.watch_beside(observer);
        match &self.course {
            Course::Beside(task) => Arc::clone(&task.alive) as _,
            Course::Here { .. } | Course::Changing => Arc::new(()),
        }
    }

    fn watch_beside(&mut self, observer: Observer) {
        self.course = match std::mem::replace(&mut self.course, Course::Changing) {
            Course::Here { mut drive, finished, .. } => {
                let observers = drive.share_observers();
                let ended = Arc::<OnceLock<_>>::default();
                let ends = Arc::clone(&ended);
                let answer = turns::spawn(async move {
                    let answer = finish(&mut drive, finished).await;
                    if let Some(answer) = drive.ended() {
                        let _ = ends.set(answer);
                    }
                    answer
                });
                let alive = Arc::new(AbortOnDrop(answer.abort_handle()));
                Course::Beside(Task { observers, answer, alive, ended })
            }
            beside => beside,
        };
        self.watch(observer);
    }
}

impl<T: ReplyType, E: HandlerError> IntoFuture for Accepted<T, E> {
    type Output = Result<T, CallError<E>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { id, course, .. } = self;
        Box::pin(async move {
            match course {
                Course::Here { mut drive, finished, .. } => finish(&mut drive, finished).await,
                Course::Beside(mut task) => match (&mut task.answer).await {
                    Ok(answer) => answer,
                    Err(ended) if ended.is_panic() => panic::resume_unwind(ended.into_panic()),
                    // The runtime that it was started on is gone.
                    Err(_) => Err(CallError::Unknown(Unknown { id, why: Why::Closed })),
                },
                Course::Changing => unreachable!("only within one function"),
            }
        })
    }
}

impl<T, E> fmt::Debug for Accepted<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accepted").field("id", &self.id).finish_non_exhaustive()
    }
}
