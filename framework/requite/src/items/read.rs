//! The items of a stream, as whoever reads them sees them.

use std::{
    any::Any,
    fmt,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_util::{Stream, StreamExt};

use super::inflow::Inflow;
use crate::{
    codec::{self, Limits},
    error::ItemsError,
    service::ItemType,
    wire::position::Position,
};

/// A stream of items from the other side: of a call's [`open`](crate::Call::open) those of its handler, and as an argument of
/// a handler those of its caller.
///
/// Items come in their order, without gaps and without repeats; what is in the way of that is an error in their place,
/// which says whether others follow. At most 16,384 items or 8 MiB (4 MiB of a `volatile` stream), and one item more, are
/// unread here: then the writer waits.
/// Where a stream has several readers, it waits for the fastest, and the others read what is stored; of a `volatile` stream they
/// may lose items. Dropping it tells the writer that this reader wants no more; a caller is not told by a handler that ends, as
/// another attempt may follow.
///
/// ```
/// # use requite::{Items, ItemsError, prelude::*};
/// # struct Scale;
/// #[service]
/// impl Scale {
///     /// Adds up what the caller sends.
///     #[handler]
///     async fn sum(&self, mut parcels: Items<u64>) -> u64 {
///         let mut grams = 0;
///         while let Some(parcel) = parcels.next().await {
///             match parcel {
///                 Ok(parcel) => grams += parcel,
///                 Err(error) => { tracing::warn!(%error, "not all parcels were weighed"); break }
///             }
///         }
///         grams
///     }
/// }
/// ```
#[must_use = "items are got by reading them"]
pub struct Items<T> {
    flow: Arc<Inflow>,
    /// The call goes on for as long as its items are read.
    _call: Option<Arc<dyn Any + Send + Sync>>,
    item: PhantomData<fn() -> T>,
}

impl<T: ItemType> Items<T> {
    pub(crate) fn new(flow: Arc<Inflow>, call: Option<Arc<dyn Any + Send + Sync>>) -> Self {
        Self { flow, _call: call, item: PhantomData }
    }

    /// The next item; nothing behind the last. Cancelling loses nothing.
    ///
    /// # Errors
    ///
    /// In the place of what cannot be had; see [`ItemsError`] for what follows.
    pub async fn next(&mut self) -> Option<Result<T, ItemsError>> {
        StreamExt::next(self).await
    }

    /// Behind which item this is, for another process that goes on with the next one. A stream that was begun anew leaves it
    /// behind the last item of before until one of the new ones is read: whoever goes on there is told that, too.
    pub fn position(&self) -> Position {
        self.flow.position()
    }
}

impl<T: ItemType> Stream for Items<T> {
    type Item = Result<T, ItemsError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(next) = ready!(self.flow.poll_next(context)) else {
            return Poll::Ready(None);
        };
        Poll::Ready(Some(next.and_then(|it| {
            codec::decode(it.content_type, &it.item, &Limits::default())
                .map_err(|error| ItemsError::Undecodable { item: it.number, text: error.to_string() })
        })))
    }
}

impl<T> Drop for Items<T> {
    fn drop(&mut self) {
        self.flow.leave();
    }
}

impl<T> fmt::Debug for Items<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Items").finish_non_exhaustive()
    }
}
