//! Varints and typed data.

use serde::Deserialize;
use serde_json::Value as Json;
use spop_core::{DecodeReason, Reader, Value, Writer, varint};

use super::{assert_all, convert, load};
use crate::common::{hex, unhex};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VarintFile {
    valid: Vec<ValidVarint>,
    invalid: Vec<InvalidVarint>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ValidVarint {
    id: String,
    value: String,
    hex: String,
    len: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InvalidVarint {
    id: String,
    hex: String,
    outcome: String,
    #[serde(rename = "reason")]
    _reason: String,
    exact: Option<String>,
}

#[test]
fn varints() {
    let file: VarintFile = load("varint.json");
    for v in &file.valid {
        let (id, value) = (&v.id, v.value.parse::<u64>().unwrap());
        let bytes = unhex(&v.hex);
        assert_eq!(bytes.len(), v.len, "{id}");
        assert_eq!(varint::decode(&bytes), Ok((value, v.len)), "{id}");
        assert_eq!(varint::len(value), v.len, "{id}");
        let (array, len) = varint::encode(value);
        assert_eq!(hex(&array[..len]), v.hex, "{id}");
        let mut buf = [0; varint::MAX_LEN];
        let mut writer = Writer::new(&mut buf);
        writer.varint(value).unwrap();
        assert_eq!(hex(writer.written()), v.hex, "{id}");

        let mut followed = bytes.clone();
        followed.push(0xFF);
        assert_eq!(varint::decode(&followed), Ok((value, v.len)), "{id}: what follows does not matter");
        for cut in 0..bytes.len() {
            assert!(varint::decode(&bytes[..cut]).unwrap_err().is_truncated(), "{id} cut at {cut}");
        }
    }
    for v in &file.invalid {
        let id = &v.id;
        let error = varint::decode(&unhex(&v.hex)).expect_err(id);
        let expected = match (v.outcome.as_str(), &v.exact) {
            ("incomplete", None) => DecodeReason::Truncated,
            ("error", Some(exact)) => {
                assert!(exact.parse::<u128>().unwrap() > u128::from(u64::MAX), "{id}");
                DecodeReason::VarintOverflow
            }
            ("error", None) => DecodeReason::VarintTooLong,
            other => panic!("{id}: {other:?}"),
        };
        assert_eq!((error.reason, error.offset), (expected, 0), "{id}");
    }
    assert_all(file.valid.iter().map(|v| &v.id), 46);
    assert_all(file.invalid.iter().map(|v| &v.id), 10);
    println!("vectors: varint {} valid, {} invalid", file.valid.len(), file.invalid.len());
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TypedFile {
    valid: Vec<ValidTyped>,
    lenient: Vec<LenientTyped>,
    invalid: Vec<InvalidTyped>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ValidTyped {
    id: String,
    hex: String,
    kind: String,
    value: Json,
    #[serde(rename = "note")]
    _note: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LenientTyped {
    id: String,
    hex: String,
    kind: String,
    value: Json,
    #[serde(rename = "reason")]
    _reason: String,
    #[serde(rename = "haproxy_value")]
    _haproxy_value: Option<Json>,
    #[serde(rename = "haproxy_kind")]
    _haproxy_kind: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InvalidTyped {
    id: String,
    hex: String,
    outcome: String,
    status: Option<u32>,
    #[serde(rename = "reason")]
    _reason: String,
    #[serde(rename = "basis")]
    _basis: Option<String>,
    #[serde(rename = "haproxy_value")]
    _haproxy_value: Option<String>,
}

/// Decodes all of `bytes` and compares; gives the encoding of the value.
fn decode_typed(id: &str, bytes: &[u8], kind: &str, value: &Json) -> Vec<u8> {
    let mut reader = Reader::new(bytes);
    let decoded = Value::decode(&mut reader).unwrap_or_else(|e| panic!("{id}: {e}"));
    assert!(reader.is_empty(), "{id}: {} bytes are left", reader.remaining().len());
    assert_eq!(convert::value(&decoded), (kind, value.clone()), "{id}");
    let mut buf = vec![0; decoded.encoded_len()];
    let mut writer = Writer::new(&mut buf);
    writer.value(decoded).unwrap();
    assert_eq!(writer.room(), 0, "{id}: encoded_len");
    assert_eq!(bytes[0] & 0x0F, decoded.data_type(), "{id}");
    buf
}

#[test]
fn typed_data() {
    let file: TypedFile = load("typed.json");
    for v in &file.valid {
        let bytes = unhex(&v.hex);
        assert_eq!(hex(&decode_typed(&v.id, &bytes, &v.kind, &v.value)), v.hex, "{}", v.id);
        for cut in 0..bytes.len() {
            let error = Value::decode(&mut Reader::new(&bytes[..cut])).unwrap_err();
            assert!(error.is_truncated(), "{} cut at {cut}", v.id);
        }
    }
    for v in &file.lenient {
        let bytes = unhex(&v.hex);
        let canonical = decode_typed(&v.id, &bytes, &v.kind, &v.value);
        assert_ne!(canonical, bytes, "{}: reserved flags are not written", v.id);
        decode_typed(&v.id, &canonical, &v.kind, &v.value);
    }
    for v in &file.invalid {
        let error = Value::decode(&mut Reader::new(&unhex(&v.hex))).expect_err(&v.id);
        match v.outcome.as_str() {
            "incomplete" => assert!(error.is_truncated(), "{}: {error}", v.id),
            "error" => assert!(!error.is_truncated(), "{}: {error}", v.id),
            other => panic!("{}: {other}", v.id),
        }
        // Inside a whole frame each of them is an invalid frame, the incomplete ones too.
        assert_eq!(error.status().0, v.status.unwrap_or(4), "{}", v.id);
    }
    assert_all(file.valid.iter().map(|v| &v.id), 36);
    assert_all(file.lenient.iter().map(|v| &v.id), 4);
    assert_all(file.invalid.iter().map(|v| &v.id), 18);
    let counts = (file.valid.len(), file.lenient.len(), file.invalid.len());
    println!("vectors: typed {} valid, {} lenient, {} invalid", counts.0, counts.1, counts.2);
}
