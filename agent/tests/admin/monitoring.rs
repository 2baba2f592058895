//! The dashboard and the rules of `agent/monitoring` ask for what a running agent has, and the rules do what they say.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value as Json;

use crate::export_common::authority::Authority;
use crate::program_support::Session;
use crate::promql::Query;
use crate::red::{line, log_addr, send};
use crate::scrape::Metrics;

/// What Prometheus adds to each series.
const OF_PROMETHEUS: [&str; 2] = ["instance", "job"];

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(file(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn yaml(name: &str) -> Json {
    serde_saphyr::from_str(&text(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn str_of<'a>(json: &'a Json, key: &str) -> &'a str {
    json[key].as_str().unwrap_or_else(|| panic!("no {key}: {json}"))
}

/// The labels of a metric, each with the values that it has.
type Labels = BTreeMap<String, BTreeSet<String>>;

/// What there is to ask for.
struct Known(BTreeMap<String, Labels>);

impl Known {
    /// The rows of `/metrics`, and `up`, which Prometheus makes.
    fn exposed(text: &str) -> Self {
        let mut known = BTreeMap::from([("up".to_owned(), Labels::new())]);
        for row in text.lines().filter(|row| !row.starts_with('#')) {
            let (series, _) = row.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let of_metric = known.entry(name.to_owned()).or_default();
            for pair in labels.trim_end_matches('}').split("\",").filter(|pair| !pair.is_empty()) {
                let (label, value) = pair.split_once("=\"").unwrap_or_else(|| panic!("{row}"));
                of_metric.entry(label.to_owned()).or_default().insert(value.trim_end_matches('"').to_owned());
            }
        }
        Known(known)
    }

    /// All that an expression uses is there. Which labels its result may have.
    fn check(&self, expression: &str) -> BTreeSet<String> {
        let query = Query::parse(&expression.replace("$__rate_interval", "5m"));
        assert!(!query.used.is_empty(), "nothing is asked for: {expression}");
        let mut labels: BTreeSet<String> = OF_PROMETHEUS.map(str::to_owned).into();
        for used in &query.used {
            let known = self.0.get(&used.name).unwrap_or_else(|| panic!("there is no {}: {expression}", used.name));
            for label in used.labels.iter().filter(|label| !OF_PROMETHEUS.contains(&label.as_str())) {
                assert!(known.contains_key(label), "{} has no label {label}: {expression}", used.name);
            }
            for (label, value) in used.values.iter().filter(|(label, value)| label != "job" && !value.is_empty()) {
                assert!(known[label].contains(value), "{} has no {label}={value}: {expression}", used.name);
            }
            labels.extend(known.keys().cloned());
        }
        if query.by.is_empty() { labels } else { query.by }
    }
}

/// The names in a text between these two.
fn named<'a>(text: &'a str, open: &str, close: &str) -> Vec<&'a str> {
    text.split(open).skip(1).map(|rest| rest.split(close).next().unwrap().trim()).collect()
}

/// A file with a certificate and its key.
pub(crate) fn certificate(folder: &Path) -> String {
    let (certificate, key) = Authority::new().certificate("localhost");
    let path = folder.join("tls.pem");
    std::fs::write(&path, certificate + &key).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A running agent's figures after traffic of all kinds.
async fn figures() -> Metrics {
    let nobody = format!("http://127.0.0.1:{}", crate::process::free_port());
    let limits = ["--queue-spans", "77", "--queue-bytes", "1MiB", "--max-memory", "2MiB"];
    let ways = ["--otlp", &nobody, "--console", "--otlp-listen", "127.0.0.1:0", "--log-listen", "udp://127.0.0.1:0"];
    let files = tempfile::tempdir().unwrap();
    let tls = certificate(files.path());
    let tls = ["--tls-cert", &tls, "--listen", "127.0.0.1:0,tls"];
    let mut session = Session::start(&[&limits[..], &ways[..], &tls[..]].concat(), &[]).await;
    session.message("id", &[("span", "a"), ("finish", "*")]).await;
    let failed = [("st", "503"), ("ss", "0"), ("ts", "SC"), ("Tr", "-1"), ("route", "%2fa")];
    assert!(log_addr(&session).starts_with("127.0.0.1:"));
    send(&session, &[line(&[]), line(&failed)]);
    // Who speaks no SPOP is told so by a DISCONNECT.
    let mut broken = tokio::net::TcpStream::connect(&session.addr).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut broken, b"\0\0\0\x07\x03\0\0\0\x01\x01\x01").await.unwrap();
    let done = |m: &Metrics| m.requests("server") == 2.0 && m.get("protocol_errors_total") == 1.0;
    Metrics::scrape_until(&session.admin, "the traffic is counted", done).await
}

#[tokio::test]
async fn dashboard_and_rules_ask_for_what_there_is() {
    let metrics = figures().await;
    let limit = |series: &str| metrics.get(series);
    assert_eq!(limit("export_queue_spans_limit{exporter=\"otlp\"}"), 77.0);
    assert_eq!(limit("export_queue_bytes_limit{exporter=\"forward\"}"), 1048576.0);
    assert_eq!(limit("export_queue_bytes_limit{exporter=\"memory\"}"), f64::from(32 << 20));
    assert_eq!(limit("ids_bytes_limit"), f64::from(2 << 20));
    let mut known = Known::exposed(&metrics.text);
    dashboard(&known);
    rules(&mut known);
}

fn dashboard(known: &Known) {
    let board: Json = serde_json::from_str(&text("monitoring/spoa-otel.json")).unwrap();
    assert_eq!(board["uid"], "spoa-otel");
    assert!(board["schemaVersion"].as_u64() >= Some(36), "older Grafanas name a datasource, not its uid");
    assert!(board["id"].is_null(), "an id belongs to one Grafana");
    let source = serde_json::json!({"type": "prometheus", "uid": "${datasource}"});
    let variables = board["templating"]["list"].as_array().unwrap();
    assert!(variables[0]["name"] == "datasource" && variables[0]["type"] == "datasource", "{variables:#?}");
    for variable in &variables[1..] {
        assert_eq!(variable["datasource"], source);
        let query = str_of(&variable["query"], "query");
        let (metric, label) = query.strip_prefix("label_values(").unwrap().rsplit_once(',').unwrap();
        let label = label.trim().trim_end_matches(')');
        assert!(known.check(metric).contains(label), "{query}");
    }
    let (mut ids, mut titles) = (BTreeSet::new(), BTreeSet::new());
    let (mut section, mut queries, mut exemplars) = ("", 0, 0);
    for panel in board["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64()), "an id twice: {panel}");
        let title = str_of(panel, "title");
        if panel["type"] == "row" {
            section = title;
            continue;
        }
        assert!(titles.insert((section, title)), "twice: {section}: {title}");
        assert_eq!(panel["datasource"], source, "{title}");
        for target in panel["targets"].as_array().unwrap() {
            assert_eq!(target["datasource"], source, "{title}");
            let labels = known.check(str_of(target, "expr"));
            for name in named(str_of(target, "legendFormat"), "{{", "}}") {
                assert!(labels.contains(name), "{title}: no {name} in {target}");
            }
            queries += 1;
            exemplars += usize::from(target["exemplar"] == true);
        }
    }
    assert!(queries > 50 && exemplars >= 3, "{queries} queries, {exemplars} with exemplars");
}

/// Those that need no labels of HAProxy's requests.
fn rules(known: &mut Known) {
    let rules = yaml("monitoring/rules.yml");
    let groups = rules["groups"].as_array().unwrap().iter();
    let all: Vec<&Json> = groups.flat_map(|group| group["rules"].as_array().unwrap()).collect();
    let manual = text("docs/operations.md");
    let runbooks: Vec<_> = manual.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let tests = yaml("monitoring/rules.test.yml");
    let fires = tests["tests"][0]["promql_expr_test"][0]["exp_samples"].to_string();
    let mut alerts = BTreeSet::new();
    for rule in all {
        let mut labels = known.check(str_of(rule, "expr"));
        if let Some(name) = rule["record"].as_str() {
            labels.remove("le");
            labels.extend(rule["labels"].as_object().into_iter().flat_map(|labels| labels.keys().cloned()));
            known
                .0
                .entry(name.to_owned())
                .or_default()
                .extend(labels.into_iter().map(|label| (label, BTreeSet::new())));
            continue;
        }
        let name = str_of(rule, "alert");
        assert!(alerts.insert(name), "twice: {name}");
        assert!(["info", "warning", "critical"].contains(&str_of(&rule["labels"], "severity")), "{name}");
        let annotations = &rule["annotations"];
        let words = [str_of(annotations, "summary"), str_of(annotations, "description")].join(" ");
        for label in named(&words, "$labels.", " ") {
            assert!(labels.contains(label), "{name}: {label} is none of {labels:?}");
        }
        let runbook = format!("agent/docs/operations.md#{}", name.to_lowercase());
        assert_eq!(str_of(annotations, "runbook_url"), runbook);
        assert!(runbooks.contains(&name), "the manual has no `### {name}`");
        assert!(fires.contains(&format!("\\\"{name}\\\"")), "no test sees {name} fire");
    }
    assert!(alerts.len() > 15, "{alerts:?}");
    let described: BTreeSet<_> = runbooks.into_iter().filter(|heading| heading.starts_with("SpoaOtel")).collect();
    assert_eq!(described, alerts, "the manual's runbooks");
}

/// What `promtool` says of these files, copied to a folder of their own with a change.
fn promtool(promtool: &Path, args: &[&str], change: [&str; 2]) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    for name in ["rules.yml", "rules.test.yml"] {
        let file = text(&format!("monitoring/{name}"));
        std::fs::write(folder.path().join(name), file.replace(change[0], change[1])).unwrap();
    }
    let output = Command::new(promtool).args(args).current_dir(folder.path()).output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[test]
fn rules_fire_when_they_should() {
    let Some(path) = std::env::var_os("SPOP_PROMTOOL").map(PathBuf::from) else {
        // Past the test runner's capture.
        let mut stderr = std::io::stderr();
        writeln!(stderr, "SKIPPED: promtool test rules: SPOP_PROMTOOL does not name a promtool").unwrap();
        return;
    };
    let unchanged = ["", ""];
    for args in [["check", "rules", "rules.yml"], ["test", "rules", "rules.test.yml"]] {
        let (accepted, said) = promtool(&path, &args, unchanged);
        assert!(accepted, "{args:?}: {said}");
    }
    // The tests notice a threshold that moved, in both directions.
    for moved in [["> 0.8", "> 0.9"], ["> 0.8", "> 0.7"], ["> 0.001", "> 0.0001"], ["for: 2m", "for: 9m"]] {
        let (accepted, said) = promtool(&path, &["test", "rules", "rules.test.yml"], moved);
        assert!(!accepted, "{moved:?} makes no difference: {said}");
    }
}
