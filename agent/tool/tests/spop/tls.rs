//! Agents that speak TLS.

use std::fs;
use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;

use crate::support::{RealAgent, spop};

/// Certificates in a folder: of one authority for both sides, and of another one.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        let files = Files(tempfile::tempdir().unwrap());
        for authority in ["ca", "other"] {
            let mut params = CertificateParams::new([]).unwrap();
            params.distinguished_name.push(DnType::CommonName, authority);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
            fs::write(files.path(&format!("{authority}.pem")), ca.pem()).unwrap();
            for name in ["agent.internal", "haproxy"] {
                let key = KeyPair::generate().unwrap();
                let names = [name.to_owned(), "127.0.0.1".to_owned()];
                let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &ca).unwrap();
                let both = certificate.pem() + &key.serialize_pem();
                fs::write(files.path(&format!("{authority}-{name}.pem")), both).unwrap();
            }
        }
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn arg(&self, option: &str, name: &str) -> String {
        format!("--{option}={}", self.path(name).display())
    }
}

#[test]
fn check_notify_and_load() {
    let files = Files::new();
    let (cert, clients) = (files.arg("tls-cert", "ca-agent.internal.pem"), files.arg("tls-client-ca", "ca.pem"));
    let agent = RealAgent::start_with_tls(&[&cert, &clients]);
    let addr = agent.addr.as_str();
    let (ca, own) = (files.arg("ca-file", "ca.pem"), files.arg("cert", "ca-haproxy.pem"));
    let good = ["--tls", &ca, &own];
    let run = |command: &[&str], tls: &[&str]| spop(&[command, tls].concat());
    let check = ["check", addr];
    assert!(run(&check, &good).ok().stdout.starts_with("healthy"));
    run(&check, &[&good[..], &["--handshake"]].concat()).ok();
    run(&check, &[&good[..], &["--server-name", "agent.internal"]].concat()).ok();
    run(&check, &["--tls", "--insecure", &own]).ok();
    run(&["notify", addr, "--tls", &ca, &own, "otel:x", "id=string:a"], &[]).ok();
    let load =
        ["load", addr, "--preset=trace", "--expect-nothing", "-n", "20000", "-c", "4", "-i", "64", "--quiet", "--json"];
    let report = &run(&load, &good).ok().json_lines()[0];
    assert_eq!(report["acks"], 20_000, "{report}");

    // What is wrong is told apart.
    let other = files.arg("ca-file", "other.pem");
    run(&check, &["--tls", &other, &own]).failed(4, "UnknownIssuer");
    run(&check, &[&good[..], &["--server-name", "other.internal"]].concat()).failed(4, "not valid for name");
    run(&check, &["--tls", &ca]).failed(4, "CertificateRequired");
    let stranger = files.arg("cert", "other-haproxy.pem");
    run(&check, &["--tls", &ca, &stranger]).failed(4, "fatal alert");
    run(&check, &[]).failed(4, "--tls");
    run(&check, &["--tls", &files.arg("ca-file", "missing.pem")]).failed(2, "missing.pem");
    run(&check, &["--tls", &ca, &files.arg("cert", "ca.pem")]).failed(2, "ca.pem");
    run(&check, &[&ca]).failed(2, "--tls");
    run(&["check", "unix:/run/spoa.sock"], &["--tls"]).failed(2, "unix socket");

    let plain = RealAgent::start_spoa_otel();
    run(&["check", &plain.addr], &good).failed(4, "TLS handshake failed");
}
