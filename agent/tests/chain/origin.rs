//! The server behind the proxies: it tells what headers it got, and misbehaves on request.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What the server saw of a request.
#[derive(Clone, Debug)]
pub struct Hit {
    pub path: String,
    /// When its headers were read.
    pub at: SystemTime,
    headers: Vec<(String, String)>,
}

impl Hit {
    /// The value of a header; several lines are joined as HTTP says.
    pub fn header(&self, name: &str) -> Option<String> {
        let values: Vec<_> = self.headers.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect();
        (!values.is_empty()).then(|| values.join(","))
    }
}

/// A server on a port of its own. It takes one request a connection: HAProxy hides the failure of a connection that it used before.
/// The end of the path says what it does; everything else is a cacheable 200.
///
/// `/status/503` answers so, `/close` closes without an answer, `/slow` takes a second, `/nonsense` is no HTTP, `/stall` takes ten seconds,
/// `/cut` ends in the body, `/stall-body` stops in it, `/drip` takes its time for it, `/flaky` is 503 for the first time, `/websocket` echoes after a 101.
pub struct Origin {
    pub addr: String,
    hits: Arc<Mutex<Vec<Hit>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Origin {
    pub async fn start() -> Self {
        Self::start_with("127.0.0.1:0", true).await
    }

    pub async fn start_at(addr: &str) -> Self {
        Self::start_with(addr, true).await
    }

    /// One that keeps nothing of its requests, for long runs: no `/flaky`.
    pub async fn forgetful() -> Self {
        Self::start_with("127.0.0.1:0", false).await
    }

    async fn start_with(addr: &str, keeps: bool) -> Self {
        let listener = TcpListener::bind(addr).await.unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let hits = Arc::new(Mutex::new(Vec::new()));
        let seen = keeps.then(|| hits.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let seen = seen.clone();
                // A client that goes away is no error here.
                tokio::spawn(async move {
                    let _ = serve(stream, seen.as_deref()).await;
                });
            }
        });
        Origin { addr, hits, task }
    }

    pub fn hits(&self) -> Vec<Hit> {
        self.hits.lock().unwrap().clone()
    }

    /// The only request to this path.
    pub fn hit(&self, path: &str) -> Hit {
        let mut hits = self.hits();
        hits.retain(|hit| hit.path == path);
        assert_eq!(hits.len(), 1, "requests to {path}: {hits:?}");
        hits.remove(0)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A listener whose backlog is full: whoever connects waits, for nothing.
pub struct Full {
    pub addr: String,
    _listener: std::net::TcpListener,
    _waiting: Vec<std::net::TcpStream>,
}

impl Full {
    pub fn new() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let addr = listener.local_addr().unwrap();
        let connect = || std::net::TcpStream::connect_timeout(&addr, Duration::from_millis(100)).ok();
        let waiting = std::iter::from_fn(connect).collect();
        Full { addr: addr.to_string(), _listener: listener, _waiting: waiting }
    }
}

async fn serve(stream: TcpStream, hits: Option<&Mutex<Vec<Hit>>>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut request = String::new();
    if stream.read_line(&mut request).await? == 0 {
        return Ok(());
    }
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, n)| n.parse().ok());
    let before = hits.map_or(0, |hits| {
        let mut hits = hits.lock().unwrap();
        let before = hits.iter().filter(|hit| hit.path == path).count();
        hits.push(Hit { path: path.clone(), at: SystemTime::now(), headers });
        before
    });
    stream.read_exact(&mut vec![0; length.unwrap_or(0)]).await?;
    let status = match path.rsplit_once("/status/") {
        Some((_, status)) => status.to_owned(),
        None => "200".to_owned(),
    };
    let begun = "HTTP/1.1 200 Hm\r\ncontent-length: 100\r\n\r\nbegun";
    let flaky = match path.rsplit('/').next().unwrap_or_default() {
        "close" => return Ok(()),
        "nonsense" => return stream.write_all(b"nonsense\r\n\r\n").await,
        "slow" => return answer(&mut stream, &status, Duration::from_secs(1)).await,
        "stall" => return answer(&mut stream, &status, Duration::from_secs(10)).await,
        "cut" => return stream.write_all(begun.as_bytes()).await,
        "stall-body" => {
            stream.write_all(begun.as_bytes()).await?;
            tokio::time::sleep(Duration::from_secs(10)).await;
            return Ok(());
        }
        "drip" => {
            stream.write_all(begun.as_bytes()).await?;
            for _ in 0..95 {
                tokio::time::sleep(Duration::from_millis(20)).await;
                stream.write_all(b"x").await?;
            }
            return Ok(());
        }
        "websocket" => {
            let accept = "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
            let upgraded = format!("HTTP/1.1 101 Hm\r\nupgrade: websocket\r\nconnection: upgrade\r\n{accept}\r\n\r\n");
            stream.write_all(upgraded.as_bytes()).await?;
            let mut echo = [0; 64];
            while let n @ 1.. = stream.read(&mut echo).await? {
                stream.write_all(&echo[..n]).await?;
            }
            return Ok(());
        }
        "flaky" => before == 0,
        _ => false,
    };
    answer(&mut stream, if flaky { "503" } else { &status }, Duration::ZERO).await
}

async fn answer(stream: &mut BufReader<TcpStream>, status: &str, after: Duration) -> std::io::Result<()> {
    tokio::time::sleep(after).await;
    let answer = format!(
        "HTTP/1.1 {status} Hm\r\ncontent-length: 2\r\ncache-control: max-age=60\r\nconnection: close\r\n\r\nok"
    );
    stream.write_all(answer.as_bytes()).await
}
