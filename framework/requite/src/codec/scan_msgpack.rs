//! Bounds a MessagePack payload before serde sees it: one pass, no recursion, no allocation.
//!
//! Extension types pass (JavaScript writes dates as one, and a reader may ignore the field): to serde they are
//! a number and bytes.

use super::{
    DecodeError, Limits,
    limits::{Budget, DEEPEST},
};

/// Fails unless the payload is exactly one well-formed value within the limits.
pub(super) fn scan(payload: &[u8], limits: &Limits) -> Result<(), DecodeError> {
    if payload.is_empty() {
        return Err(DecodeError::Empty);
    }
    let mut budget = Budget::new(limits);
    let mut reader = Reader { payload, at: 0 };
    // How many values are still to come: in the innermost open list or map, and in each one around it.
    let mut missing = 1;
    let mut outer = [0; DEEPEST];
    let mut depth = 0;
    loop {
        while missing == 0 {
            if depth == 0 {
                return reader.end();
            }
            depth -= 1;
            missing = outer[depth];
        }
        missing -= 1;
        let offset = reader.at;
        match reader.value()? {
            Value::Flat => {}
            Value::List(len) => {
                budget.open(depth, offset)?;
                budget.elements(len, offset)?;
                outer[depth] = missing;
                depth += 1;
                missing = len;
            }
            Value::Map(entries) => {
                budget.open(depth, offset)?;
                budget.elements(entries, offset)?;
                outer[depth] = missing;
                depth += 1;
                missing = 2 * entries;
            }
        }
    }
}

/// A value that was read to its end, or a list or map whose head was.
enum Value {
    Flat,
    List(usize),
    Map(usize),
}

struct Reader<'a> {
    payload: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    #[inline]
    fn value(&mut self) -> Result<Value, DecodeError> {
        let offset = self.at;
        let &[marker] = self.fixed(offset)?;
        match marker {
            0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => Ok(Value::Flat),
            0x80..=0x8f => self.map(usize::from(marker & 0x0f), offset),
            0x90..=0x9f => self.list(usize::from(marker & 0x0f), offset),
            0xa0..=0xbf => self.text(usize::from(marker & 0x1f), offset),
            0xc1 => Err(DecodeError::Reserved { offset }),
            0xcc | 0xd0 => self.number::<1>(offset),
            0xcd | 0xd1 => self.number::<2>(offset),
            0xca | 0xce | 0xd2 => self.number::<4>(offset),
            0xcb | 0xcf | 0xd3 => self.number::<8>(offset),
            0xd4..=0xd8 => self.extension(1 << (marker - 0xd4), offset),
            _ => self.long(marker, offset),
        }
    }

    /// Values whose length has bytes of its own.
    fn long(&mut self, marker: u8, offset: usize) -> Result<Value, DecodeError> {
        let len = match marker {
            0xc4 | 0xc7 | 0xd9 => u8::from_be_bytes(*self.fixed(offset)?).into(),
            0xc5 | 0xc8 | 0xda | 0xdc | 0xde => u16::from_be_bytes(*self.fixed(offset)?).into(),
            // Where a usize is smaller, no payload is this long either.
            _ => usize::try_from(u32::from_be_bytes(*self.fixed(offset)?)).unwrap_or(usize::MAX),
        };
        match marker {
            0xc4..=0xc6 => self.rest(len, offset).map(|_| Value::Flat),
            0xc7..=0xc9 => self.extension(len, offset),
            0xd9..=0xdb => self.text(len, offset),
            0xdc | 0xdd => self.list(len, offset),
            _ => self.map(len, offset),
        }
    }

    #[inline]
    fn number<const SIZE: usize>(&mut self, offset: usize) -> Result<Value, DecodeError> {
        self.fixed::<SIZE>(offset).map(|_| Value::Flat)
    }

    #[inline]
    fn text(&mut self, len: usize, offset: usize) -> Result<Value, DecodeError> {
        let bytes = self.rest(len, offset)?;
        match std::str::from_utf8(bytes) {
            Ok(_) => Ok(Value::Flat),
            Err(error) => Err(DecodeError::Utf8 { offset: self.at - len + error.valid_up_to() }),
        }
    }

    fn extension(&mut self, len: usize, offset: usize) -> Result<Value, DecodeError> {
        self.number::<1>(offset)?;
        self.rest(len, offset).map(|_| Value::Flat)
    }

    #[inline]
    fn list(&self, len: usize, offset: usize) -> Result<Value, DecodeError> {
        // Every value takes a byte at least.
        if len > self.left() { Err(DecodeError::Length { offset }) } else { Ok(Value::List(len)) }
    }

    #[inline]
    fn map(&self, entries: usize, offset: usize) -> Result<Value, DecodeError> {
        if entries > self.left() / 2 { Err(DecodeError::Length { offset }) } else { Ok(Value::Map(entries)) }
    }

    /// The bytes that a declared length promises.
    #[inline]
    fn rest(&mut self, len: usize, offset: usize) -> Result<&'a [u8], DecodeError> {
        let bytes = self.payload[self.at..].get(..len).ok_or(DecodeError::Length { offset })?;
        self.at += len;
        Ok(bytes)
    }

    /// The bytes that a marker promises.
    #[inline]
    fn fixed<const SIZE: usize>(&mut self, offset: usize) -> Result<&'a [u8; SIZE], DecodeError> {
        let bytes = self.payload[self.at..].first_chunk().ok_or(DecodeError::Truncated { offset })?;
        self.at += SIZE;
        Ok(bytes)
    }

    fn left(&self) -> usize {
        self.payload.len() - self.at
    }

    fn end(&self) -> Result<(), DecodeError> {
        if self.left() == 0 { Ok(()) } else { Err(DecodeError::Trailing { offset: self.at }) }
    }
}
