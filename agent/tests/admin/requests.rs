//! The admin listener of `spoa-otel` and clients that are wrong, slow or many.

use std::time::Instant;

use crate::common::patiently;
use crate::process::PATIENCE;
use crate::program_support::Session;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PATHS: [&str; 4] = ["/", "/metrics", "/healthz", "/readyz"];

/// What comes until the agent closes; what it closes by a reset may lack its end.
async fn rest(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    let _reset = patiently("the end of the connection", stream.read_to_end(&mut bytes)).await;
    String::from_utf8(bytes).unwrap()
}

async fn request(admin: &str, method: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(admin).await.unwrap();
    let head = format!("{method} {path} HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    rest(stream).await
}

/// Waits until `/metrics` has this line.
async fn counted(admin: &str, line: &str) {
    let end = Instant::now() + PATIENCE;
    let line = format!("\n{line}\n");
    loop {
        // While too many are open there is no answer.
        let answer = request(admin, "GET", "/metrics").await;
        if answer.contains(&line) {
            return;
        }
        assert!(Instant::now() < end, "no {line} in\n{answer}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn only_get_and_head() {
    let session = Session::start(&[], &[]).await;
    for path in PATHS {
        let got = request(&session.admin, "GET", path).await;
        let (head, body) = got.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 ") && !body.is_empty(), "{got}");
        for header in ["x-content-type-options: nosniff", "content-security-policy: default-src 'none'"] {
            assert!(head.contains(header), "{header}: {got}");
        }
        let asked = request(&session.admin, "HEAD", path).await;
        assert!(asked.starts_with("HTTP/1.1 200 ") && asked.ends_with("\r\n\r\n"), "{asked}");
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "NONSENSE"] {
            let refused = request(&session.admin, method, path).await;
            assert!(refused.starts_with("HTTP/1.1 405 ") && refused.contains("allow: GET,HEAD"), "{method}: {refused}");
        }
    }
    let index = request(&session.admin, "GET", "/").await;
    let not_found = request(&session.admin, "GET", "/etc/passwd").await;
    assert!(not_found.starts_with("HTTP/1.1 404 "), "{not_found}");
    for path in &PATHS[1..] {
        assert!(index.contains(&format!("<a href=\"{path}\">")), "{index}");
        assert!(not_found.contains(path), "{not_found}");
    }
    let json = request(&session.admin, "GET", "/metrics?x=1").await;
    assert!(json.contains("content-type: text/plain; version=0.0.4"), "{json}");
}

#[tokio::test]
async fn a_head_may_not_be_endless_nor_nonsense() {
    let session = Session::start(&[], &[]).await;
    let mut stream = TcpStream::connect(&session.admin).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nx: ").await.unwrap();
    let piece = [b'a'; 8192];
    let mut sent = 0;
    while stream.write_all(&piece).await.is_ok() {
        sent += piece.len();
        assert!(sent < 64 << 20, "it takes all of it");
    }
    let answer = rest(stream).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let mut stream = TcpStream::connect(&session.admin).await.unwrap();
    stream.write_all(b"\x06\x03\x01 this is not HTTP\r\n\r\n").await.unwrap();
    let answer = rest(stream).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    counted(&session.admin, "spoa_http_connections_open{listener=\"admin\"} 1").await;
}

#[tokio::test]
async fn those_who_stand_still_are_closed_and_counted() {
    let args = ["--admin-head-timeout", "300ms", "--admin-write-timeout", "300ms"];
    let session = Session::start(&args, &[]).await;
    let mut half = TcpStream::connect(&session.admin).await.unwrap();
    half.write_all(b"GET /metrics HTTP/1.1\r\nho").await.unwrap();
    assert_eq!(rest(half).await, "");
    counted(&session.admin, "spoa_http_connection_timeouts_total{listener=\"admin\"} 1").await;

    // Far more than the kernel buffers, and nobody reads it.
    let mut deaf = TcpStream::connect(&session.admin).await.unwrap();
    let requests = "GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(2000);
    deaf.write_all(requests.as_bytes()).await.unwrap();
    counted(&session.admin, "spoa_http_connection_timeouts_total{listener=\"admin\"} 2").await;
    counted(&session.admin, "spoa_http_connections_open{listener=\"admin\"} 1").await;
}

/// Connections that are kept open keep nobody out.
#[tokio::test]
async fn idle_connections_make_room_for_others() {
    let session = Session::start(&["--admin-max-connections", "8", "--admin-max-per-peer", "4"], &[]).await;
    let mut idle = Vec::new();
    for _ in 0..20 {
        let mut stream = TcpStream::connect(&session.admin).await.unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        assert!(stream.read(&mut [0; 12]).await.unwrap() > 0);
        idle.push(stream);
    }
    assert!(request(&session.admin, "GET", "/healthz").await.starts_with("HTTP/1.1 200 "));
    let answer = request(&session.admin, "GET", "/metrics").await;
    assert!(answer.contains("spoa_http_connections_refused_total{listener=\"admin\"} 0\n"), "{answer}");
    let evicted =
        answer.lines().find_map(|l| l.strip_prefix("spoa_http_connections_evicted_total{listener=\"admin\"} "));
    assert!(evicted.unwrap().parse::<u64>().unwrap() >= 16, "{answer}");
    // A stop does not wait for those who hold their connection.
    let mut half = TcpStream::connect(&session.admin).await.unwrap();
    half.write_all(b"GET /metrics HTTP/1.1\r\nho").await.unwrap();
    session.stop().await;
}

/// Asks for `/traces` under this name.
async fn asked_as(admin: &str, host: &str) -> String {
    let mut stream = TcpStream::connect(admin).await.unwrap();
    let head = format!("GET /traces HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    rest(stream).await
}

/// DNS rebinding: a page of the web gives its own name the address of the agent, and its script asks.
#[tokio::test]
async fn names_of_others_are_refused_and_counted() {
    let session = Session::start(&["--admin-host", "spoa.example"], &[]).await;
    for host in ["localhost:9464", &session.admin, "[::1]:9464", "10.0.0.7", "SPOA.example:9464"] {
        let answer = asked_as(&session.admin, host).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{host}: {answer}");
    }
    for host in ["evil.example", "evil.example:9464", "spoa.example.evil", ""] {
        let answer = asked_as(&session.admin, host).await;
        assert!(answer.starts_with("HTTP/1.1 421 ") && answer.contains("--admin-host NAME"), "{host}: {answer}");
        assert!(!answer.contains("<html"), "{answer}");
    }
    counted(&session.admin, "spoa_http_requests_misdirected_total{listener=\"admin\"} 4").await;
    let lines = session.stop().await;
    let warned = lines.iter().filter(|line| line["fields"]["host"] == "evil.example").count();
    assert_eq!(warned, 1, "{lines:#?}");

    let session = Session::start(&["--admin-host", "*"], &[]).await;
    assert!(asked_as(&session.admin, "any.example").await.starts_with("HTTP/1.1 200 "));
}
