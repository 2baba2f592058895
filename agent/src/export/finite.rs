//! Numbers that JSON does not have.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;

/// JSON has no numbers that are not finite, and what the library writes instead is refused by readers of OTLP: such a
/// value becomes a text.
pub(crate) fn make_finite(resource_spans: &mut ResourceSpans) {
    resource_spans.resource.iter_mut().for_each(|resource| of_attributes(&mut resource.attributes));
    for scope_spans in &mut resource_spans.scope_spans {
        scope_spans.scope.iter_mut().for_each(|scope| of_attributes(&mut scope.attributes));
        for span in &mut scope_spans.spans {
            of_attributes(&mut span.attributes);
            span.events.iter_mut().for_each(|event| of_attributes(&mut event.attributes));
            span.links.iter_mut().for_each(|link| of_attributes(&mut link.attributes));
        }
    }
}

fn of_attributes(attributes: &mut [KeyValue]) {
    attributes.iter_mut().filter_map(|kv| kv.value.as_mut()).for_each(of_value);
}

fn of_value(value: &mut AnyValue) {
    match &mut value.value {
        Some(Value::DoubleValue(number)) if !number.is_finite() => {
            let text = match *number {
                n if n.is_nan() => "NaN",
                n if n > 0.0 => "Infinity",
                _ => "-Infinity",
            };
            value.value = Some(Value::StringValue(text.to_owned()));
        }
        Some(Value::ArrayValue(array)) => array.values.iter_mut().for_each(of_value),
        Some(Value::KvlistValue(pairs)) => of_attributes(&mut pairs.values),
        _ => {}
    }
}
