//! The backends, started with the configurations that are shipped.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::http::http_client;
use crate::process::{PATIENCE, Process, free_port};

/// The programs that these variables name; if one does not, says that the test is skipped.
pub fn programs<const N: usize>(variables: [&str; N]) -> Option<[String; N]> {
    let named = variables.map(|variable| std::env::var(variable).unwrap_or_default());
    for (variable, program) in variables.iter().zip(&named) {
        if program.is_empty() {
            crate::programs::skipped(&format!("backends: {variable} names no program, see devenv/backends"));
            return None;
        }
    }
    Some(named)
}

/// A file of the repository.
pub fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

pub fn free_address() -> String {
    format!("127.0.0.1:{}", free_port())
}

/// Certificates of one authority, as devenv/certificates makes them.
pub struct Certificates(tempfile::TempDir);

impl Certificates {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let output = Command::new(file("devenv/certificates")).arg(folder.path()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        Certificates(folder)
    }

    pub fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }
}

/// Where a backend takes OTLP.
#[derive(Clone)]
pub struct Otlp {
    pub grpc: String,
    pub http: String,
    /// The same with TLS, for clients with a certificate.
    pub grpc_tls: String,
    pub http_tls: String,
}

impl Otlp {
    pub fn new() -> Self {
        let [grpc, http, grpc_tls, http_tls] = [(); 4].map(|()| free_address());
        Otlp { grpc, http, grpc_tls, http_tls }
    }

    /// The part of a configuration that has the two with TLS.
    fn overlay(&self, certificates: &Certificates) -> String {
        // HAProxy's has certificate and key in one file.
        let pem = certificates.path("haproxy.pem");
        let ca = certificates.path("ca.pem");
        let tls = format!("{{cert_file: {pem}, key_file: {pem}, client_ca_file: {ca}}}");
        format!(
            "receivers:\n  otlp/tls:\n    protocols:\n      grpc: {{endpoint: \"{}\", tls: {tls}}}\n      http: {{endpoint: \"{}\", tls: {tls}}}\n\
             service: {{pipelines: {{traces: {{receivers: [otlp, otlp/tls]}}}}}}\n",
            self.grpc_tls, self.http_tls
        )
    }
}

/// Jaeger, with devenv/backends.d/jaeger.yaml.
pub struct Jaeger {
    pub process: Process,
    pub otlp: Otlp,
    /// Where its query API is.
    pub query: String,
    pub http: reqwest::Client,
}

impl Jaeger {
    pub async fn start(program: &str, certificates: Option<&Certificates>) -> Self {
        let (otlp, query) = (Otlp::new(), free_address());
        let mut command = Command::new(program);
        command.arg("--config").arg(file("devenv/backends.d/jaeger.yaml"));
        if let Some(certificates) = certificates {
            command.arg("--config").arg(format!("yaml:{}", otlp.overlay(certificates)));
        }
        command.env("JAEGER_QUERY_ADDRESS", &query).env("JAEGER_QUERY_GRPC_ADDRESS", free_address());
        command.env("JAEGER_OTLP_GRPC_ADDRESS", &otlp.grpc).env("JAEGER_OTLP_HTTP_ADDRESS", &otlp.http);
        let mut process = Process::start("jaeger", &mut command);
        ready(&mut process, &format!("http://{query}/api/services")).await;
        Jaeger { process, otlp, query, http: http_client() }
    }

    pub fn assert_no_warnings(&self) {
        // A Go module has no pages.
        assert_quiet(&self.process, &["ui assets not embedded in the binary"]);
    }
}

/// A Collector, with a file of agent/collector.
pub struct Collector {
    pub process: Process,
    pub otlp: Otlp,
    program: String,
    args: Vec<String>,
    env: Vec<(String, String)>,
    health: String,
}

impl Collector {
    /// `overlay` is what is different from the file.
    pub async fn start(program: &str, name: &str, env: &[(&str, &str)], overlay: &str) -> Self {
        Self::start_with(program, name, env, overlay, None).await
    }

    /// The same with TLS, too.
    pub async fn start_with(
        program: &str,
        name: &str,
        env: &[(&str, &str)],
        overlay: &str,
        certificates: Option<&Certificates>,
    ) -> Self {
        let (otlp, health) = (Otlp::new(), free_address());
        let port = |address: &str| address.rsplit_once(':').unwrap().1.to_owned();
        let mut env: Vec<_> = env.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        env.push(("OTLP_LISTEN".to_owned(), "127.0.0.1".to_owned()));
        for (name, address) in
            [("OTLP_GRPC_PORT", &otlp.grpc), ("OTLP_HTTP_PORT", &otlp.http), ("HEALTH_PORT", &health)]
        {
            env.push((name.to_owned(), port(address)));
        }
        let config = file("agent/collector").join(name).to_str().unwrap().to_owned();
        // Its own metrics would have a fixed port.
        let mut args = vec![config, "yaml:service: {telemetry: {metrics: {level: none}}}".to_owned()];
        args.extend(certificates.map(|certificates| format!("yaml:{}", otlp.overlay(certificates))));
        args.extend((!overlay.is_empty()).then(|| format!("yaml:{overlay}")));
        let process = Self::run(program, &args, &env, &health).await;
        Collector { process, otlp, program: program.to_owned(), args, env, health }
    }

    async fn run(program: &str, args: &[String], env: &[(String, String)], health: &str) -> Process {
        let mut command = Command::new(program);
        for config in args {
            command.arg("--config").arg(config);
        }
        command.envs(env.iter().map(|(name, value)| (name, value)));
        let mut process = Process::start("collector", &mut command);
        ready(&mut process, &format!("http://{health}/")).await;
        process
    }

    /// Another process at the same addresses, after the end of this one.
    pub async fn start_again(&mut self) {
        assert!(!self.process.is_alive());
        self.process = Self::run(&self.program, &self.args, &self.env, &self.health).await;
    }

    pub fn assert_no_warnings(&self) {
        // The names that older releases understand, too.
        assert_quiet(&self.process, &["alias is deprecated"]);
    }
}

/// Waits until this URL answers 200.
pub async fn ready(process: &mut Process, url: &str) {
    let http = http_client();
    let end = std::time::Instant::now() + PATIENCE;
    loop {
        process.assert_alive();
        if http.get(url).send().await.is_ok_and(|answer| answer.status() == 200) {
            return;
        }
        assert!(std::time::Instant::now() < end, "{url} is not ready:\n{}", process.output().join("\n"));
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// What it warned of: lines of Go's zap, `time level where what`, or of Rust's tracing, `time LEVEL what`.
pub fn warnings(process: &Process) -> Vec<String> {
    let is_warning = |line: &String| {
        let mut words = line.split(['\t', ' ']).filter(|word| !word.is_empty());
        let level = words.nth(1).unwrap_or_default().to_ascii_lowercase();
        ["warn", "error", "dpanic", "panic", "fatal"].contains(&level.as_str())
    };
    process.output().into_iter().filter(is_warning).collect()
}

/// Nothing but these warnings.
#[track_caller]
pub fn assert_quiet(process: &Process, but: &[&str]) {
    let mut said = warnings(process);
    said.retain(|line| !but.iter().any(|known| line.contains(known)));
    assert!(said.is_empty(), "warnings:\n{}", said.join("\n"));
}
