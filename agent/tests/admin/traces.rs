//! `/traces` and `/traces.json` as HTTP clients see them.

use crate::export_common::{TRACE, context, span};
use crate::kept::{ATTACKS, DENIED, FAILED, HOSTILE, failed, filled, in_trace, nanos, serve, submit};
use opentelemetry::KeyValue;
use opentelemetry::trace::{Event, Link, SpanKind, Status};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue as ProtoKeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use reqwest::{Response, StatusCode};
use serde_json::{Value as Json, json};
use spoa_otel::export::receiver::{ReceivedRequest, RequestSink};
use spoa_otel::export::recent::{Recent, RecentConfig};
use std::net::SocketAddr;
use std::sync::Arc;

async fn get(addr: SocketAddr, path: &str) -> Response {
    // The client wants one, though nothing here is encrypted. The second time there is one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap().get(format!("http://{addr}{path}")).send().await.unwrap()
}

async fn text(addr: SocketAddr, path: &str) -> String {
    let response = get(addr, path).await;
    assert_eq!(response.status(), StatusCode::OK, "{path}");
    response.text().await.unwrap()
}

async fn json(addr: SocketAddr, path: &str) -> Json {
    serde_json::from_str(&text(addr, path).await).unwrap()
}

/// The ids of the traces that the list shows, in its order.
fn listed(page: &str) -> Vec<u128> {
    let links = page.split("<a class=\"row\" href=\"/traces/").skip(1);
    links.map(|rest| u128::from_str_radix(&rest[..32], 16).unwrap()).collect()
}

#[tokio::test]
async fn every_answer_has_the_headers_that_protect_it() {
    let addr = serve(filled()).await;
    let good = format!("/traces/{TRACE:032x}");
    for (path, status, content_type) in [
        ("/traces", 200, "text/html; charset=utf-8"),
        ("/traces?min=soon", 400, "text/html; charset=utf-8"),
        ("/traces?id=1&id=2", 400, "text/plain; charset=utf-8"),
        (&*good, 200, "text/html; charset=utf-8"),
        ("/traces/00000000000000000000000000000001", 404, "text/html; charset=utf-8"),
        ("/traces/00000000000000000000000000000001.json", 404, "text/plain; charset=utf-8"),
        ("/traces.json", 200, "application/json"),
        ("/traces.json?min=soon", 400, "text/plain; charset=utf-8"),
        ("/traces/style.css", 200, "text/css; charset=utf-8"),
        ("/traces/app.js", 200, "text/javascript; charset=utf-8"),
    ] {
        let response = get(addr, path).await;
        assert_eq!(response.status().as_u16(), status, "{path}");
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header("content-type"), content_type, "{path}");
        assert_eq!(
            header("content-security-policy"),
            "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; base-uri 'none'; \
             form-action 'self'; frame-ancestors 'none'"
        );
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("referrer-policy"), "no-referrer");
        assert_eq!(header("cache-control"), "no-store");
    }
}

#[tokio::test]
async fn a_trace_is_headed_by_its_request_everywhere() {
    let addr = serve(filled()).await;
    let list = text(addr, "/traces").await;
    let row = |id: u128| list.split("<tr").find(|row| row.contains(&format!("{id:032x}"))).unwrap();
    let good = row(TRACE);
    assert!(good.contains("<bdi>GET /hello</bdi></a> <span class=\"status\"><bdi>200</bdi></span>"), "{good}");
    assert!(good.contains("<span class=\"note\"><bdi>HAProxy session</bdi></span>"), "{good}");
    // Of the older conventions, without its query.
    let denied = row(DENIED);
    assert!(denied.contains("<bdi>POST /order</bdi></a> <span class=\"status failed\"><bdi>503</bdi>"), "{denied}");
    assert!(!list.contains("token"), "{list}");
    // Why it failed, if that is more than the status.
    let failed = row(FAILED);
    assert!(failed.contains("2 errors</span> <span class=\"message\"><bdi>502: the server closed"), "{failed}");
    // A root that is called so already is not named twice.
    assert_eq!(row(FAILED).matches("/cart").count(), 1, "{}", row(FAILED));
    let page = text(addr, &format!("/traces/{TRACE:032x}")).await;
    assert!(page.contains("<h1><bdi>GET /hello</bdi> <span class=\"status\"><bdi>200</bdi></span></h1>"), "{page}");
    assert!(page.contains("<p class=\"meta\"><bdi>HAProxy session</bdi> · <code>"), "{page}");
    let title = format!("<title>GET /hello 200 · {} · spoa-otel</title>", &format!("{TRACE:032x}")[..8]);
    assert!(page.contains(&title), "{page}");

    let all = json(addr, "/traces.json").await;
    let of = |id: u128| all["traces"].as_array().unwrap().iter().find(|of| hex(&of["traceId"]) == id).unwrap().clone();
    let session = "HAProxy session";
    let expected = json!({"traceId": format!("{TRACE:032x}"), "name": session, "method": "GET", "path": "/hello", "status": "200"});
    assert_eq!(of(TRACE), expected);
    let expected = json!({"traceId": format!("{DENIED:032x}"), "name": session, "method": "POST", "path": "/order", "status": "503"});
    assert_eq!(of(DENIED), expected);
    let one = json(addr, &format!("/traces/{DENIED:032x}.json")).await;
    assert_eq!(one["traces"], json!([expected]));
}

#[tokio::test]
async fn the_trace_of_a_log_line_is_told_by_one_row() {
    let recent = Arc::new(Recent::new(RecentConfig::default()));
    let mut server = span("proxy", 1, 0, "GET", 0, 1_000);
    let mut client = span("proxy", 2, 1, "GET", 0, 1_000);
    for (span, kind, error) in
        [(&mut server, SpanKind::Server, "503"), (&mut client, SpanKind::Client, "connect_failed")]
    {
        span.data.span_kind = kind;
        span.data.status = Status::error("");
        span.data.attributes = vec![KeyValue::new("error.type", error), KeyValue::new("http.request.method", "GET")];
    }
    server.data.attributes.push(KeyValue::new("url.path", "/a"));
    server.data.attributes.push(KeyValue::new("http.response.status_code", 503));
    submit(&recent, vec![client, server]);
    let addr = serve(recent).await;
    let list = text(addr, "/traces").await;
    let expected = "<bdi>GET /a</bdi></a> <span class=\"status failed\"><bdi>503</bdi></span> <span class=\"error\">✗ 2 \
                    errors</span> <span class=\"message\"><bdi>connect_failed</bdi></span>";
    assert!(list.contains(expected), "the root's name is a part of what was asked: {list}");
    let page = text(addr, &format!("/traces/{TRACE:032x}")).await;
    assert!(page.contains("<span class=\"message\"><bdi>connect_failed</bdi></span>"), "{page}");
    assert!(page.contains("<p class=\"meta\"><code>"), "{page}");
}

#[tokio::test]
async fn the_list_is_newest_first_and_finds_by_id_service_text_duration_and_error() {
    let addr = serve(filled()).await;
    let all = text(addr, "/traces").await;
    assert_eq!(listed(&all)[..3], [HOSTILE, DENIED, FAILED]);
    let mut good = listed(&all)[3..].to_vec();
    good.sort_unstable();
    assert_eq!(good, [0xab_cdef, TRACE]);
    for (query, expected) in [
        (format!("id={}", &format!("{TRACE:032x}")[..5]), vec![TRACE]),
        (format!("id=%20{FAILED:032X}%20"), vec![FAILED]),
        ("id=no".to_owned(), vec![]),
        ("service=HAPROXY-2&min=60s".to_owned(), vec![DENIED]),
        ("service=fake&id=4bf".to_owned(), vec![TRACE]),
        ("error=1".to_owned(), vec![HOSTILE, FAILED]),
        ("error=0&id=de2".to_owned(), vec![DENIED]),
        ("q=sh--".to_owned(), vec![FAILED]),
        ("q=get+%2Fcart".to_owned(), vec![FAILED]),
        // Method and path are two attributes, and one heading.
        (format!("q=POST+%2Forder&id={DENIED:032x}"), vec![DENIED]),
        ("min=120s".to_owned(), vec![DENIED]),
        ("min=30ms&error=1".to_owned(), vec![FAILED]),
        ("id=&service=&q=&min=&error=&page=1&other=x&id2=".to_owned(), listed(&all)),
    ] {
        assert_eq!(listed(&text(addr, &format!("/traces?{query}")).await), expected, "{query}");
        let json = json(addr, &format!("/traces.json?{query}")).await;
        let mut ids: Vec<u128> = spans(&json).map(|span| hex(&span["traceId"])).collect();
        ids.dedup();
        assert_eq!(ids, expected, "{query}");
    }
    let none = text(addr, "/traces?service=nobody").await;
    assert!(none.contains("None of the 5 kept traces is like that"), "{none}");
    let wrong = get(addr, "/traces?min=soon&service=%3Cb%3E").await.text().await.unwrap();
    assert!(wrong.contains("min=soon: ") && wrong.contains("value=\"&#60;b&#62;\""), "{wrong}");
}

#[tokio::test]
async fn what_is_not_there_is_explained() {
    let addr = serve(Arc::new(Recent::new(RecentConfig::default()))).await;
    assert!(text(addr, "/traces").await.contains("No trace yet"));
    assert_eq!(text(addr, "/traces.json").await, "{\"resourceSpans\":[],\"traces\":[]}\n");
    let unknown = get(addr, "/traces/00000000000000000000000000000001").await.text().await.unwrap();
    assert!(unknown.contains("the last 500 traces") && unknown.contains("32.0 MiB"), "{unknown}");
    let no_id = get(addr, "/traces/%3Cscript%3E").await;
    assert_eq!(no_id.status(), StatusCode::NOT_FOUND);
    let no_id = no_id.text().await.unwrap();
    assert!(no_id.contains("<bdi>&#60;script&#62;</bdi> is not a trace id"), "{no_id}");
}

#[tokio::test]
async fn a_trace_is_a_tree_with_links_that_lead_to_its_spans() {
    let addr = serve(filled()).await;
    let page = text(addr, &format!("/traces/{TRACE:032x}")).await;
    assert_eq!(page.matches("<summary class=\"row\">").count(), 19);
    assert!(page.contains("19 spans") && page.contains("23.4 ms") && page.contains("2026-11-21T03:50:35.123Z"));
    // The second HAProxy's first span is on the third level, and its follower's link has a target.
    assert!(page.contains("id=\"span-0000000000000200\""));
    assert!(page.contains("follows <a href=\"#span-0000000000000102\"><bdi>Frontend TCP request</bdi></a>"));
    for service in ["haproxy-1", "haproxy-2", "fake-server"] {
        assert!(page.contains(&format!("<summary><bdi>{service}</bdi></summary>")), "{service}");
    }
    assert!(page.contains("<strong><bdi>cache.miss</bdi></strong>"));
    let denied = text(addr, &format!("/traces/{DENIED:032x}")).await;
    assert_eq!(denied.matches("ended: <bdi>idle</bdi>").count(), 3, "{denied}");
    let failed = text(addr, &format!("/traces/{FAILED:032x}")).await;
    assert!(failed.contains("✗ error</span> <bdi>502: the server closed the connection</bdi>"), "{failed}");
    // A link to another trace leads there if it is kept.
    let hostile = text(addr, &format!("/traces/{HOSTILE:032x}")).await;
    assert!(hostile.contains(&format!("href=\"/traces/{TRACE:032x}#span-0000000000000100\"")));
    assert!(hostile.contains("<code>0000000000000001</code> <span class=\"note\">not here</span>"));
}

#[tokio::test]
async fn hostile_values_are_text_everywhere() {
    let addr = serve(filled()).await;
    let query = percent_encoding::utf8_percent_encode(ATTACKS[1], percent_encoding::NON_ALPHANUMERIC).to_string();
    for path in [
        "/traces".to_owned(),
        format!("/traces?q={query}&id={query}&service={query}"),
        format!("/traces?min={query}"),
        format!("/traces/{HOSTILE:032x}"),
        format!("/traces/{query}"),
    ] {
        let page = get(addr, &path).await.text().await.unwrap();
        let lower = page.to_lowercase();
        // The only script, and no element or attribute that a value could have made.
        assert_eq!(lower.matches("<script").count(), 1, "{path}");
        for made in ["<img", "<svg/", "onerror=\"", "<h1>owned", "href=\"javascript", "\u{202e}", "\u{0}", "\u{1b}"] {
            assert!(!lower.contains(made), "{path}: {made:?}");
        }
        assert_eq!(lower.matches("</main>").count(), 1, "{path}");
    }
    let page = text(addr, &format!("/traces/{HOSTILE:032x}")).await;
    assert!(page.contains(r#"<b class="mark">\u{202e}</b>gnp.exe<b class="mark">\u{2066}\u{200b}</b>"#), "{page}");
    assert!(page.contains("30000 characters") && page.contains("cut here"));
}

#[tokio::test]
async fn large_traces_and_long_lists_are_bounded_and_say_so() {
    let recent = Arc::new(Recent::new(RecentConfig::default()));
    let mut many: Vec<_> = (1..=2500).map(|id| span("s", id, id.min(2) - 1, "many", id, id + 10)).collect();
    for span in &mut many {
        span.data.attributes = vec![KeyValue::new("text", "x".repeat(1500))];
        let link = Link::new(context(TRACE, 1), Vec::new(), 0);
        span.data.links.links.push(link);
    }
    submit(&recent, many);
    // As many events as fit into a trace.
    let mut noisy = span("s", 1, 0, "noisy", 0, 10);
    let event = Event::new("e", noisy.data.start_time, Vec::new(), 0);
    noisy.data.events.events = vec![event; 80_000];
    submit(&recent, in_trace(vec![noisy], FAILED));
    for trace in 0..250 {
        submit(&recent, in_trace(failed(), trace + 1));
    }
    let addr = serve(recent).await;
    let page = text(addr, &format!("/traces/{TRACE:032x}")).await;
    assert_eq!(page.matches("<summary class=\"row\">").count(), 2000);
    assert!(page.contains("500 more spans are not shown"), "{}", page.len());
    assert!(page.contains("This page is long enough"));
    // The 2 MiB of values, short and in full, and the rows.
    assert!(page.len() < 8 << 20, "{}", page.len());
    assert_eq!(spans(&json(addr, &format!("/traces/{TRACE:032x}.json")).await).count(), 2500);

    let noisy = text(addr, &format!("/traces/{FAILED:032x}")).await;
    assert!(noisy.contains("more are in the JSON") && noisy.len() < 8 << 20, "{}", noisy.len());

    let pages = [("", 100), ("?page=2", 100), ("?page=3", 52), ("?page=99", 52), ("?page=x", 100)];
    for (query, count) in pages {
        assert_eq!(listed(&text(addr, &format!("/traces{query}")).await).len(), count, "{query}");
    }
    let second = text(addr, "/traces?error=1&page=2").await;
    assert!(second.contains("Page 2 of 3, 250 traces"));
    assert!(second.contains("href=\"/traces?error=1\" rel=\"prev\""), "{second}");
    assert!(second.contains("href=\"/traces?error=1&#38;page=3\" rel=\"next\""), "{second}");
}

fn spans(json: &Json) -> impl Iterator<Item = &Json> {
    let resources = json["resourceSpans"].as_array().unwrap().iter();
    let scopes = resources.flat_map(|resource| resource["scopeSpans"].as_array().unwrap());
    scopes.flat_map(|scope| scope["spans"].as_array().unwrap())
}

fn hex(id: &Json) -> u128 {
    u128::from_str_radix(id.as_str().unwrap(), 16).unwrap()
}

/// Field by field what the specification says of OTLP's JSON: names in lowerCamelCase, ids in hex, enums as numbers, 64 bits
/// as strings.
#[tokio::test]
async fn json_is_otlp_as_specified() {
    let recent = Arc::new(Recent::new(RecentConfig::default()));
    let mut finished = span("shop", 2, 1, "GET", 10, 20);
    finished.data.span_kind = opentelemetry::trace::SpanKind::Client;
    finished.data.status = opentelemetry::trace::Status::error("no");
    finished.data.attributes = vec![
        KeyValue::new("n", i64::MIN),
        KeyValue::new("b", true),
        KeyValue::new("s", "ä\u{0}\""),
        KeyValue::new("f", 0.5),
    ];
    let event = Event::new("e", finished.data.start_time, vec![KeyValue::new("k", "v")], 3);
    finished.data.events.events.push(event);
    finished.data.links.links.push(Link::new(context(7, 9), Vec::new(), 0));
    submit(&recent, vec![finished]);
    let addr = serve(recent).await;
    let json = json(addr, &format!("/traces/{TRACE:032x}.json")).await;
    assert_eq!(json.as_object().unwrap().keys().collect::<Vec<_>>(), ["resourceSpans", "traces"]);
    let resource_spans = &json["resourceSpans"][0];
    let resource = resource_spans["resource"]["attributes"].as_array().unwrap();
    assert!(resource.contains(&json!({"key": "service.name", "value": {"stringValue": "shop"}})), "{resource:?}");
    assert_eq!(resource_spans["scopeSpans"][0]["scope"]["name"], "spoa-otel");
    let span = &resource_spans["scopeSpans"][0]["spans"][0];
    let expected = json!({
        "traceId": "4bf92f3577b34da6a3ce929d0e0e4736",
        "spanId": "0000000000000002",
        "parentSpanId": "0000000000000001",
        "name": "GET",
        "kind": 3,
        "startTimeUnixNano": nanos(10).to_string(),
        "endTimeUnixNano": nanos(20).to_string(),
        "attributes": [
            {"key": "n", "value": {"intValue": "-9223372036854775808"}},
            {"key": "b", "value": {"boolValue": true}},
            {"key": "s", "value": {"stringValue": "ä\u{0}\""}},
            {"key": "f", "value": {"doubleValue": 0.5}},
        ],
        "status": {"code": 2, "message": "no"},
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&span[name], value, "{name}");
    }
    let event = &span["events"][0];
    assert_eq!((&event["timeUnixNano"], &event["name"]), (&json!(nanos(10).to_string()), &json!("e")));
    assert_eq!(event["attributes"], json!([{"key": "k", "value": {"stringValue": "v"}}]));
    assert_eq!(event["droppedAttributesCount"], 3);
    let link = &span["links"][0];
    assert_eq!(link["traceId"], "00000000000000000000000000000007");
    assert_eq!(link["spanId"], "0000000000000009");
}

/// What came by OTLP goes out as it came, read back by the library's own types.
#[tokio::test]
async fn json_of_received_spans_reads_back_to_what_was_sent() {
    let double = |value| AnyValue { value: Some(any_value::Value::DoubleValue(value)) };
    let text = |text: &str| AnyValue { value: Some(any_value::Value::StringValue(text.to_owned())) };
    let attribute = |key: &str, value| ProtoKeyValue { key: key.to_owned(), value: Some(value), ..Default::default() };
    let list = |values| AnyValue { value: Some(any_value::Value::ArrayValue(ArrayValue { values })) };
    let bytes = AnyValue { value: Some(any_value::Value::BytesValue(vec![0, 255])) };
    let message = |attributes| ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            scope_spans: vec![ScopeSpans {
                spans: vec![Span {
                    trace_id: 9_u128.to_be_bytes().to_vec(),
                    span_id: 8_u64.to_be_bytes().to_vec(),
                    name: ATTACKS.concat(),
                    start_time_unix_nano: u64::MAX,
                    attributes,
                    ..Default::default()
                }],
                ..Default::default()
            }],
            schema_url: "https://example.com/schema".to_owned(),
            ..Default::default()
        }],
    };
    let sent = message(vec![
        attribute("nan", double(f64::NAN)),
        attribute("list", list(vec![double(f64::INFINITY), double(-1.5), double(f64::NEG_INFINITY)])),
        attribute("bytes", bytes.clone()),
        attribute("empty", AnyValue::default()),
    ]);
    // JSON has no such numbers: they come as texts.
    let expected = message(vec![
        attribute("nan", text("NaN")),
        attribute("list", list(vec![text("Infinity"), double(-1.5), text("-Infinity")])),
        attribute("bytes", bytes),
        attribute("empty", AnyValue::default()),
    ]);
    let recent = Arc::new(Recent::new(RecentConfig::default()));
    recent.accept(&Arc::new(ReceivedRequest::decode(sent.encode_to_vec().into(), 1 << 20).unwrap()));
    let addr = serve(recent).await;
    let body = get(addr, "/traces.json").await.text().await.unwrap();
    assert!(!body.contains("Value\":null"), "{body}");
    let read: ExportTraceServiceRequest = serde_json::from_str(&body).unwrap();
    assert_eq!(read, expected);
    let page = get(addr, &format!("/traces/{:032x}", 9)).await.text().await.unwrap();
    assert!(page.contains("unknown_service") && page.contains("<bdi>[inf, -1.5, -inf]</bdi>"), "{page}");
}
