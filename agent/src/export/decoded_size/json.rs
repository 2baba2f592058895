//! The same of a request in JSON.

use super::{Field, REQUEST, Shape, list};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::fmt;
use std::mem::size_of;

/// What the decoder keeps for a while of a value in a place where it does not know whether it needs it: at most this.
const UNKNOWN: usize = 64;

/// The memory that a request in JSON takes when decoded.
///
/// # Errors
/// It is no JSON, nested too deeply, or not of the form that OTLP has in JSON.
pub(in crate::export) fn decoded_json_size(body: &[u8]) -> Result<usize, serde_json::Error> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let size = Measure::One(&REQUEST).deserialize(&mut json)?;
    json.end()?;
    Ok(size)
}

/// Measures what is expected at one place.
#[derive(Clone, Copy)]
enum Measure {
    One(&'static Shape),
    Many(&'static Shape),
    Texts,
    Other,
}

impl Measure {
    fn of(field: Option<&'static Field>) -> Self {
        match field {
            Some(Field::Message(shape)) => Measure::One(shape),
            Some(Field::Messages(shape)) => Measure::Many(shape),
            Some(Field::Texts) => Measure::Texts,
            None => Measure::Other,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Measure {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<usize, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Measure {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Measure::One(_) => "an object",
            Measure::Many(_) | Measure::Texts => "an array",
            Measure::Other => "a value",
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<usize, A::Error> {
        let fields = match self {
            Measure::One(shape) => shape.fields,
            Measure::Other => &[],
            Measure::Many(_) | Measure::Texts => return Err(A::Error::custom("an object where an array is expected")),
        };
        let mut total = 0_usize;
        while let Some((field, name)) = map.next_key_seed(Name(fields))? {
            let value = map.next_value_seed(Measure::of(field))?;
            let of_field = match field {
                Some(Field::Message(shape)) => shape.size,
                Some(_) => 0,
                None => UNKNOWN + name,
            };
            total = total.saturating_add(of_field).saturating_add(value);
        }
        Ok(total)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<usize, A::Error> {
        let (item, size) = match self {
            Measure::Many(shape) => (Measure::One(shape), shape.size),
            Measure::Texts => (Measure::Other, size_of::<String>()),
            Measure::Other => (Measure::Other, UNKNOWN),
            // serde would take one for an object's fields in their order.
            Measure::One(_) => return Err(A::Error::custom("an array where an object is expected")),
        };
        let (mut len, mut total) = (0, 0_usize);
        while let Some(inner) = items.next_element_seed(item)? {
            len += 1;
            total = total.saturating_add(inner);
        }
        Ok(total.saturating_add(list(len, size)))
    }

    fn visit_str<E>(self, text: &str) -> Result<usize, E> {
        Ok(text.len())
    }

    fn visit_bool<E>(self, _: bool) -> Result<usize, E> {
        Ok(0)
    }

    fn visit_i64<E>(self, _: i64) -> Result<usize, E> {
        Ok(0)
    }

    fn visit_u64<E>(self, _: u64) -> Result<usize, E> {
        Ok(0)
    }

    fn visit_f64<E>(self, _: f64) -> Result<usize, E> {
        Ok(0)
    }

    fn visit_unit<E>(self) -> Result<usize, E> {
        Ok(0)
    }
}

/// Finds the field of a name; gives the length of the name as well.
struct Name(&'static [(u32, &'static str, Field)]);

impl<'de> DeserializeSeed<'de> for Name {
    type Value = (Option<&'static Field>, usize);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = (Option<&'static Field>, usize);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        let field = self.0.iter().find(|(_, known, _)| *known == name);
        Ok((field.map(|(_, _, field)| field), name.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::decoded_size::decoded_size;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use prost::Message;

    const REQUEST: &str = r#"{"resourceSpans":[{
        "resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}],
                    "entityRefs":[{"schemaUrl":"","type":"t","idKeys":["a","b"],"descriptionKeys":[]}]},
        "scopeSpans":[{"scope":{"attributes":[{"key":"k"}]},"spans":[
            {"traceId":"000102030405060708090a0b0c0d0e0f","name":"n",
             "attributes":[{"key":"list","value":{"arrayValue":{"values":[{"intValue":"1"},{"boolValue":true}]}}},
                           {"key":"map","value":{"kvlistValue":{"values":[{"key":"x","value":{"doubleValue":1.5}}]}}}],
             "events":[{"name":"e","attributes":[{"key":"k"}]}],"links":[{"attributes":[{"key":"k"}]}]},
            {}]}]}]}"#;

    #[test]
    fn as_much_as_in_protobuf_and_what_is_kept_for_a_while() {
        let message: ExportTraceServiceRequest = serde_json::from_str(REQUEST).unwrap();
        let size = decoded_size(&message.encode_to_vec()).unwrap();
        let of_json = decoded_json_size(REQUEST.as_bytes()).unwrap();
        let names = REQUEST.matches("\":").count();
        assert!((size..size + names * (UNKNOWN + 32)).contains(&of_json), "{of_json} of {size}");
    }

    #[test]
    fn small_texts_are_as_large_as_what_they_become() {
        let many = |item: &str, n: usize| vec![item; n].join(",");
        let spans = |inner: &str| format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{inner}]}}]}}]}}"#);
        let value = |inner: &str| spans(&format!(r#"{{"attributes":[{{"key":"","value":{inner}}}]}}"#));
        let span = size_of::<opentelemetry_proto::tonic::trace::v1::Span>();
        for (text, least) in [
            (spans(&many("{}", 1000)), 1000 * span),
            (value(&format!(r#"{{"arrayValue":{{"values":[{}]}}}}"#, many("{}", 1000))), 32_000),
            (value(&format!(r#"{{"junk":[{}]}}"#, many("0", 1000))), 32_000),
            (value(&format!("{{{}}}", many(r#""":0"#, 1000))), 64_000),
        ] {
            assert!(decoded_json_size(text.as_bytes()).unwrap() >= least, "{text}");
        }
    }

    #[test]
    fn what_is_not_otlp_has_no_size() {
        let deep = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        for text in [
            "",
            "[]",
            "{",
            "{}{}",
            r#"{"resourceSpans":{}}"#,
            r#"{"resourceSpans":[[]]}"#,
            &format!(r#"{{"x":{}}}"#, deep(1000)),
        ] {
            assert!(decoded_json_size(text.as_bytes()).is_err(), "{text}");
        }
        for text in
            ["{}", r#"{"resourceSpans":null}"#, r#"{"unknown":[{"a":1}]}"#, &format!(r#"{{"x":{}}}"#, deep(100))]
        {
            assert!(decoded_json_size(text.as_bytes()).is_ok(), "{text}");
        }
    }
}
