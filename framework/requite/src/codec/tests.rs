//! Properties of the codec as a whole, and the attacks it is there for.

use std::collections::BTreeMap;

use proptest::{collection, prelude::*};
use serde::{Deserialize, Serialize, de::DeserializeOwned, de::IgnoredAny};
use serde_json::Value as Tree;

use super::{
    ContentType::{self, Json, MessagePack},
    DecodeError, Limits, decode, encode, scan_json, scan_msgpack,
};

const DEPTH: usize = 64;

/// A bit of everything that serde can express.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Sample {
    Nothing,
    Flag(bool),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Letter(char),
    Text(String),
    Bytes(Vec<u8>),
    Pair(u8, Option<i32>),
    List(Vec<Sample>),
    Map(BTreeMap<String, Sample>),
    Fields { id: u32, label: Option<String>, inner: Box<Sample>, unit: () },
}

fn sample() -> impl Strategy<Value = Sample> {
    let leaf = prop_oneof![
        Just(Sample::Nothing),
        any::<bool>().prop_map(Sample::Flag),
        any::<i64>().prop_map(Sample::Signed),
        any::<u64>().prop_map(Sample::Unsigned),
        // Quarters: serde_json may be off by one in the last place of others.
        any::<i32>().prop_map(|n| Sample::Float(f64::from(n) / 4.0)),
        any::<char>().prop_map(Sample::Letter),
        "(?s).{0,40}".prop_map(Sample::Text),
        "[\\[\\]{}\",:\\\\]{0,20}".prop_map(Sample::Text),
        collection::vec(any::<u8>(), 0..300).prop_map(Sample::Bytes),
        any::<(u8, Option<i32>)>().prop_map(|(a, b)| Sample::Pair(a, b)),
    ];
    leaf.prop_recursive(8, 64, 20, |inner| {
        prop_oneof![
            collection::vec(inner.clone(), 0..20).prop_map(Sample::List),
            collection::btree_map("(?s).{0,8}", inner.clone(), 0..20).prop_map(Sample::Map),
            (any::<u32>(), any::<Option<String>>(), inner).prop_map(|(id, label, inner)| {
                Sample::Fields { id, label, inner: Box::new(inner), unit: () }
            }),
        ]
    })
}

fn read<T: DeserializeOwned>(content_type: ContentType, payload: &[u8]) -> Result<T, DecodeError> {
    decode(content_type, payload, &Limits::default())
}

/// What a stranger's bytes meet, whatever the type: must return, and say so on one line if it fails.
fn read_as_anything(payload: &[u8]) {
    fn check<T>(result: Result<T, DecodeError>) {
        if let Err(error) = result {
            let text = error.to_string();
            assert!(!text.contains(char::is_control) && text.chars().count() < 400, "{text:?}");
        }
    }
    for content_type in [MessagePack, Json] {
        check(read::<Sample>(content_type, payload));
        check(read::<Tree>(content_type, payload));
        check(read::<IgnoredAny>(content_type, payload));
        check(read::<BTreeMap<String, Vec<Option<u64>>>>(content_type, payload));
    }
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(value in sample()) {
        for content_type in [MessagePack, Json] {
            let payload = encode(content_type, &value).unwrap();
            prop_assert_eq!(read::<Sample>(content_type, &payload).unwrap(), value.clone());
            read::<IgnoredAny>(content_type, &payload).unwrap();
        }
    }

    #[test]
    fn random_bytes_do_no_harm(payload in collection::vec(any::<u8>(), 0..200)) {
        read_as_anything(&payload);
    }

    #[test]
    fn random_json_tokens_do_no_harm(payload in "([\\[\\]{},:\" \\\\]|[0-9]|null|\"a\"){0,60}") {
        read_as_anything(payload.as_bytes());
    }

    #[test]
    fn damaged_payloads_do_no_harm(
        value in sample(),
        damage in collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        for content_type in [MessagePack, Json] {
            let mut payload = encode(content_type, &value).unwrap().to_vec();
            for (at, byte) in &damage {
                let at = at.index(payload.len());
                payload[at] = *byte;
            }
            read_as_anything(&payload);
            read_as_anything(&payload[..cut.index(payload.len())]);
        }
    }

    /// The scan refuses nothing that rmp-serde reads, but for text that is not UTF-8 (which it takes as bytes)
    /// and the limits.
    #[test]
    fn the_scan_is_no_stricter_than_rmp_serde(
        payload in prop_oneof![
            collection::vec(any::<u8>(), 1..40),
            // Mostly heads of values, short ones: random bytes are seldom well-formed beyond the first.
            collection::vec(prop_oneof![
                Just(0xc0), 0x80..=0x83_u8, 0x90..=0x93_u8, 0xa0..=0xa2_u8, 0xc2..=0xdf_u8, 0..3_u8
            ], 1..40),
        ],
    ) {
        let Some(len) = len_by_rmp_serde(&payload) else { return Ok(()) };
        match scan_msgpack::scan(&payload[..len], &Limits::default()) {
            Ok(()) | Err(DecodeError::Utf8 { .. }) => {}
            Err(error) => prop_assert!(false, "{error}"),
        }
    }

    /// And nothing passes that rmp-serde cannot skip as a whole.
    #[test]
    fn the_scan_is_no_laxer_than_rmp_serde(payload in collection::vec(any::<u8>(), 1..40)) {
        for end in 1..=payload.len() {
            if scan_msgpack::scan(&payload[..end], &Limits::default()).is_ok() {
                prop_assert_eq!(len_by_rmp_serde(&payload), Some(end));
            }
        }
    }

    #[test]
    fn the_json_scan_is_no_stricter_than_serde_json(value in sample()) {
        let payload = serde_json::to_vec_pretty(&value).unwrap();
        scan_json::scan(&payload, &Limits::default()).unwrap();
    }
}

/// How many bytes rmp-serde takes for one value of any type.
fn len_by_rmp_serde(payload: &[u8]) -> Option<usize> {
    let mut deserializer = rmp_serde::Deserializer::new(std::io::Cursor::new(payload));
    IgnoredAny::deserialize(&mut deserializer).ok()?;
    usize::try_from(deserializer.position()).ok()
}

#[test]
fn structs_are_written_with_their_field_names() {
    #[derive(Serialize)]
    struct Point {
        x: u8,
        y: u8,
    }
    assert_eq!(encode(MessagePack, &Point { x: 1, y: 2 }).unwrap(), &b"\x82\xa1x\x01\xa1y\x02"[..]);
    assert_eq!(encode(Json, &Point { x: 1, y: 2 }).unwrap(), &br#"{"x":1,"y":2}"#[..]);
}

#[test]
fn unit_is_a_value_and_nothing_is_none() {
    assert_eq!(encode(MessagePack, &()).unwrap(), &b"\xc0"[..]);
    assert_eq!(encode(Json, &()).unwrap(), &b"null"[..]);
    for (content_type, unit) in [(MessagePack, &b"\xc0"[..]), (Json, b"null")] {
        read::<()>(content_type, unit).unwrap();
        assert_eq!(read::<()>(content_type, b""), Err(DecodeError::Empty));
    }
    assert_eq!(read::<()>(Json, b" \r\n\t"), Err(DecodeError::Empty));
}

#[test]
fn a_value_without_a_form_is_an_error() {
    let keyed_by_lists = BTreeMap::from([(vec![1], 2)]);
    let error = encode(Json, &keyed_by_lists).unwrap_err().to_string();
    assert_eq!(error, "the value cannot be written as application/json: key must be a string");
    encode(MessagePack, &keyed_by_lists).unwrap();
}

/// `depth` containers around a number, each made by `open`, which repeats for every level.
fn nested(open: &[u8], depth: usize) -> Vec<u8> {
    [open.repeat(depth), vec![1]].concat()
}

#[test]
fn nesting_ends_at_the_limit() {
    let in_lists: &[u8] = b"\x91";
    let in_values: &[u8] = b"\x81\xa0";
    for open in [in_lists, in_values] {
        read::<IgnoredAny>(MessagePack, &nested(open, DEPTH)).unwrap();
        let error = read::<IgnoredAny>(MessagePack, &nested(open, DEPTH + 1)).unwrap_err();
        assert_eq!(error, DecodeError::Depth { limit: DEPTH, offset: DEPTH * open.len() });
        read::<IgnoredAny>(MessagePack, &nested(open, 100_000)).unwrap_err();
    }
    // Maps as keys of maps.
    let in_keys = |depth| [vec![0x81; depth], vec![1; depth + 1]].concat();
    read::<IgnoredAny>(MessagePack, &in_keys(DEPTH)).unwrap();
    read::<IgnoredAny>(MessagePack, &in_keys(DEPTH + 1)).unwrap_err();
    // An extension is no level of ours, but is one of rmp-serde's.
    let extension = [vec![0x91; DEPTH], vec![0xd4, 0, 0]].concat();
    read::<IgnoredAny>(MessagePack, &extension).unwrap();
}

#[test]
fn siblings_do_not_add_up_to_depth() {
    let pair = nested(b"\x91", DEPTH - 1);
    let payload = [vec![0xdc, 0, 200], pair.repeat(200)].concat();
    read::<IgnoredAny>(MessagePack, &payload).unwrap();
    let json = format!("[{}[]]", "[[]],{\"a\":{}},".repeat(100));
    read::<IgnoredAny>(Json, json.as_bytes()).unwrap();
}

#[test]
fn nesting_of_json_ends_at_the_limit() {
    let lists = |depth| "[".repeat(depth) + &"]".repeat(depth);
    let maps = |depth| r#"{"":"#.repeat(depth) + "1" + &"}".repeat(depth);
    for text in [lists(DEPTH), maps(DEPTH)] {
        read::<Tree>(Json, text.as_bytes()).unwrap();
    }
    for (text, offset) in [(lists(DEPTH + 1), DEPTH), (maps(DEPTH + 1), 4 * DEPTH)] {
        let error = read::<Tree>(Json, text.as_bytes()).unwrap_err();
        assert_eq!(error, DecodeError::Depth { limit: DEPTH, offset });
    }
    read::<Tree>(Json, "[".repeat(1_000_000).as_bytes()).unwrap_err();
}

#[test]
fn brackets_and_quotes_in_json_text_are_text() {
    let values = ["[".repeat(100), r#"{"a":["#.repeat(50), "\\\"[".repeat(100), "\\".to_owned()];
    let payload = encode(Json, &values).unwrap();
    assert_eq!(read::<[String; 4]>(Json, &payload).unwrap(), values);
    for broken in [r#"""#, r#"["a\"#, r#"["a\"]"#, r#"[}"#, "]", r#"{"a"}"#, "[1,]", "1 2", "[] ["] {
        let error = read::<Tree>(Json, broken.as_bytes()).unwrap_err();
        assert!(matches!(error, DecodeError::Syntax(_)), "{broken}: {error}");
    }
}

#[test]
fn json_is_plain_utf8() {
    assert_eq!(read::<Tree>(Json, b"\xef\xbb\xbf[]"), Err(DecodeError::ByteOrderMark));
    // Even in a place that nobody reads.
    assert_eq!(read::<IgnoredAny>(Json, b"[\"ab\xff\"]"), Err(DecodeError::Utf8 { offset: 4 }));
    read::<Tree>(Json, b"\xff\xfe[\0]\0").unwrap_err();
}

#[test]
fn impossible_lengths_are_refused_at_once() {
    // ext8/16/32, bin, str, list and map of the greatest length, then a little of what they promise.
    for marker in [0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xd9, 0xda, 0xdb, 0xdc, 0xdd, 0xde, 0xdf] {
        let payload = [0x92, 0xc0, marker, 0xff, 0xff, 0xff, 0xff, 0, 0];
        let error = read::<IgnoredAny>(MessagePack, &payload).unwrap_err();
        assert_eq!(error, DecodeError::Length { offset: 2 }, "{marker:#x}");
    }
    assert_eq!(read::<Tree>(MessagePack, b"\x82\x01\x01\x01"), Err(DecodeError::Length { offset: 0 }));
}

#[test]
fn one_value_and_nothing_else() {
    assert_eq!(read::<u8>(MessagePack, b"\x01\x02"), Err(DecodeError::Trailing { offset: 1 }));
    assert_eq!(read::<Tree>(MessagePack, b"\x91\x01\xc0"), Err(DecodeError::Trailing { offset: 2 }));
    assert_eq!(read::<Tree>(MessagePack, b"\x91\xc1"), Err(DecodeError::Reserved { offset: 1 }));
    assert_eq!(read::<Tree>(MessagePack, b"\x91\xa3a\xe4a"), Err(DecodeError::Utf8 { offset: 3 }));
    assert_eq!(read::<u64>(MessagePack, b"\xcf\0\0"), Err(DecodeError::Truncated { offset: 0 }));
}

#[test]
fn every_prefix_of_a_message_is_an_error() {
    let message = Sample::Fields {
        id: 70_000,
        label: Some("ä \"quoted\" \\ label".repeat(20)),
        inner: Box::new(Sample::List(vec![Sample::Float(0.5), Sample::Bytes(vec![200; 40])])),
        unit: (),
    };
    for content_type in [MessagePack, Json] {
        let payload = encode(content_type, &message).unwrap();
        for end in 0..payload.len() {
            read::<IgnoredAny>(content_type, &payload[..end]).unwrap_err();
        }
    }
}

#[test]
fn large_flat_payloads_pass() {
    let bytes = vec![7_u8; 1_000_000];
    let floats: Vec<f64> = (0..100_000_u32).map(f64::from).collect();
    for content_type in [MessagePack, Json] {
        let payload = encode(content_type, &bytes).unwrap();
        assert_eq!(read::<Vec<u8>>(content_type, &payload).unwrap(), bytes);
        let payload = encode(content_type, &floats).unwrap();
        assert_eq!(read::<Vec<f64>>(content_type, &payload).unwrap(), floats);
        let payload = encode(content_type, &"x".repeat(1_000_000)).unwrap();
        read::<String>(content_type, &payload).unwrap();
    }
}

#[test]
fn many_small_structs_pass() {
    #[derive(Serialize, Deserialize)]
    struct Point {
        x: u8,
        y: u8,
    }
    let points: Vec<_> = (0..72_000).map(|_| Point { x: 1, y: 2 }).collect();
    for content_type in [MessagePack, Json] {
        let payload = encode(content_type, &points).unwrap();
        assert_eq!(read::<Vec<Point>>(content_type, &payload).unwrap().len(), points.len());
    }
}

/// A list of as many `value`s as make a payload of about 1 MB.
fn megabyte_of(value: &[u8]) -> Vec<u8> {
    let count = 1_000_000 / value.len();
    let head = u32::try_from(count).unwrap().to_be_bytes();
    [&[0xdd], &head[..], &value.repeat(count)].concat()
}

fn is_too_much<T>(read: Result<T, DecodeError>) -> bool {
    matches!(read, Err(DecodeError::Memory { .. }))
}

#[test]
fn what_has_a_type_passes_at_any_size() {
    read::<Vec<u8>>(MessagePack, &megabyte_of(b"\x07")).unwrap();
    read::<Vec<u64>>(MessagePack, &megabyte_of(b"\x07")).unwrap();
    read::<Vec<Vec<u64>>>(MessagePack, &megabyte_of(b"\x94\x01\x02\x03\x04")).unwrap();
    read::<Vec<Vec<(u8, bool)>>>(MessagePack, &megabyte_of(b"\x91\x92\x01\xc2")).unwrap();
    read::<Vec<String>>(MessagePack, &megabyte_of(b"\xa3abc")).unwrap();
    let entry = b"\x82\xa2id\x07\xa4name\xa5aaaaa";
    read::<Vec<BTreeMap<String, Tree>>>(MessagePack, &megabyte_of(entry)).unwrap_err();
    #[derive(Deserialize)]
    struct Named {
        #[expect(dead_code)]
        id: u64,
        #[expect(dead_code)]
        name: String,
    }
    read::<Vec<Named>>(MessagePack, &megabyte_of(entry)).unwrap();
}

#[test]
fn a_tree_passes_as_far_as_its_memory_goes() {
    let record = r#"{"id":1,"name":"abcdef","price":1.25}"#;
    for value in ["1.25", "[7,8]", r#""text""#, record] {
        let json = format!("[{value}{}]", format!(",{value}").repeat(1_000_000 / value.len()));
        read::<Tree>(Json, json.as_bytes()).unwrap();
    }
    let record = encode(MessagePack, &serde_json::from_str::<Tree>(record).unwrap()).unwrap();
    for value in [&b"\xcd\x04\xd2"[..], b"\xa4text", &record] {
        read::<Tree>(MessagePack, &megabyte_of(value)).unwrap();
    }
    for value in [&b"\x81\xa0\xc0"[..], b"\x91\xc0", b"\x91\x91\xc0", b"\xa0"] {
        assert!(is_too_much(read::<Tree>(MessagePack, &megabyte_of(value))), "{value:x?}");
        read::<IgnoredAny>(MessagePack, &megabyte_of(value)).unwrap();
    }
    let json = format!("[{}{{}}]", r#"{"":0},"#.repeat(140_000));
    assert!(is_too_much(read::<Tree>(Json, json.as_bytes())));
}

#[test]
fn a_payload_that_was_refused_is_not_tried_as_something_else() {
    #[derive(Debug, Deserialize)]
    #[serde(untagged)]
    #[expect(dead_code)]
    enum Either {
        Tree(Tree),
        Ignored(IgnoredAny),
    }
    assert!(is_too_much(read::<Either>(MessagePack, &megabyte_of(b"\x91\xc0"))));
}

#[test]
fn every_element_gives_back_what_its_buffer_took() {
    #[derive(Serialize, Deserialize)]
    #[serde(tag = "type")]
    enum Step {
        Move { x: u32, y: u32, z: u32, id: u32 },
    }
    let steps: Vec<_> = (0..20_000).map(|id| Step::Move { x: 1, y: 2, z: 3, id }).collect();
    for content_type in [MessagePack, Json] {
        let payload = encode(content_type, &steps).unwrap();
        assert_eq!(read::<Vec<Step>>(content_type, &payload).unwrap().len(), steps.len());
    }
}

#[test]
fn elements_are_counted_over_the_whole_payload() {
    let limits = Limits { elements: 4, ..Limits::default() };
    for (payload, good) in [
        (&b"\x92\x91\xc0\x81\xc0\xc0"[..], true),
        (b"\x92\x91\xc0\x82\xc0\xc0\xc0\xc0", false),
        (b"\x95\xc0\xc0\xc0\xc0\xc0", false),
    ] {
        assert_eq!(scan_msgpack::scan(payload, &limits).is_ok(), good, "{payload:x?}");
    }
    for (payload, good) in [
        ("[ [ 0 ] , { \"[,\" : 0 } ]", true),
        ("[[],[],{ },[ ]]", true),
        ("[[0],{\"a\":0,\"b\":0}]", false),
        ("[0,0,0,0,0]", false),
    ] {
        assert_eq!(scan_json::scan(payload.as_bytes(), &limits).is_ok(), good, "{payload}");
    }
}

#[test]
fn depth_beyond_the_scans_stack_is_not_believed() {
    let limits = Limits { depth: 1000, ..Limits::default() };
    for (content_type, payload) in [(MessagePack, nested(b"\x91", 65)), (Json, b"[".repeat(65))] {
        let error = decode::<IgnoredAny>(content_type, &payload, &limits).unwrap_err();
        assert!(matches!(error, DecodeError::Depth { limit: DEPTH, .. }));
    }
}

#[test]
fn errors_do_not_repeat_the_payload() {
    let secret = "hunter2\r\n+OK";
    let as_variant = BTreeMap::from([(secret, 1)]);
    for content_type in [MessagePack, Json] {
        for error in [
            read::<Sample>(content_type, &encode(content_type, secret).unwrap()).unwrap_err(),
            read::<Sample>(content_type, &encode(content_type, &as_variant).unwrap()).unwrap_err(),
            read::<Vec<u64>>(content_type, &encode(content_type, &[secret]).unwrap()).unwrap_err(),
        ] {
            let text = error.to_string();
            assert!(text.starts_with("the payload does not fit the type: "), "{text}");
            assert!(!text.contains("hunter2") && !text.contains(char::is_control), "{text}");
        }
    }
}

#[test]
fn errors_name_limit_and_offset() {
    assert_eq!(
        DecodeError::Depth { limit: 64, offset: 70 }.to_string(),
        "the value at byte 70 is nested deeper than the limit of 64"
    );
}
