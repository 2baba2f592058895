//! What is in spans as text for people. The values come from the network: they
//! may hold anything.

use crate::semconv::SERVICE_NAME;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

/// Nanoseconds since the epoch, as OTLP has them.
pub(crate) fn nanos(time: SystemTime) -> u64 {
    let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX)
}

/// The service that a received resource names.
pub(crate) fn service_name(resource: Option<&Resource>) -> String {
    let named = resource.and_then(|resource| attribute(&resource.attributes, SERVICE_NAME));
    named.unwrap_or_else(|| "unknown_service".to_owned())
}

/// The attribute of this name, if it has a value.
pub(crate) fn attribute(attributes: &[KeyValue], name: &str) -> Option<String> {
    let value = attributes.iter().find(|kv| kv.key == name)?.value.as_ref()?;
    value.value.is_some().then(|| of_value(value))
}

/// The value as text; what is nested looks like JSON without quotes.
pub(crate) fn of_value(value: &AnyValue) -> String {
    let mut out = String::new();
    append(&mut out, value);
    out
}

/// Received values are not nested deeper than the decoder allows.
fn append(out: &mut String, value: &AnyValue) {
    // Writing to a String cannot fail.
    let _infallible = match &value.value {
        None | Some(Value::StringValueStrindex(_)) => Ok(()),
        Some(Value::StringValue(text)) => out.write_str(text),
        Some(Value::BoolValue(value)) => write!(out, "{value}"),
        Some(Value::IntValue(value)) => write!(out, "{value}"),
        Some(Value::DoubleValue(value)) => write!(out, "{value}"),
        Some(Value::BytesValue(bytes)) => bytes.iter().try_for_each(|byte| write!(out, "{byte:02x}")),
        Some(Value::ArrayValue(array)) => {
            list(out, ('[', ']'), &array.values, append);
            Ok(())
        }
        Some(Value::KvlistValue(pairs)) => {
            list(out, ('{', '}'), &pairs.values, |out, pair| {
                out.push_str(&pair.key);
                out.push_str(": ");
                pair.value.iter().for_each(|value| append(out, value));
            });
            Ok(())
        }
    };
}

fn list<T>(out: &mut String, (open, close): (char, char), items: &[T], item: impl Fn(&mut String, &T)) {
    out.push(open);
    for (index, element) in items.iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        item(out, element);
    }
    out.push(close);
}

/// A visible form of a character that is invisible, acts on a terminal or
/// reorders what is around it; `None` for all others.
pub(crate) fn escape(c: char) -> Option<String> {
    match c {
        '\n' => Some("\\n".to_owned()),
        '\r' => Some("\\r".to_owned()),
        '\t' => Some("\\t".to_owned()),
        c if c.is_control() || is_format(c) => Some(format!("\\u{{{:x}}}", u32::from(c))),
        _ => None,
    }
}

/// Unicode's format characters (Cf) and line separators: invisible, and able to
/// reorder what is around them.
fn is_format(c: char) -> bool {
    matches!(
        u32::from(c),
        0xad | 0x600..=0x605 | 0x61c | 0x6dd | 0x70f | 0x890..=0x891 | 0x8e2 | 0x180e
            | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0xfeff | 0xfff9..=0xfffb
            | 0x110bd | 0x110cd | 0x13430..=0x1343f | 0x1bca0..=0x1bca3 | 0x1d173..=0x1d17a
            | 0xe0001..=0xe007f
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::common::v1::{ArrayValue, KeyValueList};

    #[test]
    fn received_values_as_text() {
        let any = |value| AnyValue { value: Some(value) };
        let kv = |key: &str, value| KeyValue { key: key.to_owned(), value, ..Default::default() };
        let list =
            ArrayValue { values: vec![any(Value::IntValue(1)), AnyValue::default(), any(Value::BoolValue(true))] };
        let map =
            KeyValueList { values: vec![kv("a", Some(any(Value::StringValue("x y".to_owned())))), kv("none", None)] };
        let values = [
            ("int", any(Value::IntValue(-3)), "-3"),
            ("double", any(Value::DoubleValue(f64::NAN)), "NaN"),
            ("bytes", any(Value::BytesValue(vec![0, 0xab])), "00ab"),
            ("list", any(Value::ArrayValue(list)), "[1, , true]"),
            ("map", any(Value::KvlistValue(map)), "{a: x y, none: }"),
        ];
        let attributes: Vec<_> = values.iter().map(|(name, value, _)| kv(name, Some(value.clone()))).collect();
        for (name, _, text) in values {
            assert_eq!(attribute(&attributes, name).as_deref(), Some(text), "{name}");
        }
        assert_eq!(attribute(&[kv("none", None)], "none"), None);
        assert_eq!(attribute(&[kv("empty", Some(AnyValue::default()))], "empty"), None);
        assert_eq!(attribute(&[], "absent"), None);
    }

    #[test]
    fn a_resource_without_a_name_is_an_unknown_service() {
        assert_eq!(service_name(None), "unknown_service");
        assert_eq!(service_name(Some(&Resource::default())), "unknown_service");
    }
}
