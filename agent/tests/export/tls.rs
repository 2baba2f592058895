//! TLS to a collector with a private certificate authority, both ways, and what
//! the log says if it fails.

use crate::export_common::authority::{Authority, pem_file};
use crate::export_common::collector::Collector;
use crate::export_common::{CapturedLog, span, until};
use spoa_otel::export::otlp::{OtlpConfig, OtlpConfigError, OtlpExporter, Protocol};
use spoa_otel::export::{Exporter, Pipeline};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

const BOTH: [Protocol; 2] = [Protocol::HttpProtobuf, Protocol::Grpc];

async fn start(protocol: Protocol, pem: &(String, String), client: Option<&str>) -> Collector {
    match protocol {
        Protocol::HttpProtobuf | Protocol::HttpJson => Collector::https(pem, client).await,
        Protocol::Grpc => Collector::grpcs(pem, client).await,
    }
}

fn config(collector: &Collector, protocol: Protocol) -> OtlpConfig {
    OtlpConfig::new(&format!("https://{}", collector.addr), protocol).unwrap()
}

/// A span arrives.
async fn works(config: OtlpConfig, collector: &Collector) {
    let before = collector.arrived().len();
    let pipeline = Pipeline::new(vec![Arc::new(OtlpExporter::start(config).unwrap())]);
    pipeline.submit(&[span("s", 1, 0, "n", 0, 1).finished()]);
    let stats = pipeline.shutdown(Duration::from_secs(20)).await[0].1;
    assert_eq!((stats.exported, stats.dropped()), (1, 0));
    assert_eq!(collector.arrived().len(), before + 1);
}

/// No span arrives, it is kept, and the log says this.
async fn fails(mut config: OtlpConfig, collector: &Collector, says: &[&str]) {
    config.queue.batch_delay = Duration::from_millis(1);
    let protocol = config.protocol;
    let log = CapturedLog::start();
    let exporter = Arc::new(OtlpExporter::start(config).unwrap());
    exporter.submit(&[span("s", 1, 0, "n", 0, 1).finished()]);
    until("two attempts fail", || exporter.stats().retries >= 2).await;
    assert_eq!(exporter.stats().pending(), 1, "it is kept");
    let text = log.text();
    for part in says {
        assert!(text.contains(part), "{protocol:?}: {part:?} in {text}");
    }
    let lines = text.lines().filter(|line| line.contains("OTLP export fails"));
    assert_eq!(lines.count(), 1, "at a limited rate: {text}");
    let stats = Pipeline::new(vec![exporter]).shutdown(Duration::ZERO).await[0].1;
    assert_eq!((stats.exported, stats.dropped_shutdown), (0, 1));
    assert_eq!(collector.arrived().len(), 0);
}

#[tokio::test]
async fn a_private_authority() {
    let authority = Authority::new();
    let ca = pem_file("tls_ca.pem", &authority.pem());
    for protocol in BOTH {
        let collector = start(protocol, &authority.certificate("127.0.0.1"), None).await;
        let mut config = config(&collector, protocol);
        config.tls.ca = Some(ca.clone());
        works(config, &collector).await;
    }
}

#[tokio::test]
async fn a_certificate_of_a_stranger() {
    let authority = Authority::new();
    let stranger = pem_file("tls_stranger.pem", &Authority::new().pem());
    for protocol in BOTH {
        let collector = start(protocol, &authority.certificate("127.0.0.1"), None).await;
        let mut config = config(&collector, protocol);
        config.tls.ca = Some(stranger.clone());
        let name = stranger.display().to_string();
        fails(config, &collector, &["UnknownIssuer", &name, "set OTEL_EXPORTER_OTLP_CERTIFICATE"]).await;
    }
}

#[tokio::test]
async fn a_certificate_that_has_expired_or_is_of_another_host() {
    let authority = Authority::new();
    let ca = pem_file("tls_expired_ca.pem", &authority.pem());
    for protocol in BOTH {
        let collector = start(protocol, &authority.expired("127.0.0.1"), None).await;
        let mut expired = config(&collector, protocol);
        expired.tls.ca = Some(ca.clone());
        fails(expired, &collector, &["certificate of 127.0.0.1 has expired: renew it"]).await;

        let collector = start(protocol, &authority.certificate("collector.example"), None).await;
        let mut other = config(&collector, protocol);
        other.tls.ca = Some(ca.clone());
        let says = ["not for 127.0.0.1", "OTEL_EXPORTER_OTLP_ENDPOINT"];
        fails(other, &collector, &says).await;
    }
}

#[tokio::test]
async fn mutual_tls() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let ca = pem_file("tls_mutual_ca.pem", &authority.pem());
    let client = clients.certificate("spoa-otel");
    let [certificate, key] = [("tls_client.pem", &client.0), ("tls_client_key.pem", &client.1)]
        .map(|(name, content)| pem_file(name, content));
    let other = Authority::new().certificate("spoa-otel");
    let [other_certificate, other_key] =
        [("tls_other.pem", &other.0), ("tls_other_key.pem", &other.1)].map(|(name, content)| pem_file(name, content));
    for protocol in BOTH {
        let collector = start(protocol, &authority.certificate("127.0.0.1"), Some(&clients.pem())).await;
        let mut config = config(&collector, protocol);
        config.tls.ca = Some(ca.clone());
        let says = ["set OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY"];
        fails(config.clone(), &collector, &says).await;
        config.tls.client_certificate = Some(other_certificate.clone());
        config.tls.client_key = Some(other_key.clone());
        fails(config.clone(), &collector, &["check OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"]).await;
        config.tls.client_certificate = Some(certificate.clone());
        config.tls.client_key = Some(key.clone());
        works(config, &collector).await;
    }
}

#[tokio::test]
async fn https_to_a_collector_without_tls() {
    let collector = Collector::http().await;
    let ca = pem_file("tls_plain_ca.pem", &Authority::new().pem());
    for protocol in BOTH {
        let mut config = config(&collector, protocol);
        config.tls.ca = Some(ca.clone());
        fails(config, &collector, &["http:// instead of https://?"]).await;
    }
}

#[tokio::test]
async fn unusable_tls_files_are_errors_at_the_start() {
    let empty = pem_file("export_otlp_empty.pem", "no certificate\n");
    let pem = Authority::new().certificate("127.0.0.1");
    let good = pem_file("export_otlp_good.pem", &pem.0);
    let missing = PathBuf::from("/nonexistent/ca.pem");
    for protocol in [Protocol::HttpProtobuf, Protocol::Grpc] {
        let error = |change: &dyn Fn(&mut OtlpConfig)| {
            let mut config = OtlpConfig::new("https://127.0.0.1:1", protocol).unwrap();
            config.tls.ca = Some(good.clone());
            change(&mut config);
            match OtlpExporter::start(config) {
                Err(error @ OtlpConfigError::TlsFile { .. }) => {
                    assert!(error.to_string().starts_with("OTEL_EXPORTER_OTLP_C"), "{error}");
                    let OtlpConfigError::TlsFile { path, .. } = error else { unreachable!() };
                    path
                }
                Err(other) => panic!("{other}"),
                Ok(_) => panic!("started"),
            }
        };
        for file in [&empty, &missing] {
            let path = error(&|config| config.tls.ca = Some(file.clone()));
            assert_eq!(path, file.display().to_string());
        }
        let path = error(&|config| config.tls.client_key = Some(missing.clone()));
        assert_eq!(path, missing.display().to_string());
        let path = error(&|config| {
            config.tls.client_certificate = Some(good.clone());
            config.tls.client_key = Some(empty.clone());
        });
        assert_eq!(path, empty.display().to_string(), "{protocol:?}");
    }
}
