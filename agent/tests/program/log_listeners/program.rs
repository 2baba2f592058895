//! The program with lines: its accounts, its end, what it says.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::{line, sender};
use crate::collector::Collector;
use crate::program_support::{Session, run};
use crate::scrape::Metrics;

/// Where the program takes lines, by its log.
fn log_addrs(session: &Session) -> Vec<String> {
    let lines = session.process.output();
    let listening = lines.iter().filter(|line| line.contains("\"kind\":\"log\""));
    let addrs = listening.map(|line| crate::program_support::json(line)["fields"]["addr"].as_str().unwrap().to_owned());
    addrs.map(|addr| addr.split_once("://").map_or(addr.clone(), |(_, host)| host.to_owned())).collect()
}

#[tokio::test]
async fn the_program_accounts_for_lines() {
    let listen = ["--log-listen", "udp://127.0.0.1:0", "--log-listen", "tcp://127.0.0.1:0", "--log-max-line", "1KiB"];
    let session = Session::start(&listen, &[]).await;
    let addrs = log_addrs(&session);
    let udp = sender();
    for n in 0..10 {
        udp.send_to(line(n).as_bytes(), &addrs[0]).unwrap();
    }
    let mut tcp = TcpStream::connect(&addrs[1]).await.unwrap();
    tcp.write_all(format!("{}\n<134>{}\n{}\n<134>", line(1), "x".repeat(2000), line(2)).as_bytes()).await.unwrap();
    let mut garbage = TcpStream::connect(&addrs[1]).await.unwrap();
    garbage.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let all = |m: &Metrics| m.sum("log_lines_received_total", "") == 12.0 && m.get("log_connections_open") == 1.0;
    let metrics = Metrics::scrape_until(&session.admin, "all lines", all).await;
    for (series, value) in [
        ("log_lines_received_total{transport=\"udp\"}", 10),
        ("log_lines_received_total{transport=\"unix\"}", 0),
        ("log_lines_received_total{transport=\"tcp\"}", 2),
        ("log_received_bytes_total{transport=\"udp\"}", 10 * line(1).len()),
        ("log_received_bytes_total{transport=\"tcp\"}", 2 * line(1).len()),
        ("log_lines_not_taken_total{cause=\"too_long\"}", 1),
        ("log_lines_not_taken_total{cause=\"buffer_full\"}", 0),
        ("log_connections_total", 2),
        ("log_connections_broken_total{cause=\"framing\"}", 1),
        ("log_connections_refused_total{cause=\"limit\"}", 0),
    ] {
        assert_eq!(metrics.get(series), value as f64, "{series}");
    }
    let lines = session.stop().await;
    let account = lines.iter().map(|line| &line["fields"]).find(|f| f["message"] == "log lines received").unwrap();
    for (name, figure) in [
        ("udp", 10),
        ("tcp", 2),
        ("lost", 0),
        ("too_long", 1),
        ("incomplete", 1),
        ("connections", 2),
        ("connections_refused", 0),
        ("bad_framing", 1),
    ] {
        assert_eq!(account[name], figure, "{name}: {account}");
    }
}

/// What arrives while the whole process stands still, and what arrives just before its end.
#[tokio::test]
async fn a_process_that_is_stopped_for_a_second_loses_nothing_uncounted() {
    const LINES: usize = 5000;
    let session = Session::start(&["--log-listen", "udp://127.0.0.1:0"], &[]).await;
    let (socket, addr) = (sender(), log_addrs(&session).remove(0));
    session.process.signal("-STOP");
    let sent = AtomicUsize::new(0);
    let send = || {
        socket.send_to(line(sent.fetch_add(1, Relaxed)).as_bytes(), &addr).unwrap();
    };
    (0..LINES).for_each(|_| send());
    tokio::time::sleep(Duration::from_secs(1)).await;
    session.process.signal("-CONT");
    let received = |m: &Metrics| m.get("log_lines_received_total{transport=\"udp\"}");
    let lost = |m: &Metrics| m.get("log_lines_not_taken_total{cause=\"buffer_full\"}");
    let all_told = |m: &Metrics| {
        let told = received(m) + lost(m) == sent.load(Relaxed) as f64;
        if !told {
            // What was dropped is told with the next one that is kept.
            send();
        }
        told
    };
    let metrics = Metrics::scrape_until(&session.admin, "all are told", all_told).await;
    println!("{} received, {} lost", received(&metrics), lost(&metrics));
    // 4 MiB hold some 3,600 of these; the system's setting may allow less.
    let allowed: usize = std::fs::read_to_string("/proc/sys/net/core/rmem_max").unwrap().trim().parse().unwrap();
    assert!(allowed < 4 << 20 || received(&metrics) > 3000.0, "{}", metrics.text);
    let lines = session.stop().await;
    let warned = lines.iter().any(|line| line["fields"]["message"].as_str().unwrap().starts_with("log lines lost"));
    assert_eq!(warned, lost(&metrics) > 0.0);
}

/// A line of a sampled request that has just ended, with a number in its trace's id.
fn traced(n: usize) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let (end, start) = (now.as_micros(), now.as_micros() - 5000);
    format!(
        "<134>1 2026-11-28T20:00:00.000000+00:00 - haproxy 4711 - [otel@32473 v=\"1\" svc=\"edge\" \
         c=\"{:032x}-00000000000000aa-00000000000000bb--01\" n=\"{n}\" a=\"{}.{:03}\" au=\"{start}\" t0=\"{start}\" \
         e=\"{end}\" Th=\"0\" Ti=\"0\" TR=\"0\" Tw=\"0\" Tc=\"0\" Tr=\"4\" Td=\"0\" Ta=\"5\" st=\"200\" ss=\"200\" \
         ts=\"--\" rc=\"0\" f=\"www\" b=\"app\" s=\"s1\" m=\"GET\" u=\"%2f\" id=\"-\" z=\"1\"] x\n",
        n + 1,
        start / 1_000_000,
        start / 1000 % 1000,
    )
}

/// The last thing that HAProxy sends before its agent is told to stop reaches the collector.
#[tokio::test]
async fn lines_before_the_stop_become_spans() {
    const LINES: usize = 500;
    for listen in ["udp://127.0.0.1:0", "tcp://127.0.0.1:0"] {
        let collector = Collector::start().await;
        let session = Session::start(&["--otlp", &collector.url, "--log-listen", listen], &[]).await;
        let addr = log_addrs(&session).remove(0);
        // Nothing of it is read before the signal is there.
        session.process.signal("-STOP");
        let (udp, mut tcp) = (sender(), None);
        for n in 0..LINES {
            if listen.starts_with("udp") {
                udp.send_to(traced(n).as_bytes(), &addr).unwrap();
            } else {
                let tcp = tcp.get_or_insert_with(|| std::net::TcpStream::connect(&addr).unwrap());
                std::io::Write::write_all(tcp, traced(n).as_bytes()).unwrap();
            }
        }
        session.process.signal("-TERM");
        session.process.signal("-CONT");
        let lines = session.stop().await;
        let account = |of: &str| lines.iter().map(|line| &line["fields"]).find(|f| f["message"] == of).unwrap();
        assert_eq!(account("log lines read")["traced"], LINES, "{lines:#?}");
        // SERVER and CLIENT.
        assert_eq!(collector.spans().len(), 2 * LINES);
        assert_eq!(account("spans accounted for")["exported"], 2 * LINES);
    }
}

#[tokio::test]
async fn a_receive_buffer_that_the_system_does_not_give_is_told_with_the_cure() {
    for (asked, warned) in [("64KiB", false), ("1GiB", true), ("4GiB", true)] {
        let session = Session::start(&["--log-listen", "udp://127.0.0.1:0", "--log-recv-buffer", asked], &[]).await;
        let lines = session.stop().await;
        let mut messages = lines.iter().map(|line| line["fields"]["message"].as_str().unwrap());
        let found = messages.any(|text| text.contains("sysctl -w net.core.rmem_max=1073741824"));
        assert_eq!(found, warned, "{lines:#?}");
    }
}

#[test]
fn what_cannot_be_listened_on() {
    let taken = sender();
    let taken = format!("udp://{}", taken.local_addr().unwrap());
    for (args, status, named) in [
        (&["--log-listen=127.0.0.1:5140"][..], 2, "udp://host:port"),
        (&["--log-listen=udp://127.0.0.1"], 2, "udp://host:port"),
        (&["--log-listen=unix:/run/x,mode=rw"], 2, "mode=660"),
        (&["--log-listen=udp://0.0.0.0:0"], 2, "--log-allow"),
        (&["--log-listen=tcp://:0"], 2, "--log-allow"),
        (&["--log-allow=all"], 2, "10.0.0.0/8"),
        (&["--log-recv-buffer=lots"], 2, "64MiB"),
        (&["--log-listen", &taken], 1, &taken),
        (&["--log-listen=unix:/no/such/folder/log"], 1, "--log-listen unix:/no/such/folder/log"),
    ] {
        let (ended, text) = run(args, &[]);
        assert_eq!(ended, Some(status), "{args:?}: {text}");
        assert!(text.contains(named), "{args:?}: {text}");
    }
}
