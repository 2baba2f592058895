//! What all resources have in common, with the attributes of `OTEL_RESOURCE_ATTRIBUTES`.
//!
//! The SDK reads the variable too, but leaves its values percent-encoded and skips what it cannot read without a word.

use crate::environment;
use crate::semconv::SERVICE_INSTANCE_ID;
use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use percent_encoding::percent_decode_str;
use std::sync::LazyLock;

/// Name of the variable.
pub(crate) const VARIABLE: &str = "OTEL_RESOURCE_ATTRIBUTES";

/// This process's `service.instance.id`, a random UUID.
pub(crate) fn instance_id() -> &'static str {
    static ID: LazyLock<String> = LazyLock::new(|| uuid::Uuid::new_v4().to_string());
    &ID
}

/// Why the variable is ignored as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ResourceError {
    /// An entry without `=`, or without a name.
    #[error("{VARIABLE}: {0:?} is not name=value; the whole variable is ignored")]
    NotNameValue(String),
    /// Percent-encoded bytes that are no UTF-8.
    #[error("{VARIABLE}: the value of {0} is not UTF-8 when percent-decoded; the whole variable is ignored")]
    NotUtf8(String),
}

/// Reads `name=value,name=value`, with percent-encoded names and values.
pub(crate) fn parse(text: &str) -> Result<Vec<(String, String)>, ResourceError> {
    let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    let parsed = entries.map(|entry| {
        let not_name_value = || ResourceError::NotNameValue(entry.to_owned());
        let (name, value) = entry.split_once('=').ok_or_else(not_name_value)?;
        let (name, value) = (name.trim(), value.trim());
        let decode = |text| percent_decode_str(text).decode_utf8().map(String::from);
        let decoded = decode(name).and_then(|name| Ok((name, decode(value)?)));
        let decoded = decoded.map_err(|_| ResourceError::NotUtf8(name.to_owned()))?;
        Some(decoded).filter(|(name, _)| !name.is_empty()).ok_or_else(not_name_value)
    });
    parsed.collect()
}

/// `telemetry.sdk.*`, the attributes of the environment, and this instance's id if the environment has none. An
/// unusable variable is ignored: the tracer's configuration has told the user.
pub(crate) fn common(instance_id: &str) -> Resource {
    let attributes = environment::variable(VARIABLE).and_then(|text| parse(&text).ok()).unwrap_or_default();
    let attributes = attributes.into_iter().map(|(name, value)| KeyValue::new(name, value));
    let id = KeyValue::new(SERVICE_INSTANCE_ID, instance_id.to_owned());
    // Later ones replace earlier ones.
    Resource::builder_empty()
        .with_attribute(id)
        .with_attributes(attributes)
        .with_detector(Box::new(TelemetryResourceDetector))
        .build()
}

/// The resource of a service.
pub(crate) fn of_service(common: &Resource, service: &str) -> Resource {
    let common = common.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
    Resource::builder_empty().with_attributes(common).with_service_name(service.to_owned()).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        parse(text).unwrap()
    }

    #[test]
    fn names_and_values_are_decoded() {
        let owned = |pairs: &[(&str, &str)]| -> Vec<_> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        assert_eq!(pairs(" a = 1 ,b=x%2Cy%3D%C3%A9,c=,"), owned(&[("a", "1"), ("b", "x,y=\u{e9}"), ("c", "")]));
        assert_eq!(pairs("base64=SGk=,p%20q=100%"), owned(&[("base64", "SGk="), ("p q", "100%")]));
        assert_eq!(pairs(""), []);
    }

    #[test]
    fn one_error_spoils_all() {
        assert_eq!(parse("a=1,b"), Err(ResourceError::NotNameValue("b".to_owned())));
        assert_eq!(parse("=1"), Err(ResourceError::NotNameValue("=1".to_owned())));
        let error = parse("a=1,b=%ff").unwrap_err().to_string();
        assert!(error.starts_with("OTEL_RESOURCE_ATTRIBUTES: the value of b is not UTF-8"), "{error}");
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn encoded_attributes_come_back(attributes in proptest::collection::vec(("\\PC{1,8}", "\\PC{0,8}"), 0..4)) {
            let encode = |text| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC);
            let entries = attributes.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value)));
            let text = entries.collect::<Vec<_>>().join(",");
            proptest::prop_assert_eq!(parse(&text), Ok(attributes));
        }
    }
}
