//! Lines over TCP: their framing, and the bounds of connections.

use std::io::Write;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::{Running, line};
use crate::process::PATIENCE;

#[tokio::test]
async fn lines_in_a_stream_split_anywhere() {
    // A reader that comes late finds very many at once.
    let running = Running::tcp(|config| (config.max_connections, config.max_per_peer) = (10_000, 10_000)).await;
    let [one, two] = [line(1), line(2)];
    let counted = format!("{} {one}{} {two}", one.len(), two.len());
    let lines = format!("{one}\n{two}\n");
    let mut sent = 0;
    for stream in [&counted, &lines] {
        for at in (1..stream.len()).step_by(7).chain(1..8) {
            let mut connection = running.connect().await;
            connection.set_nodelay(true).unwrap();
            let (first, second) = stream.split_at(at);
            connection.write_all(first.as_bytes()).await.unwrap();
            tokio::task::yield_now().await;
            connection.write_all(second.as_bytes()).await.unwrap();
            sent += 2;
        }
    }
    running.until("all lines", |s| s.tcp_lines == sent).await;
    let (stats, lines) = running.stop().await;
    assert!(lines.iter().all(|line| *line == one || *line == two));
    assert_eq!((stats.bad_framing, stats.too_long, stats.incomplete), (0, 0, 0));
}

#[tokio::test]
async fn a_line_that_is_too_long_is_skipped_and_the_connection_goes_on() {
    let running = Running::tcp(|config| config.max_line = 1000).await;
    let (good, long) = (line(1), format!("<134>{}", "x".repeat(300_000)));
    assert!(good.len() < 1000);
    let mut counted = running.connect().await;
    for text in [&good, &long, &good, &long, &long, &good] {
        counted.write_all(format!("{} {text}", text.len()).as_bytes()).await.unwrap();
    }
    let mut lines = running.connect().await;
    for text in [&good, &long, &good, &long, &long, &good] {
        lines.write_all(format!("{text}\n").as_bytes()).await.unwrap();
    }
    running.until("all lines", |s| s.tcp_lines == 6).await;
    let (stats, lines) = running.stop().await;
    assert!(lines.iter().all(|line| *line == good));
    assert_eq!((stats.too_long, stats.bad_framing, stats.incomplete), (6, 0, 0));
}

#[tokio::test]
async fn what_is_cut_by_the_end_of_its_connection_is_counted() {
    let running = Running::tcp(|_| {}).await;
    for (stream, cut) in [
        (format!("{}\n", line(1)), 0),
        (line(1), 1),
        (format!("{}\n{}", line(1), line(2)), 1),
        (format!("{} {}", line(1).len() + 1, line(1)), 1),
        (String::new(), 0),
    ] {
        let before = running.stats();
        let mut connection = running.connect().await;
        connection.write_all(stream.as_bytes()).await.unwrap();
        drop(connection);
        running.until("it is closed", |s| s.connections == before.connections + 1 && s.open == 0).await;
        assert_eq!(running.stats().incomplete, before.incomplete + cut, "{stream}");
    }
    assert_eq!(running.stop().await.0.tcp_lines, 2);
}

#[tokio::test]
async fn connections_are_limited_and_end_when_they_are_idle() {
    let idle = Duration::from_millis(200);
    let running = Running::tcp(|config| (config.max_connections, config.idle_timeout) = (3, Some(idle))).await;
    let mut held = Vec::new();
    for n in 1..=3 {
        held.push(running.connect().await);
        running.until("it is open", |s| s.connections == n).await;
    }
    let mut fourth = running.connect().await;
    assert_eq!(fourth.read(&mut [0]).await.unwrap_or(0), 0, "closed at once");
    running.until("it was refused", |s| s.refused_limit == 1).await;
    running.until("the others were idle", |s| s.timeouts == 3 && s.open == 0).await;
    for connection in &mut held {
        assert_eq!(connection.read(&mut [0]).await.unwrap(), 0);
    }
    let mut next = running.connect().await;
    next.write_all(format!("{}\n", line(1)).as_bytes()).await.unwrap();
    running.until("there is room again", |s| s.tcp_lines == 1).await;
    running.stop().await;
}

/// From another address of this host.
async fn connect_from(running: &Running, last: u8) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::new(127, 0, 0, last), 0).into()).unwrap();
    socket.connect(running.addr()).await.unwrap()
}

#[tokio::test]
async fn one_sender_leaves_places_for_the_others() {
    let running = Running::tcp(|config| (config.max_connections, config.max_per_peer) = (3, 2)).await;
    let mut held = [connect_from(&running, 2).await, connect_from(&running, 2).await];
    running.until("they are open", |s| s.open == 2).await;
    let mut third = connect_from(&running, 2).await;
    assert_eq!(third.read(&mut [0]).await.unwrap_or(0), 0, "closed at once");
    running.until("it was refused", |s| s.refused_peer == 1).await;
    let mut other = connect_from(&running, 3).await;
    other.write_all(format!("{}\n", line(1)).as_bytes()).await.unwrap();
    running.until("another one is heard", |s| s.tcp_lines == 1).await;
    drop(other);
    held[0].shutdown().await.unwrap();
    running.until("one goes", |s| s.open == 1).await;
    let mut next = connect_from(&running, 2).await;
    next.write_all(format!("{}\n", line(2)).as_bytes()).await.unwrap();
    running.until("there is room again", |s| s.tcp_lines == 2 && s.refused_limit == 0).await;
    drop((held, next));
    running.stop().await;
}

/// Whoever answers HAProxy, and exports, does not make lines wait.
#[tokio::test]
async fn connections_are_read_while_the_runtime_stands_still() {
    let running = Running::tcp(|_| {}).await;
    let mut stream = std::net::TcpStream::connect(running.addr()).unwrap();
    for sent in 1..=3 {
        writeln!(stream, "{}", line(sent)).unwrap();
        let until = Instant::now() + PATIENCE;
        // Not `eventually`, which lets the runtime work.
        while running.lines().len() < sent {
            assert!(Instant::now() < until, "{sent}: {:?}", running.stats());
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    drop(stream);
    assert_eq!(running.stop().await.1.len(), 3);
}
