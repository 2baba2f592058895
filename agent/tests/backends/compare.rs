//! Spans of two tellers, span by span.

use std::collections::{BTreeMap, BTreeSet};

use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};
use serde_json::{Value as Json, json};

/// By trace and span id. Each has its resource and its instrumentation scope, and nothing in it has an order that means nothing.
pub type Spans = BTreeMap<(String, String), Json>;

/// Those of an export in JSON. One that is there twice has to be the same both times.
pub fn spans(otlp: &Json) -> Spans {
    let mut spans = Spans::new();
    for of_resource in otlp["resourceSpans"].as_array().into_iter().flatten() {
        let of_resource: ResourceSpans =
            serde_json::from_value(of_resource.clone()).unwrap_or_else(|error| panic!("{error}: {of_resource:#}"));
        let mut resource = json!(of_resource.resource);
        by_key(&mut resource);
        let service = resource["attributes"]["service.name"]["stringValue"].clone();
        for ScopeSpans { scope, spans: of_scope, .. } in of_resource.scope_spans {
            for span in of_scope {
                let id = (hex(&span.trace_id), hex(&span.span_id));
                let mut told = json!({"service": service, "resource": resource, "scope": scope, "span": span});
                by_key(&mut told);
                if let Some(before) = spans.insert(id.clone(), told.clone()) {
                    assert_eq!(before, told, "two spans of one id: {id:?}");
                }
            }
        }
    }
    spans
}

/// Makes each list of attributes an object: their order means nothing.
fn by_key(value: &mut Json) {
    match value {
        Json::Object(fields) => {
            for (name, value) in fields {
                by_key(value);
                if let ("attributes", Json::Array(list)) = (name.as_str(), &*value) {
                    let count = list.len();
                    let of = |pair: &Json| (pair["key"].as_str().expect("a key").to_owned(), pair["value"].clone());
                    let object: serde_json::Map<_, _> = list.iter().map(of).collect();
                    assert_eq!(object.len(), count, "a key twice: {object:?}");
                    *value = Json::Object(object);
                }
            }
        }
        Json::Array(list) => list.iter_mut().for_each(by_key),
        _ => {}
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The ids of their traces.
pub fn traces(spans: &Spans) -> BTreeSet<String> {
    spans.keys().map(|(trace, _)| trace.clone()).collect()
}

/// What differs, a line each.
pub fn differences(said: &Spans, held: &Spans) -> Vec<String> {
    let mut found = Vec::new();
    for (id, said) in said {
        let name = format!("{}/{} {}", id.0, id.1, said["span"]["name"]);
        match held.get(id) {
            None => found.push(format!("{name}: missing")),
            Some(held) => differ(&name, said, held, &mut found),
        }
    }
    found
        .extend(held.keys().filter(|id| !said.contains_key(id)).map(|id| format!("{}/{}: nobody said it", id.0, id.1)));
    found
}

fn differ(path: &str, said: &Json, held: &Json, found: &mut Vec<String>) {
    match (said, held) {
        (Json::Object(a), Json::Object(b)) => {
            for key in a.keys().chain(b.keys().filter(|key| !a.contains_key(*key))) {
                differ(&format!("{path} {key}"), &said[key], &held[key], found);
            }
        }
        (Json::Array(a), Json::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                differ(&format!("{path} {index}"), a, b, found);
            }
        }
        _ if said == held => {}
        _ => found.push(format!("{path}: {said} became {held}")),
    }
}

#[test]
fn every_difference_is_seen() {
    let export = |id: &str, name: &str, time: &str, attributes: Json| {
        let span = json!({"traceId": "0102030405060708090a0b0c0d0e0f10", "spanId": id, "name": name, "startTimeUnixNano": time, "attributes": attributes});
        let resource = json!({"attributes": [{"key": "service.name", "value": {"stringValue": "s"}}]});
        spans(&json!({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [span]}]}]}))
    };
    let text = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let (a, b) = (text("a", "1"), text("b", "2"));
    let said = export("0102030405060708", "n", "5", json!([a, b]));
    assert_eq!(said.values().next().unwrap()["service"], "s");
    assert_eq!(differences(&said, &export("0102030405060708", "n", "5", json!([b, a]))), [""; 0]);
    for other in [
        export("0102030405060708", "m", "5", json!([a, b])),
        export("0102030405060708", "n", "6", json!([a, b])),
        export("0102030405060708", "n", "5", json!([a])),
        export("0102030405060708", "n", "5", json!([a, text("b", "3")])),
    ] {
        assert_eq!(differences(&said, &other).len(), 1, "{other:?}");
    }
    assert_eq!(differences(&said, &export("0102030405060709", "n", "5", json!([a, b]))).len(), 2);
}
