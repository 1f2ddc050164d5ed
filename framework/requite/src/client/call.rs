//! Calls as users make them: a builder that becomes the answer when it is awaited.

use std::{fmt, future::IntoFuture, marker::PhantomData, pin::Pin, time::Duration};

use bytes::Bytes;

use super::{
    Accepted, CancelAnswer, Client, Inner,
    answers::Outcome,
    drive::{Drive, Rest, Target},
    events::CallEvent,
    observers::Observer,
};
use crate::{
    broker::Broker,
    codec::{self, Limits as DecodeLimits},
    error::{Aborted, CallError, CancelError, Cancelled, Rejected, Unavailable, Unknown, Why},
    name::{Name, RequestId, encode_key},
    nested,
    protocol::{
        caller::{Caller, Limits, Verdict},
        time::{LeaseTimes, Moment},
    },
    service::{HandlerError, Method, ReplyType, RequestType},
    wire::{
        payload_hash,
        position::Position,
        record::{Reason, Status},
        request::Envelope,
    },
};

const ACCEPT_WITHIN: Duration = Duration::from_secs(15);
const DEADLINE: Duration = Duration::from_secs(24 * 60 * 60);

/// What a call may be told; see the methods of [`Call`].
#[derive(Default)]
struct Options {
    key: Option<String>,
    accept_within: Option<Duration>,
    start_within: Option<Duration>,
    silent_for: Option<Duration>,
    deadline: Option<Duration>,
    require_worker: bool,
    detached: bool,
    cancel_on_drop: bool,
    cascade: bool,
    trace_parent: Option<String>,
    observer: Option<Observer>,
}

type Types<T, E, S> = PhantomData<fn() -> (T, E, S)>;

/// A call that is about to be made. Await it for the answer, or [`start`](Self::start) it to know when it is accepted. One whose
/// handler has streams is [opened](Self::open) instead.
///
/// Nothing is sent before. Dropping the future stops to wait; unless [asked to](Self::cancel_on_drop), it does not cancel:
/// what was accepted runs to its end, and a call with the same [`key`](Self::key) attaches to it.
///
/// ```no_run
/// # use std::time::Duration;
/// # use requite::prelude::*;
/// # struct Billing;
/// # #[service] impl Billing { #[handler] async fn charge(&self, cents: u64) -> String { cents.to_string() } }
/// # async fn run(billing: BillingClient) -> Result<(), Box<dyn std::error::Error>> {
/// let receipt = billing.charge(4200).key("order-17").deadline(Duration::from_secs(60)).await?;
/// # Ok(()) }
/// ```
#[must_use = "a call is not made before it is awaited or started"]
pub struct Call<T, E, S = ()> {
    client: Client,
    pub(super) method: Method,
    body: Result<Bytes, String>,
    options: Options,
    types: Types<T, E, S>,
}

impl<T: ReplyType, E: HandlerError, S> Call<T, E, S> {
    /// Names the call: a call with the same key, from any process of this caller, is the same call and gets the same
    /// answer, for as long as the outcome is kept. The same key with another payload is `Rejected(IdReused)`.
    ///
    /// Whether a request that was made under the key before has the same payload, is known once a worker has it in hand. A
    /// call that is `open`ed meanwhile is accepted, and its streams are read and written from then on.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.options.key = Some(key.into());
        self
    }

    /// How long acceptance may stay in doubt, 15 s by default; at most half of the outcome's retention. An election of
    /// the servers takes 4 to 9 s.
    pub fn accept_within(mut self, limit: Duration) -> Self {
        self.options.accept_within = Some(limit);
        self
    }

    /// How long after acceptance a handler must have started; by default only the deadline counts.
    pub fn start_within(mut self, limit: Duration) -> Self {
        self.options.start_within = Some(limit);
        self
    }

    /// The longest silence of a started handler. Its worker's heartbeats come every sixth of the lease, and at least every 5 s,
    /// so this is best longer than three of them; by default only the deadline counts.
    pub fn silent_for(mut self, limit: Duration) -> Self {
        self.options.silent_for = Some(limit);
        self
    }

    /// When the answer is of no use any more, from now; 24 h by default. A handler does not start after it, and the
    /// call ends at most a second later.
    ///
    /// A call that a handler makes on its own task ends no later than the handler's request does, whatever is set here,
    /// and so do the calls that are made on its behalf; see [`detached`](Self::detached). A task that the handler starts
    /// knows nothing of that: give its calls [`Context::remaining`](crate::Context::remaining).
    pub fn deadline(mut self, limit: Duration) -> Self {
        self.options.deadline = Some(limit);
        self
    }

    /// Lets a call that a handler makes outlive the handler's own deadline: work that is to be done even if nobody waits
    /// for the handler any more. Elsewhere it changes nothing.
    ///
    /// ```
    /// # use requite::prelude::*;
    /// # struct Ledger;
    /// # #[service]
    /// # impl Ledger {
    /// #     #[handler]
    /// #     async fn book(&self, cents: u64) {}
    /// # }
    /// struct Billing(LedgerClient);
    ///
    /// #[service]
    /// impl Billing {
    ///     #[handler]
    ///     async fn charge(&self, cx: &Context, cents: u64) -> bool {
    ///         // The money has moved: it is booked, even if the caller's deadline passes meanwhile.
    ///         self.0.book(cents).key(cx.idempotency_key()).detached().await.is_ok()
    ///     }
    /// }
    /// ```
    pub fn detached(mut self) -> Self {
        self.options.detached = true;
        self
    }

    /// Cancels the call if its future, or all that [`start`](Self::start) or [`open`](Self::open) returns, is dropped before the
    /// end: where nobody waits, nobody works. It is told to the servers in the background, so a process that ends at once may
    /// not get that far; [`Accepted::cancel`] waits for it.
    ///
    /// A handler that is dropped because its request goes on elsewhere, its worker stops or its lease is lost, does not
    /// cancel a call with a [key](Self::key): the next attempt may make it again, and gets its answer. One without is
    /// cancelled, and so is what a `once` handler had called, which nobody goes on with.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use requite::prelude::*;
    /// # struct Search;
    /// # #[service] impl Search { #[handler] async fn find(&self, text: String) -> Vec<String> { vec![text] } }
    /// # async fn run(search: SearchClient) {
    /// let find = search.find("needle".into()).cancel_on_drop();
    /// let found = tokio::time::timeout(Duration::from_secs(2), find).await;     // after 2 s, the search is given up
    /// # }
    /// ```
    pub fn cancel_on_drop(mut self) -> Self {
        self.options.cancel_on_drop = true;
        self
    }

    /// Cancels a call that a handler makes if the handler's own request is cancelled, or if the handler is dropped before
    /// the call's end. Otherwise it is the same as [`cancel_on_drop`](Self::cancel_on_drop), also where the request goes on
    /// elsewhere.
    ///
    /// ```
    /// # use requite::prelude::*;
    /// # struct Renderer;
    /// # #[service]
    /// # impl Renderer {
    /// #     #[handler]
    /// #     async fn render(&self, page: u32) -> Vec<u8> { Vec::new() }
    /// # }
    /// struct Printer(RendererClient);
    ///
    /// #[service]
    /// impl Printer {
    ///     #[handler]
    ///     async fn print(&self, pages: u32) -> usize {
    ///         let mut bytes = 0;
    ///         for page in 0..pages {
    ///             bytes += self.0.render(page).cascade().await.map_or(0, |it| it.len());
    ///         }
    ///         bytes
    ///     }
    /// }
    /// ```
    pub fn cascade(mut self) -> Self {
        self.options.cascade = true;
        self
    }

    /// Asks before publishing whether any worker serves the method, and fails with `Unavailable(NoWorker)` if not.
    pub fn require_worker(mut self) -> Self {
        self.options.require_worker = true;
        self
    }

    /// Passes a W3C trace context to the handler.
    pub fn trace_parent(mut self, value: impl Into<String>) -> Self {
        self.options.trace_parent = Some(value.into());
        self
    }

    /// Watches the life of the call. The function is called in between, so it must not block.
    pub fn on_event(mut self, observer: impl FnMut(&CallEvent) + Send + 'static) -> Self {
        self.options.observer = Some(Box::new(observer));
        self
    }

    pub(super) fn requires_worker(&self) -> bool {
        self.options.require_worker
    }

    pub(super) fn prepare(self) -> Result<Drive, CallError<E>> {
        let Self { client, method, body, options, .. } = self;
        let inner = client.inner;
        let target = target(&inner, &method, |service, name| match &options.key {
            Some(key) => inner.keyed_id(service, name, key),
            None => inner.new_id(),
        })?;
        let body = body.map_err(|text| CallError::Rejected(Rejected::Unencodable { text }))?;
        let keyed = options.key.is_some();
        let content_type = inner.config.content_type;
        let hash = keyed.then(|| payload_hash(content_type.as_str(), &body));
        let now = inner.broker.now();
        let limits = limits(now, &method, &options);
        if limits.deadline <= now {
            return Err(if keyed {
                // Made before, it may be under way.
                CallError::Unknown(Unknown { id: target.id, why: Why::DeadlinePassed })
            } else {
                CallError::Rejected(Rejected::Expired)
            });
        }
        // Without any stamp of the server, nobody can tell how old this publish is when it arrives.
        let resend = keyed || target.route.server_now(now).is_none();
        let envelope = Envelope {
            content_type,
            resend,
            sent: None,
            left: None,
            key: options.key.as_deref().map(encode_key),
            trace_parent: options.trace_parent,
        };
        let machine = Caller::new(limits, hash, resend);
        let request = Some((envelope, body));
        let mut drive = Drive::new(inner, target, request, limits.deadline, machine, options.observer);
        drive.cancel_on_drop = options.cancel_on_drop || options.cascade;
        drive.cascade = options.cascade;
        drive.parent = drive.cancel_on_drop.then(nested::request).flatten();
        let is_cancelled =
            options.cascade && drive.parent.as_ref().is_some_and(|parent| parent.cancelled().is_some());
        // Under a key it may have been made before.
        if is_cancelled && !keyed {
            return Err(CallError::Cancelled(Cancelled { may_have_run: false }));
        }
        Ok(drive)
    }
}

impl<T: ReplyType, E: HandlerError> Call<T, E> {
    /// Sends the call and returns as soon as it is stored: from then on it ends in an outcome.
    ///
    /// # Errors
    ///
    /// As for the call itself, if it ends before it is accepted.
    pub async fn start(self) -> Result<Accepted<T, E>, CallError<E>> {
        let require_worker = self.options.require_worker;
        let mut drive = self.prepare()?;
        make_ready(&mut drive, require_worker).await?;
        match drive.go(true).await {
            Rest::Accepted => Ok(Accepted::new(Box::new(drive), None)),
            Rest::Finished(Verdict::Outcome) => Ok(Accepted::new(Box::new(drive), Some(Verdict::Outcome))),
            Rest::Finished(verdict) => Err(refusal(verdict, &drive)),
        }
    }
}

impl<T: ReplyType, E: HandlerError> IntoFuture for Call<T, E> {
    type Output = Result<T, CallError<E>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        let require_worker = self.options.require_worker;
        match self.prepare() {
            Ok(drive) => to_the_end(drive, require_worker),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }
}

impl<T, E, S> fmt::Debug for Call<T, E, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("service", &self.method.service)
            .field("method", &self.method.name)
            .finish_non_exhaustive()
    }
}

/// A call that was made before, by this process or another of the same caller. Await it for the answer, or [`open`](Self::open)
/// its streams.
///
/// No request is sent: an id that was never accepted waits for its deadline.
#[must_use = "nothing is asked before it is awaited"]
pub struct Attach<T, E, S = ()> {
    client: Client,
    pub(super) method: Method,
    /// Nothing where the call is named by its key.
    id: Option<RequestId>,
    key: Option<String>,
    options: Options,
    pub(super) position: Position,
    types: Types<T, E, S>,
}

impl<T: ReplyType, E: HandlerError, S> Attach<T, E, S> {
    /// How long from now a handler must be known to have started; by default only the deadline counts.
    pub fn start_within(mut self, limit: Duration) -> Self {
        self.options.start_within = Some(limit);
        self
    }

    /// The longest silence of a started handler; by default only the deadline counts.
    pub fn silent_for(mut self, limit: Duration) -> Self {
        self.options.silent_for = Some(limit);
        self
    }

    /// How long to wait for the answer, from now; 24 h by default. In a handler at most as long as its request has left.
    pub fn deadline(mut self, limit: Duration) -> Self {
        self.options.deadline = Some(limit);
        self
    }

    /// Watches the life of the call. The function is called in between, so it must not block.
    pub fn on_event(mut self, observer: impl FnMut(&CallEvent) + Send + 'static) -> Self {
        self.options.observer = Some(Box::new(observer));
        self
    }
}

impl<T: ReplyType, E: HandlerError> IntoFuture for Attach<T, E> {
    type Output = Result<T, CallError<E>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        match self.prepare() {
            Ok(drive) => to_the_end(drive, false),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }
}

impl<T: ReplyType, E: HandlerError> Attach<T, E> {
    /// Begins to listen and returns, with what [`Call::start`] returns for a call of one's own.
    ///
    /// # Errors
    ///
    /// If the key or a name cannot be used, or the connection is closed.
    pub async fn start(self) -> Result<Accepted<T, E>, CallError<E>> {
        let mut drive = self.prepare()?;
        make_ready(&mut drive, false).await?;
        Ok(Accepted::new(Box::new(drive), None))
    }
}

impl<T: ReplyType, E: HandlerError, S> Attach<T, E, S> {
    /// Cancels the call; see [`Accepted::cancel`].
    ///
    /// # Errors
    ///
    /// If it could not be stored that the call is cancelled.
    pub async fn cancel(self) -> Result<CancelAnswer, CancelError> {
        let service: Name = self.method.service.parse()?;
        let id = match (self.key, self.id) {
            (Some(key), _) => self.client.inner.keyed_id(&service, &self.method.name.parse()?, &key),
            (None, Some(id)) => id,
            (None, None) => return Ok(CancelAnswer::AlreadyDone),
        };
        self.client.cancel(service.as_str(), &id).await
    }

    pub(super) fn prepare(self) -> Result<Drive, CallError<E>> {
        let inner = self.client.inner;
        let target = target(&inner, &self.method, |service, name| match (&self.key, self.id) {
            (Some(key), _) => inner.keyed_id(service, name, key),
            (None, Some(id)) => id,
            (None, None) => inner.new_id(),
        })?;
        let limits = limits(inner.broker.now(), &self.method, &self.options);
        let machine = Caller::attached(limits, None);
        Ok(Drive::new(inner, target, None, limits.deadline, machine, self.options.observer))
    }
}

type Answer<T, E> = Pin<Box<dyn Future<Output = Result<T, CallError<E>>> + Send>>;

/// One allocation for the whole call: what only some calls need is boxed apart.
fn to_the_end<T: ReplyType, E: HandlerError>(mut drive: Drive, require_worker: bool) -> Answer<T, E> {
    Box::pin(async move {
        make_ready(&mut drive, require_worker).await?;
        finish(&mut drive, None).await
    })
}

pub(super) async fn make_ready<E>(drive: &mut Drive, require_worker: bool) -> Result<(), CallError<E>> {
    if require_worker && !Box::pin(drive.any_worker()).await {
        let method = drive.target.route.method.to_string();
        return Err(CallError::Unavailable(Unavailable::NoWorker { method }));
    }
    if !drive.is_heard() {
        let heard = Box::pin(drive.listen()).await;
        heard.map_err(|_| CallError::Unavailable(Unavailable::Closed))?;
    }
    Ok(())
}

impl<T, E, S> fmt::Debug for Attach<T, E, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attach")
            .field("service", &self.method.service)
            .field("method", &self.method.name)
            .finish_non_exhaustive()
    }
}

/// A call of a method, its request encoded.
#[doc(hidden)]
pub fn call<I: RequestType, T, E, S>(client: &Client, method: Method, request: &I) -> Call<T, E, S> {
    let body = codec::encode(client.inner.config.content_type, request).map_err(|error| error.to_string());
    Call { client: client.clone(), method, body, options: Options::default(), types: PhantomData }
}

/// Cancels a call by its id.
#[doc(hidden)]
pub async fn cancel(client: &Client, service: &str, id: &RequestId) -> Result<CancelAnswer, CancelError> {
    client.cancel(service, id).await
}

/// A call of a method that was made before, by its key.
#[doc(hidden)]
pub fn attach<T, E, S>(client: &Client, method: Method, key: &str) -> Attach<T, E, S> {
    let key = Some(key.to_owned());
    let (options, position) = Default::default();
    Attach { client: client.clone(), method, id: None, key, options, position, types: PhantomData }
}

impl<T, E, S> Attach<T, E, S> {
    /// Attaches by the id of an accepted call, as [`Accepted::id`] or an error gave it, instead of by key.
    pub fn id(mut self, id: RequestId) -> Self {
        self.id = Some(id);
        self.key = None;
        self
    }
}

fn target<E>(
    client: &Inner,
    method: &Method,
    id: impl FnOnce(&Name, &Name) -> RequestId,
) -> Result<Target, CallError<E>> {
    let route = client
        .routes
        .to(&client.config, method)
        .map_err(|error| CallError::Rejected(Rejected::InvalidName { text: error.to_string() }))?;
    let id = id(route.subjects.service(), &route.method);
    Ok(Target { route, id })
}

fn limits(now: Moment, method: &Method, options: &Options) -> Limits {
    let retention = method.retention(options.key.is_some());
    let deadline = options.deadline.unwrap_or(DEADLINE);
    // Whoever waits for the handler that makes this call waits no longer than that.
    let left = if options.detached { None } else { nested::left() };
    Limits {
        // A re-send must find the outcome of what it repeats.
        accept_by: now + options.accept_within.unwrap_or(ACCEPT_WITHIN).min(retention / 2),
        start_within: options.start_within,
        silent_for: options.silent_for,
        deadline: now + left.map_or(deadline, |left| left.min(deadline)),
        read_after: LeaseTimes::new(method.lease).heartbeat() * 2,
    }
}

pub(super) async fn finish<T: ReplyType, E: HandlerError>(
    drive: &mut Drive,
    finished: Option<Verdict>,
) -> Result<T, CallError<E>> {
    let verdict = match finished {
        Some(verdict) => verdict,
        None => match drive.go(false).await {
            Rest::Finished(verdict) => verdict,
            Rest::Accepted => unreachable!("only asked to stop at the end"),
        },
    };
    match (verdict, drive.outcome()) {
        (Verdict::Outcome, Some(outcome)) => answer(outcome),
        (verdict, _) => Err(refusal(verdict, drive)),
    }
}

/// The stored outcome as the caller's types.
fn answer<T: ReplyType, E: HandlerError>(outcome: &Outcome) -> Result<T, CallError<E>> {
    let text = || outcome.error.clone().unwrap_or_default();
    let aborted =
        |reason: Reason, text: String| CallError::Aborted(Aborted { reason, text, attempt: outcome.attempt });
    let limits = DecodeLimits::default();
    match (outcome.status, &outcome.body) {
        (Some(Status::Ok), Some(body)) => {
            codec::decode(outcome.content_type, body, &limits).map_err(|error| {
                aborted(Reason::Undecodable, format!("the value cannot be decoded here: {error}"))
            })
        }
        (Some(Status::Failed), Some(body)) => Err(match codec::decode(outcome.content_type, body, &limits) {
            Ok(error) => CallError::Failed(error),
            Err(_) => aborted(outcome.reason.unwrap_or(Reason::Other), text()),
        }),
        (Some(Status::Cancelled), _) => {
            Err(CallError::Cancelled(Cancelled { may_have_run: outcome.attempt > 0 }))
        }
        (Some(Status::Rejected), _) => Err(CallError::Rejected(match outcome.reason {
            Some(Reason::Expired) => Rejected::Expired,
            Some(Reason::Undecodable) => Rejected::Undecodable { text: text() },
            reason => Rejected::Other { reason: reason.unwrap_or(Reason::Other) },
        })),
        _ => Err(aborted(outcome.reason.unwrap_or(Reason::Other), text())),
    }
}

/// A verdict other than an outcome, as an error.
pub(super) fn refusal<E>(verdict: Verdict, drive: &Drive) -> CallError<E> {
    let text = drive.text().to_owned();
    let id = drive.target.id.clone();
    let unknown = |why| CallError::Unknown(Unknown { id: id.clone(), why });
    let doubt =
        if drive.client.pending.is_unauthorized() { Why::Unauthorized } else { Why::AcceptanceUnknown };
    // Whatever the server says to a repetition, an earlier copy may have been taken.
    let unavailable = |why: Unavailable| {
        if drive.is_in_doubt() || drive.is_accepted() { unknown(doubt) } else { CallError::Unavailable(why) }
    };
    match verdict {
        Verdict::Outcome | Verdict::AcceptanceUnknown => unknown(doubt),
        Verdict::IdReused => CallError::Rejected(Rejected::IdReused),
        Verdict::TooLarge if drive.is_in_doubt() => unknown(doubt),
        Verdict::TooLarge => CallError::Rejected(Rejected::TooLarge { text }),
        Verdict::QueueFull => unavailable(Unavailable::QueueFull { text }),
        Verdict::NoSuchMethod => {
            unavailable(Unavailable::NoSuchMethod { method: drive.target.route.method.to_string() })
        }
        Verdict::NoStream => {
            unavailable(Unavailable::NoStream { service: drive.target.route.subjects.service().to_string() })
        }
        Verdict::PermissionDenied => unavailable(Unavailable::PermissionDenied { subject: text }),
        Verdict::Refused => unavailable(Unavailable::Refused { text }),
        Verdict::NoQuorum => unavailable(Unavailable::NoQuorum),
        Verdict::Closed if drive.is_accepted() => unknown(Why::Closed),
        Verdict::Closed => unavailable(Unavailable::Closed),
        Verdict::NoWorker => unknown(Why::NoWorker),
        Verdict::NotStarted => unknown(Why::NotStarted),
        Verdict::Silent => unknown(Why::Silent),
        Verdict::DeadlinePassed => unknown(Why::DeadlinePassed),
    }
}
