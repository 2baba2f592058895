//! Sends what a row of the table says.

use std::time::Duration;

use super::Proxy;
use super::client::{Client, Seen, frame, get, h2_get, h2_post, hello, request};
use super::table::{How, Row};
use crate::process::{PATIENCE, eventually};

/// Does it; what its client saw.
pub async fn run(proxy: &Proxy, row: &Row) -> Seen {
    let addr = proxy.addresses.http.as_str();
    let ask = request("GET", row.path, "connection: close\r\n");
    match row.how {
        How::Get => get(addr, row.path).await,
        How::Listen => get(&proxy.addresses.listen, row.path).await,
        How::Again => {
            get(addr, row.path).await;
            get(addr, row.path).await
        }
        How::Post => {
            let mut client = Client::connect(addr).await;
            let head = request("POST", row.path, "connection: close\r\ncontent-length: 4\r\n");
            client.send(&[&head[..], b"body"].concat()).await;
            client.read_all().await
        }
        How::Second => {
            let mut client = Client::connect(addr).await;
            client.send(&request("GET", "/first", "")).await;
            assert!(client.until(b"ok", PATIENCE).await);
            client.forget();
            // The connection is idle in between.
            tokio::time::sleep(Duration::from_millis(100)).await;
            client.send(&ask).await;
            client.read_all().await
        }
        How::Queued => {
            let holder = get(addr, "/queue/slow");
            let waiting = async {
                arrived(proxy, "/queue/slow").await;
                get(addr, row.path).await
            };
            futures_util::future::join(holder, waiting).await.1
        }
        How::CloseWaiting => {
            let mut client = Client::connect(addr).await;
            client.send(&request("GET", row.path, "")).await;
            arrived(proxy, row.path).await;
            client.close()
        }
        How::GoReading => {
            let mut client = Client::connect(addr).await;
            client.send(&ask).await;
            assert!(client.until(b"begun", PATIENCE).await);
            let seen = client.seen();
            client.go();
            seen
        }
        How::Dropped => {
            let mut client = Client::connect(addr).await;
            client.send(&ask).await;
            assert!(!client.until(b"ok", Duration::from_millis(200)).await);
            client.close()
        }
        How::HalfBody => {
            let mut client = Client::connect(addr).await;
            let head = request("POST", row.path, "connection: close\r\ncontent-length: 100\r\n");
            client.send(&[&head[..], b"half"].concat()).await;
            client.read_all().await
        }
        How::Http2HalfBody => {
            let mut client = Client::connect(&proxy.addresses.h2).await;
            client.send(&[hello(), h2_post(1, row.path), frame(0, 0, 1, b"half")].concat()).await;
            let sent = client.seen().sent;
            // Until HAProxy gives up, which some versions say by a reset.
            client.until(b"never", Duration::from_secs(2)).await;
            Seen { sent, ..client.close() }
        }
        How::WebSocket => {
            let mut client = Client::connect(addr).await;
            let upgrade =
                "upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
            client.send(&request("GET", row.path, upgrade)).await;
            assert!(client.until(b"\r\n\r\n", PATIENCE).await);
            let sent = client.seen().sent;
            client.send(b"hello").await;
            assert!(client.until(b"hello", PATIENCE).await);
            tokio::time::sleep(Duration::from_millis(200)).await;
            Seen { sent, ..client.close() }
        }
        How::Http2 => {
            let mut client = Client::connect(&proxy.addresses.h2).await;
            client.send(&[hello(), h2_get(1, "/http2-beside"), h2_get(3, row.path)].concat()).await;
            assert!(client.until_streams_end(2, PATIENCE).await);
            client.close()
        }
        How::ResetStream => {
            let mut client = Client::connect(&proxy.addresses.h2).await;
            client.send(&[hello(), h2_get(1, row.path)].concat()).await;
            arrived(proxy, row.path).await;
            // HAProxy may not have noted yet that all is sent: then it ended in the last phase of sending (`CL`).
            tokio::time::sleep(Duration::from_millis(100)).await;
            let sent = client.seen().sent;
            client.send(&frame(3, 0, 1, &8_u32.to_be_bytes())).await;
            // What comes for it is not waited for: nothing does.
            tokio::time::sleep(Duration::from_millis(200)).await;
            Seen { sent, ..client.close() }
        }
        How::Nonsense => {
            let mut client = Client::connect(addr).await;
            client.send(b"nonsense\r\n\r\n").await;
            client.read_all().await
        }
        How::LongHeader => {
            let mut client = Client::connect(addr).await;
            client.send(&request("GET", "/long", &format!("x: {}\r\n", "y".repeat(20_000)))).await;
            client.read_all().await
        }
        How::HalfRequest => {
            let mut client = Client::connect(addr).await;
            client.send(b"GET /half HTTP/1.1\r\n").await;
            client.read_all().await
        }
        How::Tcp => get(&proxy.addresses.tcp, "/tcp").await,
    }
}

/// Waits until the server has the request.
async fn arrived(proxy: &Proxy, path: &str) {
    let has = || proxy.origin.hits().iter().any(|hit| hit.path == path).then_some(());
    eventually(&format!("{path} arrives at the server"), has).await;
}
