//! Reads the admin endpoints.

use std::collections::BTreeMap;

use crate::http::http_client;

/// Status and text of a path there.
pub async fn get(admin: &str, path: &str) -> (u16, String) {
    let answer = http_client().get(format!("http://{admin}{path}")).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// What `/metrics` said.
#[derive(Debug)]
pub struct Metrics {
    pub text: String,
    rows: BTreeMap<String, f64>,
}

impl Metrics {
    pub async fn scrape(admin: &str) -> Self {
        let (status, text) = get(admin, "/metrics").await;
        assert_eq!(status, 200);
        let mut rows = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let before = rows.insert(series.to_owned(), value.parse().unwrap());
            assert!(before.is_none(), "twice: {series}");
        }
        Metrics { text, rows }
    }

    /// Waits until the figures are as wanted; the last ones.
    pub async fn scrape_until(admin: &str, what: &str, wanted: impl Fn(&Metrics) -> bool) -> Self {
        let end = std::time::Instant::now() + crate::process::PATIENCE;
        loop {
            let metrics = Metrics::scrape(admin).await;
            if wanted(&metrics) {
                return metrics;
            }
            assert!(std::time::Instant::now() < end, "timed out: {what}\n{}", metrics.text);
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// The value of a series, written as it is there, without `spoa_`.
    #[track_caller]
    pub fn get(&self, series: &str) -> f64 {
        let series = format!("spoa_{series}");
        *self.rows.get(&series).unwrap_or_else(|| panic!("no {series} in\n{}", self.text))
    }

    /// The requests that are measured: of the `server` or of the `client`.
    pub fn requests(&self, side: &str) -> f64 {
        let family = format!("http_{side}_request_duration_seconds_count{{");
        self.rows.iter().filter(|(series, _)| series.starts_with(&family)).map(|(_, value)| value).sum()
    }

    /// The sum of all series of a family, or of those with `label`.
    pub fn sum(&self, family: &str, label: &str) -> f64 {
        let family = format!("spoa_{family}");
        let of_family = |series: &str| series.split('{').next() == Some(family.as_str());
        let rows = self.rows.iter().filter(|(series, _)| of_family(series) && series.contains(label));
        rows.map(|(_, value)| value).sum()
    }

    /// The rows whose names begin so, without `spoa_`.
    pub fn about(&self, prefix: &str) -> String {
        let prefix = format!("spoa_{prefix}");
        let rows = self.rows.iter().filter(|(series, _)| series.starts_with(&prefix));
        rows.map(|(series, value)| format!("{series} {value}\n")).collect()
    }

    /// No span is lost: those started are ended or open, those ended are sampled or not, and what an exporter got it has
    /// delivered, dropped or still has. `received`: what the exporter got from elsewhere.
    #[track_caller]
    pub fn assert_spans_add_up(&self, exporter: &str, received: f64) {
        let of = |family: &str| self.sum(family, &format!("exporter=\"{exporter}\""));
        let ended = self.sum("spans_ended_total", "");
        assert_eq!(self.get("spans_started_total"), ended + self.get("spans_open"));
        assert_eq!(ended, self.get("spans_sampled_total") + self.get("spans_unsampled_total"));
        assert_eq!(of("export_spans_submitted_total"), self.get("spans_sampled_total") + received);
        let settled = of("export_spans_exported_total") + of("export_spans_dropped_total");
        assert_eq!(of("export_spans_submitted_total"), settled + of("export_queue_spans"));
    }
}
