//! Where items are put in, as whoever writes them sees it.

use std::{any::Any, fmt, marker::PhantomData, sync::Arc};

use super::outflow::Outflow;
use crate::{
    codec::{self, ContentType},
    error::SinkError,
    service::ItemType,
    wire::frame::{Encoded, End},
};

/// A stream of items to the other side: of a call's [`open`](crate::Call::open) to its handler, and as an argument of a
/// handler to its caller.
///
/// Items are stored, unless the stream is `volatile`, several in one message where they come faster than they are stored. A
/// reader that is slow, away or not there yet is waited for once it has 16,384 items or 8 MiB unread (4 MiB of a `volatile`
/// stream), and not longer than `idle` if nothing is heard of it. Bytes travel best as `serde_bytes::ByteBuf`: to serde a
/// `Vec<u8>` is a list of numbers.
///
/// A handler's stream ends with the handler, whose outcome is stored behind the last item, or once the caller's process has all
/// of them where they are not stored. A caller says with [`finish`](Self::finish) that there is nothing more; a sink that is
/// dropped before tells the handler that the caller gave up, unless the call was attached to and the sink was not used.
///
/// ```
/// # use requite::{Sink, SinkError, prelude::*};
/// # struct Mill;
/// #[service]
/// impl Mill {
///     /// Streams sacks, and returns how many there were.
///     #[handler]
///     async fn grind(&self, sacks: u32, mut flour: Sink<String>) -> u32 {
///         for sack in 0..sacks {
///             // Waits while the caller has enough unread.
///             if let Err(SinkError::Left) = flour.send(format!("sack {sack}")).await {
///                 return sack;
///             }
///         }
///         sacks
///     }
/// }
/// ```
#[must_use = "a caller's stream that is dropped is given up"]
pub struct Sink<T> {
    flow: Arc<Outflow>,
    content_type: ContentType,
    /// For the encoding of items, one after the other.
    encoded: Encoded,
    /// Whether dropping it means that the writer gave up.
    is_callers: bool,
    /// The call goes on for as long as items may be sent.
    _call: Option<Arc<dyn Any + Send + Sync>>,
    item: PhantomData<fn(T)>,
}

impl<T: ItemType> Sink<T> {
    pub(crate) fn new(
        flow: Arc<Outflow>,
        content_type: ContentType,
        call: Option<Arc<dyn Any + Send + Sync>>,
    ) -> Self {
        Self {
            flow,
            content_type,
            encoded: Encoded::default(),
            is_callers: call.is_some(),
            _call: call,
            item: PhantomData,
        }
    }

    /// Takes an item in; it is stored, or sent, soon after. Where the reader has enough unread, this waits until it has not.
    /// Cancelling leaves the item out.
    ///
    /// # Errors
    ///
    /// If the item was not taken; the error says why, and whether the stream can be used on. A caller whose handler has ended gets
    /// [`SinkError::Ended`] or [`SinkError::Left`], and finds out more by awaiting the call.
    pub async fn send(&mut self, item: T) -> Result<(), SinkError> {
        codec::encode_into(self.encoded.anew(), self.content_type, &item)
            .map_err(|error| SinkError::Unencodable { text: error.to_string() })?;
        self.flow.send(&mut self.encoded).await
    }

    /// Resolves when every item that was taken is stored; of a `volatile` stream, when all have come to the reader's process,
    /// where a window of them may still be unread.
    ///
    /// # Errors
    ///
    /// If the stream came to nothing: then some may not be. Of a `volatile` stream [`SinkError::Silent`], too, after which this
    /// may be called again.
    pub async fn flush(&mut self) -> Result<(), SinkError> {
        self.flow.flush().await
    }

    /// How many items of this stream are stored by whoever wrote it before: another process of the same caller, which made the
    /// same call or was attached to it. The next item that is sent comes behind them. In a handler it is the same as
    /// [`Context::items_stored`](crate::Context::items_stored); of a `volatile` stream it is 0.
    ///
    /// # Errors
    ///
    /// If that cannot be found out.
    pub async fn items_stored(&mut self) -> Result<u64, SinkError> {
        self.flow.stored().await
    }

    /// Says that there is nothing more, and resolves when that is stored behind every item, or when the handler reads no
    /// more or the call has ended: await that for whether the handler has read all of it. Of a `volatile` stream it resolves
    /// when all of it has come to the handler's process, whether it goes on or not; not before the handler has started and
    /// has no more than a window of it unread.
    ///
    /// # Errors
    ///
    /// If the stream came to nothing; of a `volatile` stream also [`SinkError::Silent`].
    pub async fn finish(self) -> Result<(), SinkError> {
        if self.is_callers {
            self.flow.end(End::Finished);
        }
        match self.flow.flush().await {
            Err(SinkError::Ended | SinkError::Left) => Ok(()),
            flushed => flushed,
        }
    }
}

impl<T> Drop for Sink<T> {
    fn drop(&mut self) {
        // Behind an end this changes nothing.
        if self.is_callers {
            self.flow.give_up();
        }
    }
}

impl<T> fmt::Debug for Sink<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink").finish_non_exhaustive()
    }
}
