//! Which of the two formats a client asks for.

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;

/// The `Content-Type` of OpenMetrics's text format.
pub(super) const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Whether the client names OpenMetrics, and Prometheus's format not before it. Who takes anything gets the older one,
/// which all programs read.
pub(super) fn prefers_open_metrics(headers: &HeaderMap) -> bool {
    let ranges =
        || headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).flat_map(|list| list.split(','));
    let open_metrics = ranges().filter_map(|range| weight(range, "application/openmetrics-text", &["1.0.0", "0.0.1"]));
    let text = ranges().filter_map(|range| weight(range, "text/plain", &["0.0.4"]));
    let [open_metrics, text] = [open_metrics.fold(0.0, f64::max), text.fold(0.0, f64::max)];
    open_metrics > 0.0 && open_metrics >= text
}

/// The weight that a range gives to a type, in a version that we write.
fn weight(range: &str, media_type: &str, versions: &[&str]) -> Option<f64> {
    let mut parts = range.split(';').map(str::trim);
    parts.next().filter(|name| name.eq_ignore_ascii_case(media_type))?;
    let mut weight = 1.0;
    for (name, value) in parts.filter_map(|parameter| parameter.split_once('=')) {
        match name.trim().to_ascii_lowercase().as_str() {
            "q" => weight = value.trim().parse().ok()?,
            "version" if !versions.contains(&value.trim().trim_matches('"')) => return None,
            _ => {}
        }
    }
    Some(weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_metrics_is_for_who_asks_for_it() {
        // As Prometheus 2 and 3, its agents and curl ask.
        let prometheus_2 = "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;\
                            version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/\
                            openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
                            text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for (accept, expected) in [
            (prometheus_2, true),
            (prometheus_3, true),
            ("Application/OpenMetrics-Text", true),
            ("application/openmetrics-text; version=\"1.0.0\"", true),
            ("application/openmetrics-text, text/plain", true),
            ("text/plain;version=0.0.4,application/openmetrics-text;version=1.0.0;q=0.5", false),
            ("application/openmetrics-text;q=0", false),
            ("application/openmetrics-text;version=2.0.0", false),
            ("application/openmetrics-text;q=much", false),
            ("text/plain;version=1.0.0, application/openmetrics-text;q=0.1", true),
            ("text/html,*/*", false),
            ("*/*", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, accept.parse().unwrap())]);
            assert_eq!(prefers_open_metrics(&headers), expected, "{accept}");
        }
        assert!(!prefers_open_metrics(&HeaderMap::new()));
        let mut both = HeaderMap::new();
        for range in ["text/plain;q=0.1", "application/openmetrics-text"] {
            both.append(ACCEPT, range.parse().unwrap());
        }
        assert!(prefers_open_metrics(&both), "lines of the header are one list");
    }
}
