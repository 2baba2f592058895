//! What the operator can do about a failure.

use super::config::OtlpConfig;
use super::failure::{Failure, FailureKind};
use super::protocol::Protocol;
use super::proxy;
use super::signal::Signal;
use rustls::{AlertDescription, CertificateError};

impl Failure {
    /// As some servers do that do not know the protocol, and as all do that end.
    fn is_closed(&self) -> bool {
        ["broken pipe", "connection closed", "onnection reset"].iter().any(|text| self.error.contains(text))
    }

    /// What to do about it, as an end of the log line.
    pub(super) fn hint(&self, config: &OtlpConfig) -> String {
        let host = config.url.host().unwrap_or_default();
        let given_by = &config.given_by.endpoint;
        let is_about_the_way =
            matches!(self.kind, FailureKind::Connect | FailureKind::Dns | FailureKind::Timeout | FailureKind::Busy);
        if let Some(proxy) = proxy::described(config).filter(|_| is_about_the_way) {
            return format!("; the way to {host} is through the proxy {proxy}; NO_PROXY lists hosts without one");
        }
        let advice = match (&self.kind, &self.tls) {
            (_, Some(error)) => tls_advice(error, config, host),
            (FailureKind::Dns, _) => {
                format!("the name {host} is not known here: check {given_by}")
            }
            (FailureKind::Connect, _) if self.is_closed() => {
                let (speaks, otherwise) = match config.protocol {
                    Protocol::Grpc => ("gRPC", "http/protobuf"),
                    Protocol::HttpProtobuf | Protocol::HttpJson => ("HTTP", "grpc"),
                };
                format!(
                    "the connection was closed without an answer: does this port speak {speaks}? \
                    If not, --otlp-protocol {otherwise}"
                )
            }
            (FailureKind::Connect, _) => {
                format!("is the collector running? The address is that of {given_by}")
            }
            (FailureKind::Unauthorized, _) => "set the credentials in OTEL_EXPORTER_OTLP_HEADERS".to_owned(),
            (FailureKind::TooLarge, _) => match config.signal {
                Signal::Traces => "a smaller --batch-bytes or --batch-spans saves the first attempt",
                Signal::Metrics => "a smaller --metrics-max-series, or a collector that takes larger requests",
            }
            .to_owned(),
            (FailureKind::NotOtlp, _) => {
                format!("is this the URL of an OTLP receiver? It is made of {given_by}")
            }
            (FailureKind::OtherProtocol, _) => match config.protocol {
                Protocol::Grpc => "this port speaks HTTP, not gRPC: --otlp-protocol http/protobuf, or port 4317",
                Protocol::HttpProtobuf | Protocol::HttpJson => {
                    "this port speaks gRPC: --otlp-protocol grpc, or port 4318"
                }
            }
            .to_owned(),
            _ => return String::new(),
        };
        format!("; {advice}")
    }
}

fn tls_advice(error: &rustls::Error, config: &OtlpConfig, host: &str) -> String {
    use rustls::Error::{AlertReceived, InvalidCertificate, InvalidMessage};
    let trusted = match &config.tls.ca {
        Some(path) => format!("{} ({})", path.display(), config.given_by.ca),
        None => "the system's store".to_owned(),
    };
    match error {
        InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            format!("the certificate of {host} has expired: renew it at the collector")
        }
        InvalidCertificate(CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }) => {
            format!("the certificate of {host} is not valid yet: compare the clocks")
        }
        InvalidCertificate(CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }) => {
            let given_by = &config.given_by.endpoint;
            format!("the collector's certificate is not for {host}: use one of its names in {given_by}")
        }
        InvalidCertificate(_) => {
            format!(
                "the collector's certificate is not trusted by {trusted}: set OTEL_EXPORTER_OTLP_CERTIFICATE to the \
                PEM file of the authority that signed it"
            )
        }
        AlertReceived(AlertDescription::NoApplicationProtocol) => match config.protocol {
            Protocol::Grpc => "this port does not speak gRPC: --otlp-protocol http/protobuf, or port 4317",
            Protocol::HttpProtobuf | Protocol::HttpJson => "this port speaks gRPC: --otlp-protocol grpc, or port 4318",
        }
        .to_owned(),
        AlertReceived(_) if config.tls.client_certificate.is_none() => {
            "the collector may want a client certificate: set OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and \
            OTEL_EXPORTER_OTLP_CLIENT_KEY"
                .to_owned()
        }
        AlertReceived(_) => {
            "the collector may not accept the client certificate: check OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and \
            OTEL_EXPORTER_OTLP_CLIENT_KEY"
                .to_owned()
        }
        InvalidMessage(_) => format!("{host} does not speak TLS at this port: http:// instead of https://?"),
        _ => "check OTEL_EXPORTER_OTLP_CERTIFICATE".to_owned(),
    }
}
