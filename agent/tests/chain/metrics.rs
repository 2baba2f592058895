//! The figures of `/metrics` against what a chain of real HAProxys sent.

use crate::haproxy::programs;
use crate::load::flood;
use crate::scrape::{Metrics, get};
use crate::setup::{Chain, Setup};

const REQUESTS: usize = 20;

#[tokio::test]
async fn figures_are_those_of_the_traffic() {
    for program in programs() {
        let chain = Chain::start(&program, Setup::default()).await;
        flood(&chain, REQUESTS, 4).await;
        // The warm-up may have begun before the agent was known to be up.
        let admin = &chain.spoa.admin;
        let all = |m: &Metrics| {
            // A health check may be under way.
            m.get("frames_received_total{type=\"hello\"}") == m.sum("handshakes_total", "")
                && m.get("spans_open") == 0.0
                && m.get("export_queue_spans{exporter=\"otlp\"}") == 0.0
                && m.get("export_spans_exported_total{exporter=\"otlp\"}") >= (18 * (REQUESTS + 1)) as f64
        };
        let metrics = Metrics::scrape_until(admin, "all spans are exported", all).await;
        metrics.assert_spans_add_up("otlp", 0.0);
        let exported = metrics.get("export_spans_exported_total{exporter=\"otlp\"}");
        assert_eq!(exported, chain.collector.spans().len() as f64, "{program:?}");
        assert_eq!(metrics.get("spans_ended_total{cause=\"finish\"}"), exported);

        // Eight messages a request and proxy, each in a NOTIFY that got its ACK.
        let notifies = metrics.get("frames_received_total{type=\"notify\"}");
        assert!(notifies >= (8 * 2 * (REQUESTS + 1)) as f64, "{notifies}");
        for same in
            ["frames_sent_total{type=\"ack\"}", "notifies_total", "acks_total", "handler_duration_seconds_count"]
        {
            assert_eq!(metrics.get(same), notifies, "{same}");
        }
        assert!(metrics.get("messages_total") >= notifies);
        assert!(metrics.get("handshakes_total{kind=\"healthcheck\"}") >= 2.0, "each proxy checks");
        assert!(metrics.get("connections_open") >= 1.0);
        assert_eq!(metrics.sum("protocol_errors_total", "") + metrics.sum("handler_failures_total", ""), 0.0);
        assert_eq!(get(admin, "/readyz").await, (200, "ready\n".to_owned()));
    }
}
