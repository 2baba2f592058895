//! TLS: what is served, what is refused and as what it is counted; certificates that change.

use std::path::{Path, PathBuf};
use std::time::Duration;

use spop_agent::tls::{ClientAuth, Tls, TlsConfig, TlsError, TlsResult, TlsVersion};
use spop_agent::{Ack, Answer, ListeningSocket, Notify, Request, Result, Server, ServerConfig, watched};
use spop_core::{ClientConfig, Scope, Status, Value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls;

use crate::authority::Authority;
use crate::certificates::{Client, Files, TLS12};
use crate::common::{Event, PATIENCE, Peer, Running, config, patiently};

fn echo(notify: &Notify<'_>, ack: &mut Ack<'_>) -> Result {
    for message in notify.messages() {
        if let Some(value) = message.arg("n") {
            ack.set_var(Scope::Transaction, "n", value)?;
        }
    }
    Ok(())
}

async fn start(tls: TlsConfig) -> (Running, Tls) {
    start_with(ServerConfig::default(), tls).await
}

async fn start_with(config: ServerConfig, tls: TlsConfig) -> (Running, Tls) {
    let tls = Tls::load(tls).unwrap();
    let server = Server::new(echo).config(config).tls(tls.clone());
    (Running::start_at(server, "127.0.0.1:0,tls").await, tls)
}

/// Waits until the handshakes are so many of each result that is named, and none of the others.
async fn counted(server: &Running, wanted: &[(TlsResult, u64)]) {
    let all = || -> Vec<_> {
        TlsResult::ALL
            .map(|result| (result, server.stats.tls().get(result)))
            .into_iter()
            .filter(|(_, n)| *n > 0)
            .collect()
    };
    let poll = async {
        while all() != wanted {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, poll).await.is_ok(), "{:?} and not {wanted:?}", all());
}

async fn answers(peer: &mut Peer<TlsStream<TcpStream>>, id: u64) {
    peer.notify(id, "m", id as i64).await;
    assert_eq!(peer.ack().await, (id, vec![(Scope::Transaction, "n".to_owned(), format!("Int64({id})"))]));
}

#[tokio::test]
async fn served_as_without_it() {
    let files = Files::new();
    let config = config(|config| config.max_frame_size = 1 << 20);
    let (server, _) = start_with(config, files.mutual()).await;
    assert!(server.addr.starts_with("127.0.0.1:"), "{}", server.addr);
    for version in rustls::ALL_VERSIONS {
        let client = Client { versions: std::slice::from_ref(version), ..files.known_client() };
        let mut peer = client.hello(&server.addr).await;
        for id in 1..=20 {
            answers(&mut peer, id).await;
        }
    }
    // Several records, more than a socket takes at once, and ACKs that are read late.
    let large = ClientConfig::DEFAULT.with_max_frame_size(1 << 20);
    let mut peer = Peer::over(files.known_client().connect(&server.addr).await.unwrap(), large);
    peer.send_own().await;
    assert_eq!(peer.event().await, Event::Hello);
    let bulk = vec![b'x'; 900_000];
    let mut frames = Vec::new();
    for id in 1..=5 {
        let mut frame = vec![0; 1 << 20];
        let mut notify = peer.client.notify(&mut frame, spop_core::StreamId(id), spop_core::FrameId(1)).unwrap();
        notify.message(b"m").unwrap();
        notify.arg(b"n", Value::Binary(&bulk)).unwrap();
        let len = notify.finish();
        frames.extend_from_slice(&frame[..len]);
    }
    peer.stream.write_all(&frames).await.unwrap();
    peer.stream.flush().await.unwrap();
    for id in 1..=5 {
        let (answered, vars) = peer.ack().await;
        assert_eq!((answered, vars.len()), (id, 1));
        assert_eq!(vars[0].2.matches("120").count(), bulk.len());
    }
    counted(&server, &[(TlsResult::Accepted, 3)]).await;
    // The end is as without TLS, too.
    let ended = server.stop();
    assert_eq!(peer.event().await, Event::Disconnect(Status::NORMAL));
    assert_eq!(peer.event().await, Event::Eof);
    drop(peer);
    patiently("the end", ended).await.unwrap();
}

#[tokio::test]
async fn asynchronous_handlers_too() {
    let files = Files::new();
    let late = |request: Request| async move {
        tokio::task::yield_now().await;
        let mut answer = Answer::new();
        answer.set_var(Scope::Transaction, "n", request.messages().count() as u64);
        Ok(answer)
    };
    let server = Server::new_async(late).tls(Tls::load(files.config()).unwrap());
    let server = Running::start_at(server, "[::1]:0,tls").await;
    // The certificate is of 127.0.0.1, which is the name that the client verifies.
    let mut peer = files.client().hello(&server.addr).await;
    peer.notify(1, "m", 1).await;
    assert_eq!(peer.ack().await.1[0].2, "UInt64(1)");
}

#[tokio::test]
async fn who_has_no_certificate_of_ours_is_refused_and_counted() {
    let files = Files::new();
    let (server, _) = start(files.mutual()).await;
    let mut good = files.known_client().hello(&server.addr).await;
    let stranger = || Authority::new().certificate("haproxy");
    let mut expected = vec![(TlsResult::Accepted, 1)];
    for (client, result) in [
        (files.client(), TlsResult::NoCertificate),
        (files.client().with(stranger()), TlsResult::UnknownAuthority),
        (files.client().with(files.clients.expired("haproxy")), TlsResult::Expired),
        // What the authority signed for itself is a certificate of an authority, not of a client.
        (files.client().with(files.servers.certificate("haproxy")), TlsResult::UnknownAuthority),
    ] {
        for version in rustls::ALL_VERSIONS {
            Client { versions: std::slice::from_ref(version), own: client.own.clone(), ..files.client() }
                .is_refused(&server.addr)
                .await;
            match expected.iter_mut().find(|(counted, _)| *counted == result) {
                Some((_, n)) => *n += 1,
                None => expected.push((result, 1)),
            }
            counted(&server, &expected).await;
        }
    }
    answers(&mut good, 1).await;
    server.wait_for("closed", |stats| stats.connections_open == 1).await;
    let stats = server.stats.snapshot();
    assert_eq!((stats.connections, stats.hellos, stats.protocol_errors, stats.io_errors), (9, 1, 0, 0));
}

#[tokio::test]
async fn a_certificate_may_be_optional() {
    let files = Files::new();
    let mut optional = files.mutual();
    optional.client_auth = Some(ClientAuth::Optional);
    let (server, _) = start(optional).await;
    answers(&mut files.client().hello(&server.addr).await, 1).await;
    answers(&mut files.known_client().hello(&server.addr).await, 2).await;
    files.client().with(Authority::new().certificate("haproxy")).is_refused(&server.addr).await;
    counted(&server, &[(TlsResult::Accepted, 2), (TlsResult::UnknownAuthority, 1)]).await;
}

#[tokio::test]
async fn old_versions_are_refused() {
    let files = Files::new();
    let mut modern = files.config();
    modern.min_version = TlsVersion::V1_3;
    let (server, _) = start(modern).await;
    Client { versions: &TLS12, ..files.client() }.is_refused(&server.addr).await;
    counted(&server, &[(TlsResult::Version, 1)]).await;
    answers(&mut files.client().hello(&server.addr).await, 1).await;

    // The ClientHello of TLS 1.0, with one cipher and no extension.
    let (server, _) = start(files.config()).await;
    let body = [&[3, 1][..], &[7; 32], &[0, 0, 2, 0, 0x2f, 1, 0]].concat();
    let handshake = [&[1, 0, 0, body.len() as u8][..], &body].concat();
    let hello = [&[0x16, 3, 1, 0, handshake.len() as u8][..], &handshake].concat();
    let mut old = TcpStream::connect(&server.addr).await.unwrap();
    old.write_all(&hello).await.unwrap();
    let mut answer = Vec::new();
    let _end = patiently("the end", old.read_to_end(&mut answer)).await;
    assert_eq!(answer.first(), Some(&0x15), "an alert");
    counted(&server, &[(TlsResult::Version, 1)]).await;
}

#[tokio::test]
async fn who_refuses_our_certificate_is_told_apart() {
    let files = Files::new();
    let (server, _) = start(files.config()).await;
    Client { roots: Authority::new().pem(), ..files.client() }.is_refused(&server.addr).await;
    counted(&server, &[(TlsResult::Refused, 1)]).await;
}

#[tokio::test]
async fn plain_on_tls_and_tls_on_plain() {
    let files = Files::new();
    let (server, _) = start(files.config()).await;
    let mut plain = Peer::connect(&server.addr, ClientConfig::DEFAULT).await;
    plain.send_own().await;
    assert_eq!(plain.event().await, Event::Eof);
    for (n, first) in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\x15\x03\x01\x00\x02\x01\x00", b"\x80\x2e\x01", b"x"].into_iter().enumerate()
    {
        let mut stream = TcpStream::connect(&server.addr).await.unwrap();
        stream.write_all(first).await.unwrap();
        let mut answer = Vec::new();
        let _reset = patiently("the end", stream.read_to_end(&mut answer)).await;
        assert_eq!(answer, b"", "a closed connection, nothing else");
        counted(&server, &[(TlsResult::Plain, n as u64 + 2)]).await;
    }

    let server = Running::start(Server::new(echo)).await;
    assert!(files.client().connect(&server.addr).await.is_err());
    counted(&server, &[(TlsResult::Unexpected, 1)]).await;
    server.wait_for("counted", |stats| stats.protocol_errors == 1 && stats.connections_open == 0).await;
}

#[tokio::test]
async fn handshakes_that_stand_still_end_and_make_room() {
    let files = Files::new();
    let mut tls = files.config();
    tls.handshake_timeout = Duration::from_millis(100);
    let (server, _) = start(tls.clone()).await;
    let silent = TcpStream::connect(&server.addr).await.unwrap();
    let mut half = TcpStream::connect(&server.addr).await.unwrap();
    half.write_all(b"\x16\x03\x01\x02\x00\x01").await.unwrap();
    counted(&server, &[(TlsResult::Timeout, 2)]).await;
    drop((silent, half));
    let gone = TcpStream::connect(&server.addr).await.unwrap();
    drop(gone);
    counted(&server, &[(TlsResult::Timeout, 2), (TlsResult::Closed, 1)]).await;

    // A quarter of the connections may be unfinished; nobody waits for them.
    tls.handshake_timeout = Duration::from_secs(600);
    let (server, _) = start_with(config(|config| config.max_connections = 16), tls).await;
    let mut living = files.client().hello(&server.addr).await;
    let mut crowd = Vec::new();
    for n in 1..=50 {
        crowd.push(TcpStream::connect(&server.addr).await.unwrap());
        server.wait_for("taken", |stats| stats.connections + stats.connections_refused == n + 1).await;
    }
    server.wait_for("room is made", |stats| stats.connections_open == 5).await;
    answers(&mut living, 1).await;
    answers(&mut files.client().hello(&server.addr).await, 1).await;
    let evicted = server.stats.tls().get(TlsResult::Evicted);
    assert!((46..=47).contains(&evicted), "{evicted}");
    assert_eq!(server.stats.snapshot().connections_refused, 0);
    // The stop does not wait for them either.
    drop(living);
    patiently("the end", server.stop()).await.unwrap();
    drop(crowd);
}

/// With other limits another number of handshakes may be unfinished.
#[tokio::test]
async fn room_for_handshakes_follows_the_limits() {
    let files = Files::new();
    let mut tls = files.config();
    tls.handshake_timeout = Duration::from_secs(600);
    let server = Server::new(echo).config(config(|config| config.max_connections = 4)).tls(Tls::load(tls).unwrap());
    let live = server.live_config();
    let server = Running::start_at(server, "127.0.0.1:0,tls").await;
    let mut crowd = vec![TcpStream::connect(&server.addr).await.unwrap()];
    server.wait_for("one", |stats| stats.connections == 1).await;
    live.set(config(|config| config.max_connections = 40));
    // The first ones may come before the acceptor knows.
    for n in 2..=20 {
        crowd.push(TcpStream::connect(&server.addr).await.unwrap());
        server.wait_for("taken", |stats| stats.connections == n).await;
    }
    assert!(server.stats.snapshot().connections_open >= 5, "{:?}", server.stats.snapshot());
    drop(crowd);
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named() {
    let files = Files::new();
    files.write("empty.pem", "nothing\n");
    files.write("other.pem", &files.servers.certificate("127.0.0.1").1);
    files.write("broken.pem", "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n");
    files.write("torn.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let path = |name: &str| files.path(name);
    let error = |change: &dyn Fn(&mut TlsConfig)| {
        let mut config = files.mutual();
        change(&mut config);
        Tls::load(config).unwrap_err()
    };
    for name in ["empty.pem", "broken.pem", "torn.pem", "missing.pem"] {
        for (option, set) in [
            ("--tls-cert", (|config, path| config.cert = Some(path)) as fn(&mut TlsConfig, PathBuf)),
            ("--tls-client-ca", |config, path| config.client_ca = Some(path)),
        ] {
            let text = error(&|config| set(config, path(name))).to_string();
            assert!(text.starts_with(&format!("{option} {}: ", path(name).display())), "{text}");
        }
    }
    let text = error(&|config| config.key = Some(path("empty.pem"))).to_string();
    assert_eq!(text, format!("--tls-key {}: no private key in PEM in it", path("empty.pem").display()));
    let text = error(&|config| config.key = None).to_string();
    assert!(text.contains("--tls-cert") && text.ends_with("by --tls-key FILE"), "{text}");
    let text = error(&|config| config.key = Some(path("other.pem"))).to_string();
    let cert = path("cert.pem");
    assert!(text.ends_with(&format!("this key is not that of the certificate in {}", cert.display())), "{text}");
    assert_eq!(error(&|config| config.cert = None), TlsError::NoCertificate);
    let without_ca = |config: &mut TlsConfig| {
        config.client_ca = None;
        config.client_auth = Some(ClientAuth::Required);
    };
    assert_eq!(error(&without_ca), TlsError::NoClientAuthority);
    // One file may have both.
    let both = ["cert.pem", "key.pem"].map(|name| std::fs::read_to_string(path(name)).unwrap()).concat();
    files.write("both.pem", &both);
    Tls::load(TlsConfig::new(path("both.pem"))).unwrap();
    // An address with TLS is nothing without them.
    let error = Server::new(echo).bind("127.0.0.1:0,tls").await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    let passed = || ListeningSocket::Tls(std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    assert_eq!(Server::new(echo).listen_on(passed()).unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
    let server = Server::new(echo).tls(Tls::load(files.config()).unwrap()).listen_on(passed()).unwrap();
    let addr = server.addrs().next().unwrap().to_string();
    let served = tokio::spawn(server.run(std::future::pending()));
    answers(&mut files.client().hello(&addr).await, 1).await;
    served.abort();
}

/// The name of the authority of the certificate that new connections get.
async fn issuer_is(files: &Files, server: &Running, authority: &Authority) -> bool {
    let client = Client { roots: authority.pem(), ..files.known_client() };
    client.connect(&server.addr).await.is_ok()
}

fn replace(files: &Files, authority: &Authority) {
    let (cert, key) = authority.certificate("127.0.0.1");
    files.write("cert.pem", &cert);
    files.write("key.pem", &key);
}

#[tokio::test]
async fn certificates_are_exchanged_and_connections_stay() {
    let files = Files::new();
    let (server, tls) = start(files.mutual()).await;
    let mut old = files.known_client().hello(&server.addr).await;
    let ends = tls.not_after();
    assert!(ends.unwrap() > std::time::SystemTime::now());

    // By the handle.
    let second = Authority::new();
    replace(&files, &second);
    assert_eq!(tls.reload(), Ok(true));
    assert_eq!(tls.reload(), Ok(false));
    assert!(issuer_is(&files, &server, &second).await);
    assert!(!issuer_is(&files, &server, &files.servers).await);

    // What cannot be used changes nothing.
    let third = Authority::new();
    files.write("cert.pem", &third.certificate("127.0.0.1").0);
    assert!(tls.reload().unwrap_err().to_string().contains("is not that of the certificate"));
    std::fs::remove_file(files.path("cert.pem")).unwrap();
    assert!(tls.reload().unwrap_err().to_string().contains("--tls-cert"));
    assert!(issuer_is(&files, &server, &second).await);
    assert_eq!(tls.reloads(), (1, 2));

    // By the change of the files, and of the authorities of clients with them.
    let clients = Authority::new();
    files.write("clients.pem", &clients.pem());
    replace(&files, &third);
    let seen = async {
        while !issuer_is(&files, &server, &third).await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    patiently("the change is seen", seen).await;
    let now = Client { roots: third.pem(), ..files.client() };
    Client { own: files.known_client().own, ..now }.is_refused(&server.addr).await;
    let now = Client { roots: third.pem(), ..files.client() }.with(clients.certificate("haproxy"));
    answers(&mut now.hello(&server.addr).await, 1).await;
    assert_eq!(tls.reloads(), (2, 2));

    for id in 1..=3 {
        answers(&mut old, id).await;
    }
}

/// A Kubernetes secret: what a symbolic link leads to is exchanged, while clients come and go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exchange_under_load_costs_nobody_anything() {
    let files = Files::new();
    let at = |name: &str| files.path(name);
    let place = |name: &str| {
        std::fs::create_dir(at(name)).unwrap();
        let (cert, key) = files.servers.certificate("127.0.0.1");
        std::fs::write(at(name).join("tls.crt"), cert).unwrap();
        std::fs::write(at(name).join("tls.key"), key).unwrap();
    };
    let link = |from: &str, to: &Path| {
        std::os::unix::fs::symlink(from, at("link")).unwrap();
        std::fs::rename(at("link"), to).unwrap();
    };
    place("v0");
    link("v0", &at("..data"));
    link("..data/tls.crt", &at("tls.crt"));
    link("..data/tls.key", &at("tls.key"));
    let mut config = TlsConfig::new(at("tls.crt"));
    config.key = Some(at("tls.key"));
    let (server, tls) = start(config).await;
    let (addr, roots) = (server.addr.clone(), files.servers.pem());
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (addr, roots) = (addr.clone(), roots.clone());
            tokio::spawn(async move {
                let client = Client { roots, own: None, versions: rustls::ALL_VERSIONS };
                let mut steady = client.hello(&addr).await;
                let begin = tokio::time::Instant::now();
                let mut id = 0;
                while begin.elapsed() < 3 * watched::INTERVAL {
                    id += 1;
                    answers(&mut steady, id).await;
                    answers(&mut client.hello(&addr).await, id).await;
                }
                id
            })
        })
        .collect();
    let mut version = 0;
    while !clients.iter().all(tokio::task::JoinHandle::is_finished) {
        version += 1;
        place(&format!("v{version}"));
        link(&format!("v{version}"), &at("..data"));
        if version % 2 == 0 {
            assert_eq!(tls.reload(), Ok(true));
        }
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    let mut accepted = 4;
    for client in clients {
        accepted += client.await.unwrap();
    }
    let (changes, failures) = tls.reloads();
    assert!(changes >= 3 && failures == 0, "{changes} {failures}");
    counted(&server, &[(TlsResult::Accepted, accepted)]).await;
    server.wait_for("all are answered", |stats| stats.acks == stats.notifies && stats.io_errors == 0).await;
}
