//! `spoa-otel` as its operator sees it: exit status, log, version, and the account of its spans at the end.

#[path = "../../runtime/tests/common/authority.rs"]
mod authority;
#[path = "../../runtime/tests/common/certificates.rs"]
mod certificates;
#[path = "../chain/collector.rs"]
#[allow(dead_code)] // A part is for the chains.
mod collector;
#[path = "../../runtime/tests/common/mod.rs"]
mod common;
mod configuration;
mod documentation;
#[path = "../chain/http.rs"]
mod http;
mod log_listeners;
mod modules;
#[path = "../program_support/passed.rs"]
mod passed;
#[path = "../chain/process.rs"]
#[allow(dead_code)]
mod process;
#[path = "../program_support/mod.rs"]
mod program_support;
#[path = "../../runtime/tests/common/programs.rs"]
mod programs;
mod reloaded;
#[path = "../chain/spans.rs"]
#[allow(dead_code)]
mod spans;
mod tls;

mod systemd;

#[path = "../chain/scrape.rs"]
#[allow(dead_code)]
mod scrape;

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use collector::Collector;
use program_support::{Session, run};
use scrape::Metrics;
use serde_json::Value as Json;
use spop_core::ClientConfig;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

#[test]
fn what_cannot_be_used_ends_with_2_and_is_named() {
    let otlp = "--otlp=https://127.0.0.1:1";
    for (args, env, named) in [
        (&["--no-such-option"][..], &[][..], "--no-such-option"),
        (&["--listen=nowhere"], &[], "nowhere"),
        (&["--admin=nowhere"], &[], "nowhere"),
        (&["--admin=unix:/run/admin.sock"], &[], "host:port, or none"),
        (&["--otlp-listen=nowhere"], &[], "nowhere"),
        (&["--otlp-listen=unix:/run/otlp.sock"], &[], "host:port"),
        (&["--listen=unix:@spoa"], &[], "write abns@spoa"),
        (&["--listen=unix:/run/spoa.sock,mode=rw"], &[], "mode=660"),
        (&["--queue-spans=0"], &[], "--queue-spans"),
        (&["--batch-bytes=lots"], &[], "64MiB"),
        (&["--max-memory=lots"], &[], "64MiB"),
        (&["--queue-bytes=2 parsecs"], &[], "64MiB"),
        (&["--max-buffered=lots"], &[], "64MiB"),
        (&["--admin-traces-bytes=lots"], &[], "64MiB"),
        (&["--log-level=loud"], &[], "[possible values: off, error, warn, info, debug, trace]"),
        (&["--log-level=info,spop_agent=debug"], &[], "--log-level"),
        (&["--log-filter=warning"], &[], "PART=LEVEL"),
        (&["--log-filter=spop_agent=debug,hyper=loud"], &[], "off, error, warn, info, debug, trace"),
        (&["--otlp=ftp://127.0.0.1"], &[], "--otlp: invalid URL \"ftp://127.0.0.1\""),
        (&["--otlp-protocol=http/xml"], &[], "http/json"),
        (&[], &[("OTEL_EXPORTER_OTLP_ENDPOINT", "127.0.0.1:4318")], "OTEL_EXPORTER_OTLP_ENDPOINT: invalid URL"),
        (
            &[otlp],
            &[("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "/nonexistent/ca.pem")],
            "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE: /nonexistent/ca.pem: ",
        ),
    ] {
        let (status, text) = run(args, env);
        assert_eq!(status, Some(2), "{args:?} {env:?}: {text}");
        assert!(text.contains(named), "{args:?} {env:?}: {text}");
    }
}

#[test]
fn an_address_in_use_ends_with_1() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    for format in ["text", "json"] {
        let (status, text) = run(&["--listen", &addr, "--log-format", format], &[]);
        assert_eq!(status, Some(1), "{text}");
        assert!(text.contains(&format!("--listen {addr}")), "{text}");
        let last = text.lines().last().unwrap();
        assert_eq!(serde_json::from_str::<Json>(last).is_ok(), format == "json", "{last}");
    }
    let (status, text) = run(&["--admin", &addr], &[]);
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains(&format!("--admin {addr}")) && text.contains("or none"), "{text}");
    // What nobody wants to log is said anyway.
    let (status, text) = run(&["--listen", &addr, "--log-level", "off"], &[]);
    assert_eq!((status, text.lines().count()), (Some(1), 1), "{text}");
}

/// What is no level silences nothing.
#[test]
fn levels_are_those_that_exist() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let run = |args: &[&str], env: &[(&str, &str)]| run(&[&["--listen", &addr], args].concat(), env).1;
    for level in ["warn", "WARNING", "error"] {
        let text = run(&["--log-level", level], &[]);
        assert!(text.contains("ERROR") && !text.contains("INFO"), "{level}: {text}");
        let text = run(&[], &[("OTEL_LOG_LEVEL", level)]);
        assert!(text.contains("ERROR") && !text.contains("INFO"), "{level}: {text}");
    }
    // A variable never stops the start, and an option is stronger.
    let text = run(&[], &[("OTEL_LOG_LEVEL", "loud")]);
    assert!(text.contains("OTEL_LOG_LEVEL=loud") && text.contains(" INFO "), "{text}");
    assert!(run(&["--log-level", "info"], &[("OTEL_LOG_LEVEL", "error")]).contains(" INFO "));
    let text = run(&["--log-level", "error", "--log-filter", "spoa_otel=info"], &[]);
    assert!(text.contains(" INFO "), "{text}");
}

#[test]
fn the_version_has_the_commit_if_there_is_one() {
    let (status, text) = run(&["--version"], &[]);
    assert_eq!(status, Some(0));
    let version = text.trim().strip_prefix("spoa-otel ").unwrap();
    let (number, commit) = version.split_once(' ').unwrap_or((version, ""));
    assert_eq!(number, env!("CARGO_PKG_VERSION"));
    assert!(commit.is_empty() || (commit.starts_with('(') && commit.ends_with(')')), "{text}");
    // The tests run with the build that Cargo made of this tree.
    assert_eq!(version, env!("SPOA_OTEL_VERSION"));
}

#[tokio::test]
async fn workers_are_as_many_as_one_says() {
    let mut threads = Vec::new();
    for workers in ["1", "40"] {
        let session = Session::start(&["--workers", workers], &[]).await;
        let tasks = std::fs::read_dir(format!("/proc/{}/task", session.process.pid())).unwrap();
        threads.push(tasks.count());
        session.stop().await;
    }
    // Beside them are the log's thread, and some that wait for files and names.
    assert!(threads[0] < 15 && (40..55).contains(&threads[1]), "{threads:?}");
    let (status, text) = run(&["--workers", "0"], &[]);
    assert!(status == Some(2) && text.contains("--workers"), "{text}");
}

/// OpenTelemetry: what a variable says in vain is told, and no more.
#[tokio::test]
async fn variables_never_stop_the_start() {
    let collector = Collector::start().await;
    let env = [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/xml"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "br"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "0"),
        ("OTEL_BSP_SCHEDULE_DELAY", "0"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "many"),
        ("OTEL_EXPORTER_ZIPKIN_ENDPOINT", "http://secret"),
        ("OTEL_METRICS_EXPORTER", "none"),
    ];
    let mut session = Session::start(&["--otlp", &collector.url], &env).await;
    thirty_spans(&mut session).await;
    let lines = session.stop().await;
    assert_figures(account(&lines, "otlp"), &[("exported", 30), ("dropped", 0)]);
    let of_level = |level: &str| -> Vec<&str> {
        let lines = lines.iter().filter(|line| line["level"] == level);
        lines.map(|line| line["fields"]["message"].as_str().unwrap()).collect()
    };
    assert_eq!(
        of_level("WARN"),
        [
            "OTEL_EXPORTER_ZIPKIN_ENDPOINT has no effect on spoa-otel",
            "OTEL_EXPORTER_OTLP_PROTOCOL: unknown OTLP protocol \"http/xml\": expected http/protobuf, http/json or grpc; \
             ignored",
            "OTEL_EXPORTER_OTLP_COMPRESSION: unknown compression \"br\": expected gzip, zstd or none; ignored",
            "OTEL_BSP_MAX_QUEUE_SIZE: \"many\" is not a number from 1 on; ignored",
        ]
    );
}

#[tokio::test]
async fn the_environment_chooses_where_spans_go() {
    let collector = Collector::start().await;
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", &*collector.url);
    let flag: &[&str] = &["--otlp", &collector.url];
    for (args, list, expected) in [
        (&[][..], "otlp", &["otlp"][..]),
        (&[], "Console", &["console"]),
        (&[], "otlp,console", &["otlp", "console"]),
        (&[], "none", &[]),
        (&[], "zipkin", &["otlp"]),
        // The command line comes first.
        (flag, "none", &["otlp"]),
        (&["--console"], "otlp", &["otlp", "console"]),
        (&["--console=false"], "otlp,console", &["otlp"]),
        // Without an endpoint.
        (&[], "", &["console"]),
        (&["--console=false"], "", &[]),
    ] {
        let endpoint = if list.is_empty() { ("OTEL_EXPORTER_OTLP_ENDPOINT", "") } else { endpoint };
        let mut session = Session::start(args, &[endpoint, ("OTEL_TRACES_EXPORTER", list)]).await;
        thirty_spans(&mut session).await;
        let lines = session.stop().await;
        let fields = lines.iter().map(|line| &line["fields"]).filter(|f| f["message"] == "spans accounted for");
        let exporters: Vec<_> = fields.map(|fields| fields["exporter"].as_str().unwrap()).collect();
        assert_eq!(exporters, expected, "{args:?} {list}");
        let unknown =
            lines.iter().any(|line| line["fields"]["message"].as_str().unwrap().contains("\"zipkin\": expected otlp"));
        assert_eq!(unknown, list == "zipkin", "{lines:#?}");
    }
}

/// Not to what is on this machine, and not without being named when it fails.
#[tokio::test]
async fn a_proxy_on_the_way_to_the_collector() {
    let collector = Collector::start().await;
    let proxy = format!("http://me:secret@127.0.0.1:{}", process::free_port());
    let env = [("HTTP_PROXY", &*proxy)];
    let mut session = Session::start(&["--otlp", &collector.url], &env).await;
    thirty_spans(&mut session).await;
    assert_figures(account(&session.stop().await, "otlp"), &[("exported", 30)]);

    let args = ["--otlp", "http://collector.invalid:4318", "--grace", "600ms", "--batch-delay", "20ms"];
    let mut session = Session::start(&args, &env).await;
    thirty_spans(&mut session).await;
    let lines = session.stop().await;
    let messages = lines.iter().map(|line| line["fields"]["message"].as_str().unwrap());
    let failure = messages.clone().find(|message| message.starts_with("OTLP export fails")).unwrap();
    let shown = proxy.replace("me:secret@", "");
    assert!(failure.contains(&format!("through the proxy {shown}/ (of HTTP_PROXY or ALL_PROXY)")), "{failure}");
    assert!(!format!("{lines:?}").contains("secret"), "{lines:#?}");
}

/// Ten ids with three spans each, two of which stay open for every second id.
async fn thirty_spans(session: &mut Session) {
    for n in 0..10 {
        let id = format!("id-{n}");
        session.message(&id, &[("span", "a"), ("span", "b"), ("span", "c"), ("finish", "c")]).await;
        if n % 2 == 0 {
            session.message(&id, &[("finish", "*")]).await;
        }
    }
}

fn account<'l>(lines: &'l [Json], exporter: &str) -> &'l Json {
    let fields = lines.iter().map(|line| &line["fields"]);
    let mut found = fields.filter(|f| f["message"] == "spans accounted for" && f["exporter"] == exporter);
    let account = found.next().unwrap_or_else(|| panic!("no account of {exporter}: {lines:#?}"));
    assert!(found.next().is_none(), "{lines:#?}");
    account
}

#[track_caller]
fn assert_figures(account: &Json, expected: &[(&str, u64)]) {
    for (name, figure) in expected {
        assert_eq!(account[name], *figure, "{name}: {account}");
    }
}

#[tokio::test]
async fn the_account_of_spans_that_all_arrived() {
    let collector = Collector::start().await;
    let mut session = Session::start(&["--otlp", &collector.url, "--console"], &[]).await;
    thirty_spans(&mut session).await;
    // Rejected: no span.
    session.message("", &[("span", "a")]).await;
    let lines = session.stop().await;
    let all = [("started", 30), ("ended", 30), ("exported", 30), ("dropped", 0), ("received", 0), ("unsampled", 0)];
    assert_figures(account(&lines, "otlp"), &all);
    assert_figures(account(&lines, "console"), &all);
    assert_eq!(collector.spans().len(), 30);
    let served = lines.iter().map(|line| &line["fields"]).find(|f| f["message"] == "connections ended").unwrap();
    assert_figures(served, &[("connections", 1), ("notifies", 16), ("acks", 16), ("unanswered", 0), ("late", 0)]);
    assert!(lines.iter().all(|line| line["level"] != "ERROR"), "{lines:#?}");
}

#[tokio::test]
async fn the_account_of_spans_without_a_collector() {
    let addr = format!("http://127.0.0.1:{}", process::free_port());
    let args = ["--otlp", &addr, "--grace", "600ms", "--queue-spans", "12", "--batch-delay", "20ms"];
    let mut session = Session::start(&args, &[]).await;
    thirty_spans(&mut session).await;
    let start = std::time::Instant::now();
    let lines = session.stop().await;
    assert!(start.elapsed() < process::PATIENCE / 2, "within the grace time");
    let account = account(&lines, "otlp");
    let figures = [("started", 30), ("ended", 30), ("exported", 0), ("dropped", 30), ("shutdown", 12)];
    assert_figures(account, &figures);
    assert_eq!(account["queue_full"], 18);
    // One line a cause, however many there were.
    for text in ["OTLP export fails", "spans not exported to the collector"] {
        let n = lines.iter().filter(|line| line["fields"]["message"].as_str().unwrap().starts_with(text)).count();
        assert_eq!(n, 1, "{text}: {lines:#?}");
    }
}

/// What is kept for `/traces` is no destination: its account is for who looks for a fault.
#[tokio::test]
async fn the_account_of_the_recent_traces() {
    let debug = ["--log-filter", "spoa_otel=debug"];
    for (args, accounts) in [(&[][..], 0), (&debug, 1), (&[debug[0], debug[1], "--admin-traces", "0"], 0)] {
        let mut session = Session::start(args, &[]).await;
        thirty_spans(&mut session).await;
        let lines = session.stop().await;
        assert_figures(account(&lines, "console"), &[("exported", 30)]);
        let of_memory: Vec<_> = lines.iter().filter(|line| line["fields"]["exporter"] == "memory").collect();
        assert_eq!(of_memory.len(), accounts, "{args:?}: {lines:#?}");
        for line in of_memory {
            assert_figures(&line["fields"], &[("started", 30), ("ended", 30), ("exported", 30), ("dropped", 0)]);
        }
    }
}

#[tokio::test]
async fn unsampled_spans_are_told_apart() {
    let collector = Collector::start().await;
    let env = [("OTEL_TRACES_SAMPLER", "always_off")];
    let mut session = Session::start(&["--otlp", &collector.url], &env).await;
    thirty_spans(&mut session).await;
    let lines = session.stop().await;
    let figures = [("started", 0), ("ended", 0), ("exported", 0), ("dropped", 0), ("unsampled", 30)];
    assert_figures(account(&lines, "otlp"), &figures);
}

/// A socket that takes nothing more, and its other end.
fn stuck() -> (UnixStream, UnixStream) {
    let (mut full, reader) = UnixStream::pair().unwrap();
    full.set_nonblocking(true).unwrap();
    while full.write(&[b'.'; 4096]).is_ok() {}
    while full.write(b".").is_ok() {}
    full.set_nonblocking(false).unwrap();
    (full, reader)
}

/// Nobody reads standard error: everything else goes on.
#[tokio::test]
async fn a_stuck_reader_of_the_log_stops_nothing() {
    for reads_at_the_end in [true, false] {
        let (full, mut reader) = stuck();
        let [spop, admin] = [(); 2].map(|()| format!("127.0.0.1:{}", process::free_port()));
        let mut command = Command::new(env!("CARGO_BIN_EXE_spoa-otel"));
        command.args(["--listen", &spop, "--admin", &admin, "--log-buffer", "300B"]);
        command.stdout(Stdio::null()).stderr(OwnedFd::from(full));
        let mut child = Stopped(command.spawn().unwrap());
        drop(command);
        process::eventually("it listens", || std::net::TcpStream::connect(&spop).ok()).await;
        let mut peer = common::Peer::hello(&spop, ClientConfig::DEFAULT).await;
        let frame = peer.encode_notify(1, 1, |notify| notify.message(b"otel:test").unwrap());
        peer.stream.write_all(&frame).await.unwrap();
        peer.ack().await;
        let lost = |m: &Metrics| m.get("log_lines_lost_total") >= 1.0;
        Metrics::scrape_until(&admin, "lines are lost", lost).await;
        child.terminate();
        let text = reads_at_the_end.then(|| {
            let mut text = String::new();
            reader.read_to_string(&mut text).unwrap();
            text
        });
        let status = process::eventually("it ends", || child.0.try_wait().unwrap()).await;
        assert_eq!(status.code(), Some(0));
        if let Some(text) = text {
            let text = text.trim_start_matches('.');
            assert!(text.lines().any(|line| line.ends_with(" stopped")), "{text}");
            assert!(text.contains("log lines were lost"), "{text}");
        }
    }
}

/// A child that does not outlive the test.
struct Stopped(Child);

impl Stopped {
    fn terminate(&self) {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Who does not end its request to the receiver takes no time from the exporters.
#[tokio::test]
async fn a_half_sent_request_costs_no_span() {
    let collector = Collector::start().await;
    let listen = format!("127.0.0.1:{}", process::free_port());
    let waits = ["--batch-delay", "1h", "--batch-spans", "100000", "--grace", "2s"];
    let args = [&["--otlp", &*collector.url, "--otlp-listen", &listen][..], &waits].concat();
    let mut session = Session::start(&args, &[]).await;
    let mut half = TcpStream::connect(&listen).await.unwrap();
    let head =
        "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: 9\r\n\r\n";
    half.write_all(head.as_bytes()).await.unwrap();
    half.write_all(b"half").await.unwrap();
    thirty_spans(&mut session).await;
    let lines = session.stop().await;
    assert_figures(account(&lines, "otlp"), &[("exported", 30), ("dropped", 0)]);
    assert_eq!(collector.spans().len(), 30);
}

/// A resolver that never answers, as when its packets are dropped.
const HANGING_RESOLVER: &str = "
    #include <unistd.h>
    int getaddrinfo(const char *host, const char *service, const void *hints, void **found) {
        for (;;) pause();
    }
";

/// A library of this C source, for LD_PRELOAD.
fn preloaded(dir: &Path, text: &str) -> PathBuf {
    let (source, library) = (dir.join("preloaded.c"), dir.join("preloaded.so"));
    std::fs::write(&source, text).unwrap();
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).status().unwrap();
    assert!(built.success());
    library
}

#[tokio::test]
async fn a_name_that_is_looked_up_for_ever_does_not_delay_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let library = preloaded(dir.path(), HANGING_RESOLVER);
    let env = [("LD_PRELOAD", library.to_str().unwrap())];
    let args = ["--otlp", "http://collector.invalid:4318", "--batch-delay", "1ms", "--grace", "1s"];
    let mut session = Session::start(&args, &env).await;
    thirty_spans(&mut session).await;
    let lines = session.stop().await;
    assert_figures(account(&lines, "otlp"), &[("dropped", 30), ("shutdown", 30)]);

    // Before all listeners are bound, too.
    let mut command = Command::new(env!("CARGO_BIN_EXE_spoa-otel"));
    command.args(["--listen", "agent.invalid:7000", "--admin", "127.0.0.1:0", "--grace", "200ms"]).envs(env);
    let mut process = process::Process::start("spoa-otel", &mut command);
    process.line("listens", |line| line.contains("admin").then_some(())).await;
    process.signal("-TERM");
    let status = process.ended().await;
    assert_eq!(status.code(), Some(1), "{:?}", process.output());
}

#[test]
fn the_grace_time_is_shorter_than_that_of_docker_stop() {
    let (_, help) = run(&["--help"], &[]);
    let grace = help.split("--grace <TIME>").nth(1).unwrap().split("[default: ").nth(1).unwrap();
    let seconds: u32 = grace.split_once("s]").unwrap().0.parse().unwrap();
    assert!((5..10).contains(&seconds), "{grace}");
}
