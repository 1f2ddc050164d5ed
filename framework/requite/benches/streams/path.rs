//! The rows of the table: which way items go, and by whom they are moved.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use requite_test::NatsServer;
use serde_bytes::ByteBuf;

use crate::{by_hand, requite::Requite};

/// Whether items are stored, and who sends them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// From a handler to its caller.
    Stored,
    Volatile,
    /// From a caller to its handler.
    StoredUp,
    VolatileUp,
}

impl Way {
    pub(crate) const ALL: [Self; 4] = [Self::Stored, Self::Volatile, Self::StoredUp, Self::VolatileUp];

    /// The name in options and in the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Volatile => "volatile",
            Self::StoredUp => "stored-up",
            Self::VolatileUp => "volatile-up",
        }
    }

    /// Bytes of an item. Upwards is the same code: two sizes show whether the ends differ.
    pub(crate) fn sizes(self) -> &'static [usize] {
        match self {
            Self::Stored | Self::Volatile => &[16, 128, 1 << 10, 16 << 10, 128 << 10],
            Self::StoredUp | Self::VolatileUp => &[128, 16 << 10],
        }
    }

    pub(crate) fn is_stored(self) -> bool {
        matches!(self, Self::Stored | Self::StoredUp)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    ByHand,
    /// The same with no more bytes on their way to be stored than Requite has.
    ByHandNarrow,
    Requite,
}

impl Path {
    pub(crate) const ALL: [Self; 3] = [Self::ByHand, Self::ByHandNarrow, Self::Requite];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ByHand => "by-hand",
            Self::ByHandNarrow => "narrow",
            Self::Requite => "requite",
        }
    }

    /// Whether it differs from the others with items of this size.
    pub(crate) fn has(self, way: Way, size: usize) -> bool {
        self != Self::ByHandNarrow || (way.is_stored() && by_hand::Stored::is_narrower(size))
    }

    pub(crate) async fn set_up(self, way: Way, server: &NatsServer) -> Result<Mover> {
        Ok(match self {
            Self::Requite => Mover::Requite(Requite::set_up(way, server).await?),
            Self::ByHand | Self::ByHandNarrow if way.is_stored() => {
                Mover::Stored(by_hand::Stored::set_up(server, self == Self::ByHandNarrow).await?)
            }
            Self::ByHand | Self::ByHandNarrow => Mover::Volatile(by_hand::Volatile::set_up(server).await?),
        })
    }
}

/// A path with both of its ends connected.
pub(crate) enum Mover {
    Requite(Requite),
    Stored(by_hand::Stored),
    Volatile(by_hand::Volatile),
}

impl Mover {
    /// Moves so many items in a fresh stream, from the first being made until the last is read, and until its writer
    /// knows whatever it is told.
    pub(crate) async fn run(&mut self, items: u64, size: usize) -> Result<Duration> {
        match self {
            Self::Requite(it) => it.run(items, size).await,
            Self::Stored(it) => it.run(items, size).await,
            Self::Volatile(it) => it.run(items, size).await,
        }
    }
}

/// The item of that number, which it begins with. Every path makes its items one by one, as a user would.
pub(crate) fn item(number: u64, size: usize) -> ByteBuf {
    let mut item = vec![0x5a; size];
    item[..8].copy_from_slice(&number.to_be_bytes());
    ByteBuf::from(item)
}

/// Fails unless it is the item of that number.
pub(crate) fn check(item: &ByteBuf, number: u64, size: usize) -> Result<()> {
    ensure!(item.len() == size && item.starts_with(&number.to_be_bytes()), "this is not item {number}");
    Ok(())
}

/// As Requite encodes an item: into a buffer of a size that need not grow.
pub(crate) fn encode(item: &ByteBuf) -> Result<Bytes> {
    let mut encoded = Vec::with_capacity(item.len() + 8);
    rmp_serde::encode::write_named(&mut encoded, item)?;
    Ok(encoded.into())
}

pub(crate) fn decode(payload: &[u8]) -> Result<ByteBuf> {
    rmp_serde::from_slice(payload).context("not an item")
}
