//! Keeps the account of memory while serde reads: a deserializer around the format's own, which charges for what the
//! target type is about to allocate, before it does.
//!
//! Only here is the type known. `[1,2,3]` is 3 bytes of a `Vec<u8>`, 24 of a `Vec<u64>` and 96 of a tree of values, so
//! a scan of the bytes alone would have to refuse the first for the sake of the last. What is charged, and why, stands
//! in [`limits`](super::limits).

use std::{any::type_name, cell::Cell, fmt, mem::size_of};

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use super::limits::{
    BLOCK, ENTRIES_OF_A_NODE, ENTRIES_OF_A_TREE_NODE, FIRST_SLOTS, LARGEST_RESERVE, LARGEST_SLOT, TREE_ENTRY,
    TREE_NODE, TREE_SLOT,
};

/// The account of one payload.
pub(super) struct Meter {
    left: Cell<usize>,
    exceeded: Cell<bool>,
    /// How many calls of `deserialize_any` are open: inside, the type of what is built is not known.
    trees: Cell<usize>,
    /// Whether what is inside fills a buffer of serde's first. Only of one type of tree it is known that it does not.
    buffers: Cell<bool>,
    /// What of the charges is for buffers of serde's, from which the value is built after they are filled.
    buffered: Cell<usize>,
}

impl Meter {
    pub(super) fn new(allowed: usize) -> Self {
        Self {
            left: Cell::new(allowed),
            exceeded: Cell::default(),
            trees: Cell::default(),
            buffers: Cell::default(),
            buffered: Cell::default(),
        }
    }

    pub(super) fn is_exceeded(&self) -> bool {
        self.exceeded.get()
    }

    pub(super) fn meter<D>(&self, inner: D) -> Metered<'_, D> {
        Metered { inner, meter: self }
    }

    #[inline]
    fn charge<E: Error>(&self, bytes: usize) -> Result<(), E> {
        match self.left.get().checked_sub(bytes) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => Err(self.exceed()),
        }
    }

    #[cold]
    fn exceed<E: Error>(&self) -> E {
        self.exceeded.set(true);
        // A type that tries something else after an error gets nothing for that either.
        self.left.set(0);
        E::custom("more memory than allowed")
    }

    /// Charges for a part of a tree, and for the same part of a buffer that the tree may be read from.
    fn charge_tree<E: Error>(&self, built: usize, buffered: usize) -> Result<(), E> {
        let buffered = if self.buffers.get() { buffered } else { 0 };
        self.buffered.set(self.buffered.get().saturating_add(buffered));
        self.charge(built.saturating_add(buffered))
    }

    #[inline]
    fn is_tree(&self) -> bool {
        self.trees.get() > 0
    }

    /// A text or binary that is copied; what is only borrowed is copied at most once, into the value.
    #[inline]
    fn copy<E: Error>(&self, len: usize, borrowed: bool) -> Result<(), E> {
        let block = if len == 0 { 0 } else { len.saturating_add(BLOCK) };
        if self.is_tree() && !borrowed { self.charge_tree(block, block) } else { self.charge(block) }
    }

    /// How much may be reserved for a list or map of which only the length is known.
    fn reserve(&self, hint: Option<usize>) -> Option<usize> {
        let left = self.left.get();
        // Serde reserves at most a mebibyte at once, whatever the slots' size.
        hint.map(|len| if left >= LARGEST_RESERVE { len } else { len.min(left / LARGEST_SLOT) })
    }

    /// Reads a part, whose buffers are gone when it is there.
    #[inline]
    fn part<T>(&self, read: impl FnOnce() -> T) -> T {
        let before = self.buffered.get();
        let part = read();
        if !self.is_tree() {
            let freed = self.buffered.replace(before).saturating_sub(before);
            if !self.exceeded.get() {
                self.left.set(self.left.get().saturating_add(freed));
            }
        }
        part
    }
}

/// What a visitor makes of the lists and maps that it is given.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Made {
    /// Fields: their place is in the value itself.
    Fields,
    /// Slots of a list, or entries of a map.
    Slots,
}

/// A deserializer, visitor, access or seed under a meter.
pub(super) struct Metered<'m, T> {
    inner: T,
    meter: &'m Meter,
}

macro_rules! forward {
    ($($method:ident)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.inner.$method(Watching { inner: visitor, meter: self.meter, made: Made::Slots })
        }
    )*};
}

impl<'m, D> Metered<'m, D> {
    /// The value has a place of its own if the type keeps it in a box.
    #[inline]
    fn fields<'de, V: Visitor<'de>>(&self, visitor: V) -> Result<Watching<'m, V>, D::Error>
    where
        D: Deserializer<'de>,
    {
        if !self.meter.is_tree() {
            self.meter.charge(size_of::<V::Value>())?;
        }
        Ok(Watching { inner: visitor, meter: self.meter, made: Made::Fields })
    }
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Metered<'_, D> {
    type Error = D::Error;

    forward! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128 deserialize_f32
        deserialize_f64 deserialize_char deserialize_str deserialize_string deserialize_bytes
        deserialize_byte_buf deserialize_option deserialize_unit deserialize_seq deserialize_map
        deserialize_identifier
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        let Self { inner, meter } = self;
        if !meter.is_tree() {
            meter.buffers.set(type_name::<V::Value>() != type_name::<serde_json::Value>());
        }
        meter.trees.set(meter.trees.get() + 1);
        let value = inner.deserialize_any(Watching { inner: visitor, meter, made: Made::Slots });
        meter.trees.set(meter.trees.get() - 1);
        value
    }

    /// Nothing is kept of what is ignored.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_ignored_any(visitor)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.inner.deserialize_unit_struct(name, visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let visitor = self.fields(visitor)?;
        self.inner.deserialize_newtype_struct(name, visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, D::Error> {
        let visitor = self.fields(visitor)?;
        self.inner.deserialize_tuple(len, visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let visitor = self.fields(visitor)?;
        self.inner.deserialize_tuple_struct(name, len, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let visitor = self.fields(visitor)?;
        self.inner.deserialize_struct(name, fields, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let visitor = self.fields(visitor)?;
        self.inner.deserialize_enum(name, variants, visitor)
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

/// A visitor under a meter.
struct Watching<'m, V> {
    inner: V,
    meter: &'m Meter,
    made: Made,
}

macro_rules! visit {
    ($($method:ident: $type:ty,)*) => {$(
        #[inline]
        fn $method<E: Error>(self, value: $type) -> Result<V::Value, E> {
            self.inner.$method(value)
        }
    )*};
}

macro_rules! copy {
    ($($method:ident: $type:ty, $borrowed:literal;)*) => {$(
        #[inline]
        fn $method<E: Error>(self, value: $type) -> Result<V::Value, E> {
            self.meter.copy(value.len(), $borrowed)?;
            self.inner.$method(value)
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Watching<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    visit! {
        visit_bool: bool, visit_i8: i8, visit_i16: i16, visit_i32: i32, visit_i64: i64, visit_i128: i128,
        visit_u8: u8, visit_u16: u16, visit_u32: u32, visit_u64: u64, visit_u128: u128, visit_f32: f32,
        visit_f64: f64, visit_char: char,
    }

    copy! {
        visit_str: &str, false; visit_borrowed_str: &'de str, true; visit_string: String, false;
        visit_bytes: &[u8], false; visit_borrowed_bytes: &'de [u8], true; visit_byte_buf: Vec<u8>, false;
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.boxed()?;
        self.inner.visit_some(self.meter.meter(deserializer))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.boxed()?;
        self.inner.visit_newtype_struct(self.meter.meter(deserializer))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        self.inner.visit_seq(Items::of(access, self.meter, self.made))
    }

    fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        self.inner.visit_map(Entries::of(access, self.meter, self.made))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        self.inner.visit_enum(Metered { inner: access, meter: self.meter })
    }
}

impl<V> Watching<'_, V> {
    /// A buffer keeps what is inside of an option or newtype in a box.
    fn boxed<E: Error>(&self) -> Result<(), E> {
        if self.meter.is_tree() { self.meter.charge_tree(TREE_SLOT, TREE_SLOT) } else { Ok(()) }
    }
}

/// A list under a meter: charged as a vector that doubles.
struct Items<'m, A> {
    inner: A,
    meter: &'m Meter,
    made: Made,
    read: usize,
    /// How many are paid for.
    slots: usize,
    grown: bool,
}

impl<'m, A> Items<'m, A> {
    fn of(inner: A, meter: &'m Meter, made: Made) -> Self {
        Self { inner, meter, made, read: 0, slots: 0, grown: false }
    }

    #[inline]
    fn slot<E: Error>(&mut self, size: usize, hint: Option<usize>) -> Result<(), E> {
        if self.made == Made::Slots && self.read == self.slots {
            self.grow(size, hint)?;
        }
        self.read += 1;
        Ok(())
    }

    fn grow<E: Error>(&mut self, size: usize, hint: Option<usize>) -> Result<(), E> {
        let tree = self.meter.is_tree();
        let size = if tree { size.max(TREE_SLOT) } else { size };
        if self.slots > 0 {
            // In all three for two that were full: twice as many, and the old ones until they are copied. Before, that
            // was one and a half, but for the first time.
            let before = self.slots;
            self.slots = before.saturating_mul(2);
            let grown = std::mem::replace(&mut self.grown, true);
            let more = if grown { before + before / 2 } else { before * 2 }.saturating_mul(size);
            return if tree { self.meter.charge_tree(more, more) } else { self.meter.charge(more) };
        }
        let reserved = self.meter.reserve(hint).unwrap_or(0).min(LARGEST_RESERVE / size.max(1));
        self.slots = reserved.max(FIRST_SLOTS);
        let slots = self.slots.saturating_mul(size);
        if !tree {
            return self.meter.charge(slots);
        }
        // A tree is not told how long the list is: its vector doubles until it has room.
        let doubled = self.slots.next_power_of_two().saturating_mul(size);
        self.meter.charge_tree(if self.slots > FIRST_SLOTS { doubled + doubled / 2 } else { doubled }, slots)
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Items<'_, A> {
    type Error = A::Error;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, A::Error> {
        let hint = self.inner.size_hint();
        if hint != Some(0) {
            self.slot(size_of::<T::Value>(), hint)?;
        }
        let meter = self.meter;
        meter.part(|| self.inner.next_element_seed(Metered { inner: seed, meter }))
    }

    fn size_hint(&self) -> Option<usize> {
        self.meter.reserve(self.inner.size_hint())
    }
}

/// A map under a meter: charged as the larger of a B-tree and a hash table.
struct Entries<'m, A> {
    inner: A,
    meter: &'m Meter,
    made: Made,
    key: usize,
    read: usize,
    /// How many are paid for.
    paid: usize,
}

impl<'m, A> Entries<'m, A> {
    fn of(inner: A, meter: &'m Meter, made: Made) -> Self {
        Self { inner, meter, made, key: 0, read: 0, paid: 0 }
    }

    #[inline]
    fn entry<E: Error>(&mut self, value: usize, hint: Option<usize>) -> Result<(), E> {
        if self.made == Made::Slots && self.read == self.paid {
            self.pay(value, hint)?;
        }
        self.read += 1;
        Ok(())
    }

    fn pay<E: Error>(&mut self, value: usize, hint: Option<usize>) -> Result<(), E> {
        let first = self.paid == 0;
        // A known length is paid at once, because it may be reserved at once.
        let more = hint.unwrap_or(0) + 1;
        let beyond = |entries: usize| entries.saturating_sub(ENTRIES_OF_A_TREE_NODE);
        let further = beyond(self.paid + more) - beyond(self.paid);
        self.paid += more;
        if self.meter.is_tree() {
            let node = if first { TREE_NODE } else { 0 };
            let slots = if first { more.max(FIRST_SLOTS) } else { more * 3 };
            let built = node.saturating_add(further.saturating_mul(TREE_ENTRY));
            return self.meter.charge_tree(built, slots.saturating_mul(2 * TREE_SLOT));
        }
        // A byte for each entry of a hash table, beside it.
        let size = self.key + value + 1;
        let node = if first { ENTRIES_OF_A_NODE * size } else { 0 };
        // Half empty, and the old table until it is copied.
        self.meter.charge(node.saturating_add(more.saturating_mul(size).saturating_mul(7) / 2))
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Entries<'_, A> {
    type Error = A::Error;

    #[inline]
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        self.key = size_of::<K::Value>();
        self.inner.next_key_seed(Metered { inner: seed, meter: self.meter })
    }

    #[inline]
    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, A::Error> {
        self.entry(size_of::<T::Value>(), self.inner.size_hint())?;
        let meter = self.meter;
        let read = || self.inner.next_value_seed(Metered { inner: seed, meter });
        // A struct with flattened fields looks like a map, and keeps its values' buffers to its end.
        if self.made == Made::Fields { meter.part(read) } else { read() }
    }

    fn size_hint(&self) -> Option<usize> {
        self.meter.reserve(self.inner.size_hint())
    }
}

impl<'de, T: DeserializeSeed<'de>> DeserializeSeed<'de> for Metered<'_, T> {
    type Value = T::Value;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T::Value, D::Error> {
        self.inner.deserialize(self.meter.meter(deserializer))
    }
}

impl<'de, 'm, A: EnumAccess<'de>> EnumAccess<'de> for Metered<'m, A> {
    type Error = A::Error;
    type Variant = Metered<'m, A::Variant>;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self::Variant), A::Error> {
        let meter = self.meter;
        let (value, variant) = self.inner.variant_seed(Metered { inner: seed, meter })?;
        Ok((value, Metered { inner: variant, meter }))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Metered<'_, A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, A::Error> {
        self.inner.newtype_variant_seed(Metered { inner: seed, meter: self.meter })
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        self.inner.tuple_variant(len, Watching { inner: visitor, meter: self.meter, made: Made::Fields })
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        let visitor = Watching { inner: visitor, meter: self.meter, made: Made::Fields };
        self.inner.struct_variant(fields, visitor)
    }
}
