//! What Jaeger holds, by its query API.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::compare::{Spans, differences, spans};
use crate::servers::Jaeger;

impl Jaeger {
    async fn get(&self, path: &str) -> Option<Json> {
        let answer = self.http.get(format!("http://{}{path}", self.query)).send().await.unwrap();
        let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
        match status {
            200 => Some(serde_json::from_str(&text).unwrap()),
            404 => None,
            _ => panic!("{path}: {status}: {text}"),
        }
    }

    /// A trace as it came, or as Jaeger makes it fit to be shown, with its warnings.
    async fn trace(&self, id: &str, raw: bool) -> Spans {
        let answer = self.get(&format!("/api/v3/traces/{id}?raw_traces={raw}")).await;
        answer.map(|answer| spans(&answer["result"])).unwrap_or_default()
    }

    /// All spans of these traces, as they came.
    pub async fn spans<'a>(&self, traces: impl IntoIterator<Item = &'a String>) -> Spans {
        let mut found = Spans::new();
        for id in traces {
            found.extend(self.trace(id, true).await);
        }
        found
    }

    /// It holds each trace of these spans as the agent said it, and shows it so.
    pub async fn assert_holds(&self, said: &Spans, context: &str) {
        let mut traces: BTreeMap<&str, Spans> = BTreeMap::new();
        for (id, span) in said {
            traces.entry(&id.0).or_default().insert(id.clone(), span.clone());
        }
        for (id, said) in traces {
            for raw in [true, false] {
                let found = differences(&said, &self.trace(id, raw).await);
                assert!(found.is_empty(), "{context}, raw {raw}: {} differences:\n{}", found.len(), found.join("\n"));
            }
            let shown = self.get(&format!("/api/traces/{id}")).await.expect("the trace");
            let found = not_shown(&said, &shown["data"][0]);
            assert!(found.is_empty(), "{context}, shown: {}\n{shown:#}", found.join("\n"));
        }
    }
}

/// What Jaeger's pages would show otherwise than it was said: its older form of a trace.
fn not_shown(said: &Spans, shown: &Json) -> Vec<String> {
    let mut found = Vec::new();
    let all = shown["spans"].as_array().expect("spans");
    if all.len() != said.len() {
        found.push(format!("{} spans are shown, not {}", all.len(), said.len()));
    }
    for ((trace, id), told) in said {
        let Some(span) = all.iter().find(|span| span["spanID"] == **id) else {
            found.push(format!("{id}: missing"));
            continue;
        };
        let tag =
            |key: &str| span["tags"].as_array().unwrap().iter().find(|tag| tag["key"] == key).map(|tag| &tag["value"]);
        let process = &shown["processes"][span["processID"].as_str().unwrap()];
        let of = &told["span"];
        let nanos = |key: &str| of[key].as_str().unwrap().parse::<u64>().unwrap();
        let kinds = ["", "internal", "server", "client", "producer", "consumer"];
        let kind = Json::from(kinds[of["kind"].as_u64().unwrap_or(0) as usize]);
        let failed = (of["status"]["code"] == 2).then(|| Json::from(true));
        let mut expect = |what: &str, shown: &Json, said: Json| {
            if *shown != said {
                found.push(format!("{id} {what}: {said} is shown as {shown}"));
            }
        };
        expect("warnings", &span["warnings"], Json::Null);
        expect("service", &process["serviceName"], told["service"].clone());
        expect("name", &span["operationName"], of["name"].clone());
        expect("start", &span["startTime"], (nanos("startTimeUnixNano") / 1000).into());
        let duration = (nanos("endTimeUnixNano") - nanos("startTimeUnixNano")) / 1000;
        expect("duration", &span["duration"], duration.into());
        expect("kind", tag("span.kind").unwrap_or(&Json::Null), kind);
        expect("error", tag("error").unwrap_or(&Json::Null), failed.unwrap_or_default());
        let mut references: Vec<_> = span["references"].as_array().into_iter().flatten().cloned().collect();
        let mut expected = Vec::new();
        let mut reference = |kind: &str, trace: &Json, id: &Json| {
            expected.push(serde_json::json!({"refType": kind, "traceID": trace, "spanID": id}));
        };
        if of["parentSpanId"] != "" {
            reference("CHILD_OF", &trace.as_str().into(), &of["parentSpanId"]);
        }
        for link in of["links"].as_array().into_iter().flatten() {
            reference("FOLLOWS_FROM", &link["traceId"], &link["spanId"]);
        }
        for list in [&mut references, &mut expected] {
            list.sort_by_key(Json::to_string);
        }
        expect("references", &references.into(), expected.into());
        let logs = span["logs"].as_array().map_or(0, Vec::len);
        expect("events", &logs.into(), of["events"].as_array().map_or(0, Vec::len).into());
    }
    found
}
