//! What `agent/kubernetes` tells the ingress controllers' HAProxys, put where these put it.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::authority::Authority;
use crate::collector::Collector;
use crate::haproxy::{Haproxy, Program, check, programs};
use crate::http::http_client;
use crate::lines::free_udp_address;
use crate::origin::Origin;
use crate::process::{PATIENCE, eventually, free_port};
use crate::scrape::Metrics;
use crate::setup::{Spoa, conf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("kubernetes")
}

fn text(name: &str) -> String {
    let path = folder().join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"))
}

/// Lines that say something, without the comments behind them.
fn directives(text: &str) -> Vec<&str> {
    text.lines()
        .map(|line| line.split(" # ").next().unwrap_or_default().trim())
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect()
}

/// Where a controller puts the frontend's text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// HAProxy Ingress, `config-frontend-early`: before its rules.
    Early,
    /// kubernetes-ingress, `frontend-config-snippet`: behind them.
    Late,
    /// As the first, and agents with TLS: the component `tls`.
    WithTls,
}

/// The Secret: certificates of the agent and of HAProxy, and who signed them.
fn secret(folder: &Path) {
    let authority = Authority::new();
    let (cert, key) = authority.certificate(AGENTS);
    let (own, own_key) = authority.certificate("haproxy");
    let files = [("tls.crt", cert), ("tls.key", key), ("ca.crt", authority.pem()), ("haproxy.pem", own + &own_key)];
    for (name, content) in files {
        std::fs::write(folder.join(name), content).unwrap();
    }
}

/// Of the Service.
const AGENTS: &str = "spoa-otel.haproxy-otel.svc";

/// The backend's text, and for agents with TLS that for the lines.
fn backend(place: Place, log: &str, secret: &Path) -> String {
    let backend = text("haproxy/backend.cfg");
    if place != Place::WithTls {
        return backend;
    }
    let lines = text("haproxy/lines.cfg").replace(&format!("{AGENTS}:5140"), log);
    in_secret(&format!("{backend}{lines}"), secret)
}

fn in_secret(text: &str, secret: &Path) -> String {
    text.replace("/etc/spoa-otel-tls", secret.to_str().unwrap())
}

/// The words of `SPOA_TLS`, as the comment says.
fn words_of_tls(secret: &Path) -> String {
    let global = text("haproxy/global.cfg");
    let (_, words) = global.split_once(": setenv SPOA_TLS \"").unwrap();
    in_secret(words.split('"').next().unwrap(), secret)
}

/// The text for `global`, with this agent in it.
fn global(place: Place, agent: &str, secret: &Path) -> String {
    let words = match place {
        Place::WithTls => format!("\"{}\"", words_of_tls(secret)),
        Place::Early | Place::Late => "no-ssl".to_owned(),
    };
    let mut global = text("haproxy/global.cfg");
    for (shipped, ours) in [("SPOA_ADDRESS 127.0.0.1:7000", agent), ("SPOA_TLS no-ssl", words.as_str())] {
        let name = shipped.split(' ').next().unwrap();
        let line = format!("\nsetenv {shipped}");
        assert_eq!(global.matches(&line).count(), 1, "{global}");
        global = global.replace(&line, &format!("\nsetenv {name} {ours}"));
    }
    global
}

/// Frontends for HTTP and HTTPS (here both plain) as a controller writes them.
fn configuration(place: Place, agent: &str, log: &str, server: &str, addresses: &[String; 2], secret: &Path) -> String {
    let (global, frontend, backend) =
        (global(place, agent, secret), text("haproxy/frontend.cfg"), backend(place, log, secret));
    let log = if place == Place::WithTls { "backend@spoa-lines" } else { log };
    let spoe = folder().join("haproxy/spoe-lean.cfg");
    let frontend = frontend.replace("/etc/spoa-otel/spoe-lean.cfg", spoe.to_str().unwrap());
    assert_eq!(frontend.matches(spoe.to_str().unwrap()).count(), 1, "{frontend}");
    let own = "http-request set-var(txn.base) base\n";
    let rules = match place {
        Place::Early | Place::WithTls => format!("{frontend}{own}"),
        Place::Late => format!("{own}{frontend}"),
    };
    let mut config = format!(
        "global\nlog {log} len 65535 format rfc5424 local0 info\n{global}\n\
         defaults\nmode http\nlog global\noption httplog\ntimeout connect 5s\ntimeout client 50s\ntimeout server 50s\n"
    );
    for (name, address) in ["http", "https"].iter().zip(addresses) {
        write!(config, "frontend {name}\nmode http\nbind {address}\n{rules}default_backend app\n").unwrap();
    }
    write!(config, "backend app\nserver s1 {server}\n{backend}").unwrap();
    config
}

/// Of the versions that the controllers have: HAProxy Ingress from 2.6 on, kubernetes-ingress from 3.0 on. Lines over TLS go to
/// a backend of `mode log`, which 2.6 has not.
fn programs_of(place: Place) -> Vec<Program> {
    let oldest = if place == Place::Early { (2, 6) } else { (3, 0) };
    programs().into_iter().filter(|program| program.version >= oldest).collect()
}

#[tokio::test]
async fn a_request_through_either_controller_is_traced() {
    for place in [Place::Early, Place::Late, Place::WithTls] {
        for program in programs_of(place) {
            traced(&program, place).await;
        }
    }
}

async fn traced(program: &Program, place: Place) {
    let (collector, origin) = (Collector::start().await, Origin::start().await);
    let folder = tempfile::tempdir().unwrap();
    secret(folder.path());
    let option = |name: &str, file: &str| format!("--tls-{name}={}", folder.path().join(file).display());
    let tls = [option("cert", "tls.crt"), option("key", "tls.key"), option("client-ca", "ca.crt")];
    let (log, scheme, with, tls) = match place {
        Place::WithTls => (format!("127.0.0.1:{}", free_port()), "tcp", ",tls", &tls[..]),
        _ => (free_udp_address(), "udp", "", &[][..]),
    };
    let (addr, log_listen) = (format!("127.0.0.1:{}", free_port()), format!("{scheme}://{log}{with}"));
    let args = ["--otlp", &collector.url, "--log-listen", &log_listen];
    let args: Vec<_> = args.into_iter().chain(tls.iter().map(String::as_str)).collect();
    let spoa = Spoa::start(&format!("{addr}{with}"), &args, &[]).await;
    let addresses = [(); 2].map(|()| format!("127.0.0.1:{}", free_port()));
    let config = folder.path().join("haproxy.cfg");
    std::fs::write(&config, configuration(place, &addr, &log, &origin.addr, &addresses, folder.path())).unwrap();
    let (valid, said) = check(program, &config, &[]);
    assert!(valid, "{program:?} {place:?}: {said}");
    // The rule for the first byte's time stands behind other rules there.
    let warned = said
        .lines()
        .filter(|line| line.contains("WARNING") && !line.contains("rule placed after an 'http-request' rule"));
    assert_eq!(warned.collect::<Vec<_>>(), [""; 0], "{program:?} {place:?}");
    let _haproxy = Haproxy::start(program, &config, &[], &addresses[0]).await;
    // The ids are the agent's, as soon as HAProxy's first check found it.
    let asked = Instant::now();
    while Metrics::scrape(&spoa.admin).await.get("messages_lean_total") == 0.0 {
        assert!(asked.elapsed() < PATIENCE, "the agent is never asked: {program:?} {place:?}");
        http_client().get(format!("http://{}/warm-up", addresses[0])).send().await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for (nth, address) in addresses.iter().enumerate() {
        let path = format!("/{nth}");
        let answer = http_client().get(format!("http://{address}{path}")).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let trace = answer.headers()["x-trace-id"].to_str().unwrap().to_owned();
        let what = format!("SERVER and CLIENT of {path}, {program:?} {place:?}");
        let spans = eventually(&what, || {
            let all = collector.spans().into_iter().filter(|span| span.trace_id == trace);
            let spans: Vec<_> = all.collect();
            (spans.len() == 2).then_some(spans)
        });
        for span in spans.await {
            assert_eq!((span.service.as_str(), span.name.as_str()), ("haproxy-ingress", "GET"), "{place:?}");
        }
        let traceparent = origin.hit(&path).header("traceparent").unwrap();
        assert!(traceparent.contains(&trace), "{traceparent}");
    }
}

#[test]
fn the_texts_are_those_of_lean_mode() {
    let read = |name: &str| std::fs::read_to_string(conf(name)).unwrap();
    assert_eq!(text("haproxy/spoe-lean.cfg"), read("spoe-lean.cfg"));
    let shipped = read("haproxy-lean.cfg");
    let known: BTreeSet<_> = directives(&shipped).into_iter().collect();
    let (global, frontend) = (text("haproxy/global.cfg"), text("haproxy/frontend.cfg"));
    let (global, frontend) = (directives(&global), directives(&frontend));
    // What a user sets there, and the file that is another one.
    let of_user = |line: &str| line.starts_with("setenv ") && !line.starts_with("setenv OTEL_SD ");
    let ours = |line: &&&str| !of_user(line) && !line.starts_with("filter spoe ");
    for line in global.iter().chain(&frontend).filter(ours) {
        assert!(known.contains(line), "not of haproxy-lean.cfg: {line}");
    }
    // And nothing of it is missing: all that makes the line, and the rules of its frontend.
    let (_, traced) = shipped.split_once("\nfrontend traced ").unwrap();
    let (rules, _) = traced.split_once("# From here on your own rules").unwrap();
    let wanted =
        |line: &&str| ["http-", "tcp-", "acl ", "unique-id", "log-format-sd"].iter().any(|word| line.starts_with(word));
    let missing: Vec<_> =
        directives(rules).into_iter().filter(wanted).filter(|line| !frontend.contains(line)).collect();
    assert_eq!(missing, [""; 0]);
    let of_line = |line: &&str| line.starts_with("setenv OTEL_SD ");
    let missing: Vec<_> =
        directives(&shipped).into_iter().filter(of_line).filter(|line| !global.contains(line)).collect();
    assert_eq!(missing, [""; 0]);
    assert!(
        text("haproxy/backend.cfg").contains(shipped.lines().rev().find(|line| line.contains("server spoa")).unwrap())
    );
}

#[test]
fn the_agent_takes_its_configurations() {
    let files = tempfile::tempdir().unwrap();
    secret(files.path());
    for name in ["sidecar/config.toml", "deployment/config.toml", "tls/config.toml"] {
        let config = text(name).replace("/etc/spoa-otel-tls", files.path().to_str().unwrap());
        let path = files.path().join("config.toml");
        std::fs::write(&path, config).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_spoa-otel"));
        let output = command.arg("--config").arg(path).arg("--check").output().unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
