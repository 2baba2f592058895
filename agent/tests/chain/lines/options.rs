//! What may be asked for: of the agent, and of HAProxy.

use std::time::Instant;

use super::client::{get, get_with};
use super::configuration::patient;
use super::{Mode, Proxy, Setup, Transport, with_each};
use crate::process::eventually;
use crate::scrape::Metrics;
use crate::spans::{Span, names};

const SAMPLED: &str = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n";
const UNSAMPLED: &str = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00\r\n";

#[tokio::test]
async fn what_failed_or_was_slow_is_kept_though_it_is_not_sampled() {
    with_each(async |program| {
        for mode in [Mode::Lean, Mode::LogOnly] {
            let spoa_args = &["--keep-errors", "--keep-slower-than", "900ms"];
            let proxy =
                Proxy::start(&program, Setup { spoa_args, edit: Some(&patient), ..Setup::of(mode, Transport::Udp) })
                    .await;
            let mut took = Vec::new();
            for path in ["/fine", "/status/404", "/status/500", "/slow"] {
                let begin = Instant::now();
                get_with(&proxy.addresses.http, path, UNSAMPLED).await;
                took.push((path, begin.elapsed()));
            }
            let all = |metrics: &Metrics| metrics.sum("log_requests_total", "") == (proxy.warm_up + 4) as f64;
            let metrics = Metrics::scrape_until(&proxy.spoa.admin, "four lines", all).await;
            let outcomes =
                ["kept_error", "kept_slow", "unsampled"].map(|outcome| metrics.sum("log_requests_total", outcome));
            // A busy machine is slow where nobody asked for it: the client saw that too.
            let slow = took.iter().filter(|(path, time)| *path != "/status/500" && time.as_millis() >= 900).count();
            assert_eq!(outcomes, [1.0, slow as f64, (3 - slow) as f64], "{program:?} {mode:?}: {took:?}");
            let spans = proxy.collector.wait_for(2 * (proxy.warm_up + 1 + slow)).await;
            let kept = |span: &&Span| span.trace_id == "0af7651916cd43dd8448eb211c80319c";
            let kept: Vec<_> = spans.iter().filter(kept).filter(|span| span.proto.kind == 2).collect();
            for (path, time) in &took {
                let why = match *path {
                    "/status/500" => Some("error"),
                    _ => (time.as_millis() >= 900).then_some("slow"),
                };
                let marks: Vec<_> = kept
                    .iter()
                    .filter(|span| span.tag("url.path").as_deref() == Some(*path))
                    .map(|span| span.tag("haproxy.span.kept"))
                    .collect();
                let expected: Vec<_> = why.map(|why| Some(why.to_owned())).into_iter().collect();
                assert_eq!(marks, expected, "{program:?} {mode:?} {path} {time:?}: {:#?}", names(&spans));
            }
            assert!(kept.iter().all(|span| span.parent == "b7ad6b7169203331"), "{:#?}", names(&spans));
        }
    })
    .await;
}

/// Ids that HAProxy made by itself, as without an agent, would be parents of what the servers record, and never come.
#[tokio::test]
async fn a_disabled_agent_gives_no_ids_and_leaves_none_to_haproxy() {
    with_each(async |program| {
        let spoa_env = &[("OTEL_SDK_DISABLED", "true")];
        let proxy = Proxy::start(&program, Setup { spoa_env, ..Setup::of(Mode::Lean, Transport::Udp) }).await;
        let seen = get_with(&proxy.addresses.http, "/called", SAMPLED).await;
        assert_eq!((seen.status, seen.trace_id), (Some(200), None), "{program:?}");
        get(&proxy.addresses.http, "/no-caller").await;
        let all = |metrics: &Metrics| metrics.sum("log_requests_total", "") >= (proxy.warm_up + 2) as f64;
        let metrics = Metrics::scrape_until(&proxy.spoa.admin, "the lines", all).await;
        assert_eq!(metrics.sum("log_requests_total", "untraced"), (proxy.warm_up + 2) as f64, "{program:?}");
        let told = |path: &str| proxy.origin.hits().iter().find(|hit| hit.path == path).unwrap().header("traceparent");
        let callers = SAMPLED.trim_end().trim_start_matches("traceparent: ");
        assert_eq!(told("/called").as_deref(), Some(callers), "{program:?}");
        assert_eq!(told("/no-caller"), None, "{program:?}");
        assert_eq!(proxy.collector.spans().len(), 0, "{program:?}");
    })
    .await;
}

#[tokio::test]
async fn the_waits_of_a_request_are_spans_on_request() {
    with_each(async |program| {
        let spoa_args = &["--log-phases"];
        let proxy = Proxy::start(
            &program,
            Setup { spoa_args, edit: Some(&patient), ..Setup::of(Mode::LogOnly, Transport::Udp) },
        )
        .await;
        let seen = get(&proxy.addresses.http, "/slow").await;
        let id = seen.trace_id.unwrap();
        let spans = eventually("four spans", || {
            let mut spans = proxy.collector.spans();
            spans.retain(|span| span.trace_id == id);
            (spans.len() >= 4).then_some(spans)
        })
        .await;
        let client = spans.iter().find(|span| span.proto.kind == 3).unwrap();
        let waited = spans.iter().find(|span| span.name == "wait for headers").unwrap();
        assert_eq!(waited.parent, client.span_id, "{program:?}: {:#?}", names(&spans));
        let nanos = waited.proto.end_time_unix_nano - waited.proto.start_time_unix_nano;
        assert!(nanos >= 990_000_000, "{program:?}: the server took a second, not {nanos} ns");
        assert!(spans.iter().any(|span| span.name == "connect"), "{program:?}: {:#?}", names(&spans));
    })
    .await;
}

/// From 3.1 on the line may do without the frontend's own format.
#[tokio::test]
async fn a_log_profile_will_do() {
    with_each(async |program| {
        if program.version < (3, 1) {
            return;
        }
        let target = "log \"${LOG_TARGET}\" len 65535 format rfc5424";
        let profile = "log-profile otel\n    on any format \"-\" sd \"${OTEL_SD}\"\n\ndefaults http\n";
        let edit = |text: String| {
            patient(text)
                .replace(target, &format!("{target} profile otel"))
                .replacen("defaults http\n", profile, 1)
                .replace("    log-format-sd \"${OTEL_SD}\"\n", "")
        };
        let setup = Setup { edit: Some(&edit), ..Setup::of(Mode::LogOnly, Transport::Udp) };
        let proxy = Proxy::start(&program, setup).await;
        let id = get(&proxy.addresses.http, "/profile").await.trace_id.unwrap();
        let spans = proxy.collector.wait_for(2).await;
        assert!(spans.iter().all(|span| span.trace_id == id), "{program:?}: {:#?}", names(&spans));
    })
    .await;
}

/// HAProxy's dice: of a thousand new traces that many, and those of callers as they say.
#[tokio::test]
async fn a_rate_of_haproxy_is_kept() {
    with_each(async |program| {
        let edit = |text: String| {
            assert!(text.contains("rand(1000),div(1000)"));
            patient(text).replace("rand(1000),div(1000)", "rand(1000),div(1)")
        };
        let proxy =
            Proxy::start(&program, Setup { edit: Some(&edit), ..Setup::of(Mode::LogOnly, Transport::Udp) }).await;
        for n in 0..20 {
            get(&proxy.addresses.http, &format!("/rare/{n}")).await;
        }
        get_with(&proxy.addresses.http, "/caller", &UNSAMPLED.replace("-00\r\n", "-01\r\n")).await;
        let traceparent = |path: &str| proxy.origin.hit(path).header("traceparent").unwrap();
        let recorded = (0..20).filter(|n| traceparent(&format!("/rare/{n}")).ends_with("-03")).count();
        assert!(recorded <= 3, "{program:?}: {recorded} of 20, where one of a thousand is wanted");
        assert!((0..20).all(|n| traceparent(&format!("/rare/{n}")).len() == 55), "{program:?}");
        assert!(traceparent("/caller").ends_with("-01"), "{program:?}");
    })
    .await;
}
