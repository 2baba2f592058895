//! TLS, tokens and passwords at all listeners: the options, what the log and the figures say.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::authority::Authority;
use crate::certificates::{Client, Files};
use crate::common::patiently;
use crate::process::{Process, eventually};
use crate::program_support::{address, json, run};

#[test]
fn what_cannot_be_used_ends_with_2_and_says_what_to_do() {
    let files = Files::new();
    let [cert, key, ca] = files.options();
    files.write("other.pem", &files.servers.certificate("127.0.0.1").1);
    files.write("empty", "# no token\n");
    files.write("users", "ann\n");
    let named = |option: &str, name: &str| format!("--{option}={}", files.path(name).display());
    let (tls, missing) = ("--listen=127.0.0.1:0,tls", named("tls-cert", "missing.pem"));
    let (other, token, basic) =
        (named("tls-key", "other.pem"), named("admin-token-file", "empty"), named("otlp-basic-file", "users"));
    let no_key = format!("--tls-cert={}", files.path("cert.pem").display());
    for (args, said) in [
        (&[tls][..], "needs a certificate: --tls-cert FILE"),
        (&["--admin=127.0.0.1:0,tls"], "needs a certificate: --tls-cert FILE"),
        (&["--otlp-listen=127.0.0.1:0,tls"], "needs a certificate: --tls-cert FILE"),
        (&["--log-listen=tcp://127.0.0.1:0,tls"], "needs a certificate: --tls-cert FILE"),
        (&[&cert, &key], "no address has ,tls, as in --listen 0.0.0.0:7000,tls"),
        (&[&ca], "no address has ,tls"),
        (&["--tls-client-auth=optional", tls, &cert, &key], "--tls-client-ca FILE"),
        (&["--tls-client-auth=maybe"], "[possible values: required, optional]"),
        (&["--tls-min-version=1.1"], "[possible values: 1.2, 1.3]"),
        (&["--tls-handshake-timeout=soon"], "--tls-handshake-timeout"),
        (&[tls, &missing], "missing.pem: No such file"),
        (&[tls, &no_key], "say where it is by --tls-key FILE"),
        (&[tls, &cert, &other], "this key is not that of the certificate in"),
        (&["--listen=unix:/run/spoa.sock,tls"], "TLS is for TCP"),
        (&["--listen=abns@spoa,tls"], "TLS is for TCP"),
        (&["--listen=127.0.0.1:0,tsl"], "there is tls, after a comma"),
        (&["--log-listen=udp://127.0.0.1:0,tls"], "TLS is for tcp://"),
        (&["--log-listen=unix:/run/log.sock,tls"], "TLS is for tcp://"),
        (&[&token], "no line with a token in it"),
        (&[&basic], "line 1 is not user:password"),
    ] {
        for check in [&["--check"][..], &[]] {
            let (status, text) = run(&[args, check].concat(), &[]);
            assert_eq!(status, Some(2), "{args:?}: {text}");
            assert!(text.contains(said), "{args:?}: {text}");
        }
    }
    let (status, text) = run(&[tls, &cert, &key, &ca, "--check"], &[]);
    assert_eq!((status, text.as_str()), (Some(0), ""));
}

/// The program with TLS at all its listeners, beside a plain one for SPOP.
struct Tls {
    process: Process,
    plain: String,
    spop: String,
    admin: String,
    otlp: String,
    log: String,
}

impl Tls {
    async fn start(args: &[String]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_spoa-otel"));
        command.args(["--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0,tls", "--admin", "127.0.0.1:0,tls"]);
        command.args(["--otlp-listen", "127.0.0.1:0,tls", "--log-listen", "tcp://127.0.0.1:0,tls"]);
        let process = Process::start("spoa-otel", command.args(["--log-format", "json"]).args(args));
        let listens = |process: &Process, kind: &str, skip: usize| {
            process.output().iter().filter_map(|line| address(line, kind)).nth(skip)
        };
        // The second of SPOP is the last one to listen.
        let spop = eventually("it listens", || listens(&process, "spop", 1)).await;
        let [plain, admin, otlp, log] =
            ["spop", "admin", "otlp", "log"].map(|kind| listens(&process, kind, 0).unwrap_or_else(|| panic!("{kind}")));
        let log = log.strip_prefix("tcp://").unwrap().strip_suffix(",tls").unwrap().to_owned();
        Tls { process, plain, spop, admin, otlp, log }
    }

    /// The line of its log with this text.
    async fn says(&mut self, text: &str) -> String {
        self.process.line(text, |line| line.contains(text).then(|| line.to_owned())).await
    }
}

/// What is answered to a request.
async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str, headers: &[&str]) -> (u16, String) {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let head = format!("{request} HTTP/1.1\r\n{headers}connection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let mut answer = Vec::new();
    let _no_close_notify = patiently("an answer", stream.read_to_end(&mut answer)).await;
    let text = String::from_utf8(answer).unwrap();
    (text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0), text)
}

async fn get(client: &Client, addr: &str, path: &str, headers: &[&str]) -> (u16, String) {
    let stream = client.connect(addr).await.unwrap();
    ask(stream, &format!("GET {path}"), &[&["host: localhost"], headers].concat()).await
}

/// The figure of a row.
fn figure(metrics: &str, row: &str) -> u64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(row)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {row} in {metrics}")).parse().unwrap()
}

#[tokio::test]
async fn all_listeners_speak_it_and_refuse_who_has_no_certificate() {
    let files = Files::new();
    // As careless as it gets.
    std::fs::set_permissions(files.path("key.pem"), Permissions::from_mode(0o644)).unwrap();
    let mut agent = Tls::start(&files.options()).await;
    agent.says("everybody on this host can read this file").await;
    let known = files.known_client();
    let mut peer = known.hello(&agent.spop).await;
    peer.notify(1, "otel:x", 1).await;
    assert_eq!(peer.ack().await.0, 1);
    let line = format!("{}\n", crate::log_listeners::line(7));
    let mut ring = known.connect(&agent.log).await.unwrap();
    ring.write_all(line.as_bytes()).await.unwrap();
    ring.flush().await.unwrap();
    let post = ["host: localhost", "content-type: application/json", "content-length: 2"];
    let stream = known.connect(&agent.otlp).await.unwrap();
    let (status, text) = ask(stream, "POST /v1/traces", &post).await;
    // The body is missing, and the answer says so or is a timeout: what counts is that it was read.
    assert!(text.starts_with("HTTP/1.1 "), "{status} {text}");

    let stranger = files.client().with(Authority::new().certificate("x"));
    for addr in [&agent.spop, &agent.admin, &agent.otlp, &agent.log] {
        files.client().is_refused(addr).await;
        stranger.is_refused(addr).await;
        let mut plain = TcpStream::connect(addr.as_str()).await.unwrap();
        plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        let _reset = patiently("the end", plain.read_to_end(&mut answer)).await;
        assert_eq!(answer, b"");
    }
    assert!(known.connect(&agent.plain).await.is_err());

    // Nobody can ask under another name over TLS either.
    let stream = known.connect(&agent.admin).await.unwrap();
    assert_eq!(ask(stream, "GET /metrics", &["host: evil.example"]).await.0, 421);
    let (status, metrics) = get(&known, &agent.admin, "/metrics", &[]).await;
    assert_eq!(status, 200);
    for (listener, accepted) in [("spop", 1), ("admin", 2), ("otlp", 1), ("log", 1)] {
        let handshakes = |result: &str| {
            figure(&metrics, &format!("spoa_tls_handshakes_total{{listener=\"{listener}\",result=\"{result}\"}}"))
        };
        let counted = ["accepted", "no_certificate", "unknown_authority", "plain"].map(handshakes);
        assert_eq!(counted, [accepted, 1, 1, 1], "{listener}");
        assert_eq!(handshakes("unexpected"), u64::from(listener == "spop"));
    }
    assert_eq!(figure(&metrics, "spoa_log_lines_received_total{transport=\"tcp\"}"), 1);
    let ends = figure(&metrics, "spoa_tls_certificate_expiry_timestamp_seconds");
    assert!(ends > 1_700_000_000, "{ends}");
    agent.says("clients have to have a certificate: HAProxy's server line needs crt FILE").await;
    agent.says("is of no authority in --tls-client-ca").await;
    let plain = json(&agent.says("this address has ,tls").await);
    assert_eq!(plain["fields"]["speaks"], "HTTP");
    agent.says("HAProxy's server line must not have ssl, or the address that the agent listens on needs ,tls").await;

    // What has arrived at the stop is taken.
    ring.write_all(line.repeat(100).as_bytes()).await.unwrap();
    ring.flush().await.unwrap();
    agent.process.signal("-TERM");
    let received = agent.says("log lines received").await;
    assert_eq!(json(&received)["fields"]["tcp"], 101);
    assert_eq!(agent.process.ended().await.code(), Some(0));
}

#[tokio::test]
async fn certificates_are_exchanged_while_it_runs() {
    let files = Files::new();
    let mut agent = Tls::start(&files.options()).await;
    let mut old = files.known_client().hello(&agent.spop).await;
    let second = Authority::new();
    let (cert, key) = second.certificate("127.0.0.1");
    files.write("cert.pem", &cert);
    // The key does not match yet.
    tokio::time::sleep(spop_agent::watched::INTERVAL).await;
    files.known_client().connect(&agent.admin).await.unwrap();
    let failed = agent.says("cannot be used: what was read before stays in use").await;
    assert!(failed.contains("is not that of the certificate"), "{failed}");
    files.write("key.pem", &key);
    agent.process.assert_alive();
    tokio::time::sleep(spop_agent::watched::INTERVAL).await;
    let client = Client { roots: second.pem(), ..files.known_client() };
    let (status, metrics) = get(&client, &agent.admin, "/metrics", &[]).await;
    assert_eq!(status, 200);
    for result in ["done", "failed"] {
        assert_eq!(figure(&metrics, &format!("spoa_tls_reloads_total{{result=\"{result}\"}}")), 1);
    }
    // At once by SIGHUP, without a connection that would look.
    let (cert, key) = Authority::new().certificate("127.0.0.1");
    files.write("cert.pem", &cert);
    files.write("key.pem", &key);
    let seen = |process: &Process| process.output().iter().filter(|line| line.contains("files changed")).count();
    assert_eq!(seen(&agent.process), 1);
    agent.process.signal("-HUP");
    eventually("they are read again", || (seen(&agent.process) == 2).then_some(())).await;
    old.notify(1, "otel:x", 1).await;
    assert_eq!(old.ack().await.0, 1);
}

#[tokio::test]
async fn tokens_and_passwords() {
    let files = Files::new();
    files.write("tokens", "# Prometheus\nfirst-token\nsecond-token\n");
    files.write("users", "ann:secret\n");
    for name in ["tokens", "users"] {
        std::fs::set_permissions(files.path(name), Permissions::from_mode(0o600)).unwrap();
    }
    let option = |option: &str, name: &str| format!("--{option}={}", files.path(name).display());
    let [cert, key, _] = files.options();
    let mut args = vec![cert, key];
    args.extend([option("admin-token-file", "tokens"), option("admin-basic-file", "users")]);
    args.push(option("otlp-token-file", "tokens"));
    let mut agent = Tls::start(&args).await;
    let client = files.client();
    let basic = |text: &str| format!("authorization: Basic {}", BASE64_STANDARD.encode(text));
    for (path, header, status) in [
        ("/healthz", String::new(), 200),
        ("/readyz", String::new(), 200),
        ("/metrics", String::new(), 401),
        ("/traces", String::new(), 401),
        ("/traces.json", String::new(), 401),
        ("/", String::new(), 401),
        ("/nothing", String::new(), 401),
        ("/healthz/", String::new(), 401),
        ("/metrics", "authorization: Bearer first-token".to_owned(), 200),
        ("/metrics", "authorization: bearer second-token".to_owned(), 200),
        ("/metrics", "authorization: Bearer first".to_owned(), 401),
        ("/metrics", basic("ann:secret"), 200),
        ("/traces", basic("ann:secret"), 200),
        ("/metrics", basic("ann:Secret"), 401),
    ] {
        let headers: &[&str] = if header.is_empty() { &[] } else { &[&header] };
        let (answered, text) = get(&client, &agent.admin, path, headers).await;
        assert_eq!(answered, status, "{path} {header}: {text}");
        let asks = ["www-authenticate: Bearer realm=\"spoa-otel\"", "www-authenticate: Basic realm=\"spoa-otel\""];
        asks.iter().for_each(|ask| assert_eq!(text.contains(ask), status == 401, "{text}"));
    }
    let post = ["host: otlp", "content-type: application/json", "content-length: 0"];
    for (header, status) in [("x: y", 401), ("authorization: Bearer second-token", 400)] {
        let stream = client.connect(&agent.otlp).await.unwrap();
        let (answered, text) = ask(stream, "POST /v1/traces", &[&post[..], &[header]].concat()).await;
        assert_eq!(answered, status, "{text}");
    }
    agent.says("it has no valid token or password").await;

    // Another token, while it runs.
    files.write("tokens", "third-token\n");
    tokio::time::sleep(spop_agent::watched::INTERVAL).await;
    assert_eq!(get(&client, &agent.admin, "/metrics", &["authorization: Bearer first-token"]).await.0, 401);
    let (status, metrics) = get(&client, &agent.admin, "/metrics", &["authorization: Bearer third-token"]).await;
    assert_eq!(status, 200);
    assert_eq!(figure(&metrics, "spoa_http_requests_unauthorized_total{listener=\"admin\"}"), 9);
    assert_eq!(figure(&metrics, "spoa_http_requests_unauthorized_total{listener=\"otlp\"}"), 1);
    // No line of the log has a secret.
    let log = agent.process.output().join("\n");
    assert!(!log.contains("-token") && !log.contains("secret\"") && !log.contains("ann"), "{log}");
}
