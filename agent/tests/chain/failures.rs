//! Requests that end without on-http-response: the idle limit ends their spans.

use crate::haproxy::programs;
use crate::process::eventually;
use crate::setup::{Chain, Setup, trace_id};
use crate::spans::{by_trace, find, names};

const SHORT_IDLE: &[&str] = &["--idle-timeout", "2s"];

#[tokio::test]
async fn denied_failed_and_aborted_requests_are_exported_and_marked() {
    for program in programs() {
        // Spans of a frontend that denied, of a proxy whose server gave no answer, of one with an answer.
        let (spoe_cfg, of_denied, of_failed, of_answered) =
            if program.bears_nine_spans() { ("spoe.cfg", 4, 7, 9) } else { ("spoe-http.cfg", 1, 2, 2) };
        let chain = Chain::start(&program, Setup { spoe_cfg, spoa_args: SHORT_IDLE, ..Setup::default() }).await;

        // HAProxy~2 denies: its own rule ends nothing.
        let denied = chain.get("/denied-2", &[]).await;
        assert_eq!(denied.status(), 403);
        // HAProxy~1 denies, and ends its spans by a group.
        let denied_early = chain.get("/denied", &[]).await;
        assert_eq!(denied_early.status(), 403);
        // The server closes without an answer.
        let failed = chain.get_alone("/close").await;
        assert_eq!(failed.status(), 502);
        // The client goes away while the server thinks.
        let aborted = chain.http.get(format!("{}/slow", chain.url)).timeout(std::time::Duration::from_millis(200));
        assert!(aborted.send().await.unwrap_err().is_timeout());

        let [denied, denied_early, failed] = [&denied, &denied_early, &failed].map(trace_id);
        let path_of_aborted = Some("/slow".to_owned());
        let traces = eventually("all four traces ended", || {
            let traces = by_trace(chain.collector.spans());
            let slow = traces.values().any(|spans| {
                let ended = |s: &&crate::spans::Span| s.name == "HAProxy session";
                spans.iter().filter(ended).any(|s| s.tag("url.path") == path_of_aborted)
            });
            let seen = |id: &String, n| traces.get(id).is_some_and(|spans| spans.len() >= n);
            (slow
                && seen(&denied, of_denied + of_answered)
                && seen(&denied_early, of_denied)
                && seen(&failed, 2 * of_failed))
            .then_some(traces)
        })
        .await;

        let spans = &traces[&denied];
        let inner = find(spans, "haproxy-2", "HAProxy session");
        assert_eq!(inner.tag("haproxy.span.end").as_deref(), Some("idle"), "{:#?}", names(spans));
        assert_eq!(find(spans, "haproxy-1", "HAProxy session").tag("haproxy.span.end"), None);
        assert_eq!(inner.parent, find(spans, "haproxy-1", "Server session").span_id);

        let early = find(&traces[&denied_early], "haproxy-1", "HAProxy session");
        assert_eq!(early.tag("haproxy.span.end"), None, "ended by the group");
        assert_eq!(early.tag("http.response.status_code").as_deref(), Some("403"));

        // HAProxy 3.2.26 with nine spans may close without its 502 (known-limits.md): then HAProxy~1 says so, and has no answer.
        let logged = eventually("HAProxy~1's line", || chain.proxies[0].logged("\"GET /close ")).await;
        let got_502 = !logged.contains(" SH-- ");
        for service in ["haproxy-1", "haproxy-2"] {
            let session = find(&traces[&failed], service, "HAProxy session");
            let ended = session.tag("haproxy.span.end");
            // HAProxy~2 makes the 502, and for HAProxy~1 that is an answer like any other.
            let expected = (service == "haproxy-2" || !got_502).then(|| "idle".to_owned());
            assert_eq!(ended, expected, "{service}: {logged} {:#?}", names(&traces[&failed]));
        }
    }
}
