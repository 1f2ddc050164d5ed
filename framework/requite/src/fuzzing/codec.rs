//! Payloads read into types of every kind, on a worker's stack and within the memory that the limits promise.

use std::{
    collections::{BTreeMap, HashMap},
    thread,
};

use allocation_counter::measure;
use serde::{Deserialize, de::IgnoredAny};
use serde_bytes::{ByteBuf, Bytes};
use serde_json::Value as Tree;

use super::bytes::Choices;
use crate::codec::{ContentType, DecodeError, Limits, decode};

/// What a thread of tokio's has.
const STACK: usize = 2 << 20;
/// The promise: 40 bytes for each of the payload, and a megabyte.
const EXPANSION: usize = 40;
const HEADROOM: usize = 1_000_000;

/// Refers to itself.
#[derive(Deserialize)]
#[expect(dead_code, reason = "what is read is only dropped")]
enum Recursive {
    Nothing,
    Number(f64),
    Text(String),
    List(Vec<Recursive>),
    Map(BTreeMap<String, Recursive>),
    Boxed(Box<Recursive>),
    Pair(Box<Recursive>, Option<Box<Recursive>>),
}

/// Refers to itself by nothing but a list: the least bytes for the most of it.
#[derive(Deserialize)]
struct Nested(#[expect(dead_code, reason = "what is read is only dropped")] Vec<Nested>);

/// Read from a copy of the payload that serde makes.
#[derive(Deserialize)]
#[serde(untagged)]
#[expect(dead_code, reason = "what is read is only dropped")]
enum Untagged {
    Flag(bool),
    Numbers(Vec<u64>),
    Texts(Vec<String>),
    Names(HashMap<String, String>),
    Text(String),
    Nested(HashMap<String, HashMap<String, i32>>),
    Tree(Tree),
}

/// The same, one level deeper: lists of what is read from copies.
#[derive(Deserialize)]
#[serde(tag = "type")]
#[expect(dead_code, reason = "what is read is only dropped")]
enum Tagged {
    A { x: Vec<Untagged>, y: Option<String> },
    B { z: Tree },
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "what is read is only dropped")]
struct Flat {
    id: Option<u64>,
    #[serde(flatten)]
    rest: HashMap<String, Tree>,
}

/// Large, and read from next to nothing.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Wide {
    a: [Option<String>; 12],
    b: Option<Box<Wide>>,
    c: Option<u8>,
}

/// Only one field of many is looked at.
#[derive(Deserialize)]
#[expect(dead_code, reason = "what is read is only dropped")]
struct Ignoring {
    #[serde(default)]
    id: Option<u32>,
}

/// Nothing is copied.
#[derive(Deserialize)]
#[expect(dead_code, reason = "what is read is only dropped")]
struct Borrowing<'a> {
    #[serde(borrow, default)]
    text: Option<&'a str>,
    #[serde(borrow, default)]
    bytes: Option<&'a Bytes>,
    #[serde(borrow, default)]
    more: Vec<&'a str>,
}

/// A payload of MessagePack.
pub fn msgpack(data: &[u8]) {
    let mut choices = Choices::new(data);
    let how = choices.byte();
    let value = data.get(1..).unwrap_or_default();
    if how < 192 {
        return read(ContentType::MessagePack, value);
    }
    let count = (4_096 << (how % 4)) / value.len().max(1);
    let head = u32::try_from(count).unwrap_or(0).to_be_bytes();
    match how / 16 % 4 {
        0 => read(ContentType::MessagePack, &[&[0xdd], &head[..], &value.repeat(count)].concat()),
        1 => {
            // Distinct keys, so that a table has to grow.
            let entries = (0..count as u32).flat_map(|n| [&[0xa4], &key(n)[..], value].concat());
            read(
                ContentType::MessagePack,
                &[0xdf].into_iter().chain(head).chain(entries).collect::<Vec<u8>>(),
            );
        }
        // Beside a long text, which makes room for more than it takes.
        2 => {
            let text = vec![b'x'; 20_000];
            let pair = [&[0x92, 0xda, 0x4e, 0x20], &text[..], &[0xdd], &head, &value.repeat(count)].concat();
            read(ContentType::MessagePack, &pair);
        }
        _ => read(ContentType::MessagePack, &value.repeat(60)),
    }
}

/// A payload of JSON.
pub fn json(data: &[u8]) {
    let mut choices = Choices::new(data);
    let how = choices.byte();
    let value = data.get(1..).unwrap_or_default();
    if how < 192 {
        return read(ContentType::Json, value);
    }
    let count = (4_096 << (how % 4)) / value.len().max(1);
    let repeated = |open: &[u8], item: &dyn Fn(u32) -> Vec<u8>, close: &[u8]| {
        let items: Vec<_> = (0..count as u32).map(item).collect();
        [open, &items.join(&b','), close].concat()
    };
    let list = repeated(b"[", &|_| value.to_vec(), b"]");
    match how / 16 % 4 {
        0 => read(ContentType::Json, &list),
        1 => {
            let entry = |n| [b"\"", &key(n)[..], b"\":", value].concat();
            read(ContentType::Json, &repeated(b"{", &entry, b"}"));
        }
        2 => read(ContentType::Json, &[b"[\"", &[b'x'; 20_000][..], b"\",", &list, b"]"].concat()),
        _ => read(ContentType::Json, &value.repeat(60)),
    }
}

/// Four letters.
fn key(n: u32) -> [u8; 4] {
    [0, 4, 8, 12].map(|shift| b'a' + u8::try_from(n >> shift & 15).unwrap_or(0))
}

/// Reads a payload into every type.
fn read(content_type: ContentType, payload: &[u8]) {
    on_a_workers_stack(|| read_here(content_type, payload));
}

fn read_here(content_type: ContentType, payload: &[u8]) {
    // What is a tree of values can be skipped. Bytes may be read from what is no text, which cannot.
    if check::<Tree>(content_type, payload) {
        assert!(check::<IgnoredAny>(content_type, payload), "read, and yet it cannot be skipped");
    }
    check::<Recursive>(content_type, payload);
    check::<Vec<Recursive>>(content_type, payload);
    check::<Nested>(content_type, payload);
    check::<Untagged>(content_type, payload);
    check::<Vec<Untagged>>(content_type, payload);
    check::<HashMap<String, Untagged>>(content_type, payload);
    check::<Vec<Tagged>>(content_type, payload);
    check::<Flat>(content_type, payload);
    check::<Vec<Flat>>(content_type, payload);
    check::<Vec<Wide>>(content_type, payload);
    check::<HashMap<String, u64>>(content_type, payload);
    check::<HashMap<String, HashMap<String, String>>>(content_type, payload);
    check::<BTreeMap<String, Vec<Option<i64>>>>(content_type, payload);
    check::<Vec<String>>(content_type, payload);
    check::<Vec<u8>>(content_type, payload);
    check::<Vec<Vec<(u8, u64)>>>(content_type, payload);
    check::<ByteBuf>(content_type, payload);
    check::<Vec<ByteBuf>>(content_type, payload);
    check::<Ignoring>(content_type, payload);
    check::<Vec<Ignoring>>(content_type, payload);
    check::<Borrowing<'_>>(content_type, payload);
    check::<Vec<&str>>(content_type, payload);
    check::<IgnoredAny>(content_type, payload);
}

/// Whether the payload is one of this type.
fn check<'a, T: Deserialize<'a>>(content_type: ContentType, payload: &'a [u8]) -> bool {
    within(payload.len(), || match decode::<T>(content_type, payload, &Limits::default()) {
        Ok(_) => true,
        Err(error) => {
            is_one_line(&error);
            false
        }
    })
}

fn is_one_line(error: &DecodeError) {
    let text = error.to_string();
    assert!(!text.contains(char::is_control) && text.chars().count() < 400, "{text:?}");
}

/// Runs a check on a stack of the size that a worker's thread has.
pub(super) fn on_a_workers_stack(check: impl FnOnce() + Send) {
    let ran = thread::scope(|scope| {
        let thread = thread::Builder::new().stack_size(STACK).spawn_scoped(scope, check);
        thread.expect("the system has a thread to give").join()
    });
    ran.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

/// Runs a decoder, and holds what it allocates at once against the promise for `len` bytes.
pub(super) fn within(len: usize, run: impl FnOnce() -> bool) -> bool {
    let mut done = false;
    let used = measure(|| done = run()).bytes_max;
    let most = len * EXPANSION + HEADROOM;
    assert!(usize::try_from(used).is_ok_and(|used| used <= most), "{used} bytes of memory for {len}");
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest list of one value that is read, up to the largest payload of a server, and what it took.
    fn largest<T: for<'a> Deserialize<'a>>(value: &[u8]) -> String {
        let (mut largest, mut taken) = (0, 0);
        for step in 28_u32..80 {
            let count = 2_f64.powf(f64::from(step) / 4.0) as u32 / u32::try_from(value.len()).unwrap();
            let payload = [&[0xdd], &count.to_be_bytes()[..], &value.repeat(count as usize)].concat();
            let mut read = false;
            let used = measure(|| {
                read = within(payload.len(), || {
                    decode::<T>(ContentType::MessagePack, &payload, &Limits::default()).is_ok()
                });
            });
            if read {
                (largest, taken) = (payload.len(), used.bytes_max);
            }
        }
        assert!(largest > 0, "not even a short one is read");
        format!("{:>7}, {:>5.1} each", largest, taken as f64 / largest as f64)
    }

    /// Prints the table that stands in `codec/limits.rs`.
    #[test]
    fn lists_are_read_up_to_the_memory_that_is_promised() {
        println!("list of | as a tree | untagged | with a type");
        let (number, text, list, map) = (&b"\x07"[..], &b"\xa0"[..], &b"\x91\x07"[..], &b"\x81\xa0\x07"[..]);
        let nested = &b"\x91\x91\x07"[..];
        for (name, value, typed) in [
            ("`7`", number, largest::<Vec<u64>>(number)),
            ("`\"\"`", text, largest::<Vec<String>>(text)),
            ("`[7]`", list, largest::<Vec<Vec<u64>>>(list)),
            ("`[[7]]`", nested, largest::<Vec<Vec<Vec<u64>>>>(nested)),
            ("`{\"\":7}`", map, largest::<Vec<HashMap<String, u64>>>(map)),
        ] {
            println!("{name} | {} | {} | {typed}", largest::<Tree>(value), largest::<Vec<Untagged>>(value));
        }
    }
}
