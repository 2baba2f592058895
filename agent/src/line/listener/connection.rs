//! A connection of log lines, plain or with TLS: read as lines come, and once more at the stop, without waiting.

use std::io::{self, Read};
use std::net;

use spop_agent::tls::TlsStream;
use tokio::io::AsyncRead;
use tokio::net::TcpStream;
use tokio_rustls::rustls::{ServerConnection, Stream};

/// What lines are read from.
pub(super) trait Lines: AsyncRead + Unpin + Send {
    /// What has arrived, however late the runtime may hear of it; a read that would wait fails instead.
    fn what_is_there(self) -> Option<impl Read + Send>;
}

impl Lines for TcpStream {
    fn what_is_there(self) -> Option<impl Read + Send> {
        self.into_std().ok()
    }
}

impl Lines for TlsStream {
    fn what_is_there(self) -> Option<impl Read + Send> {
        let (stream, session) = self.into_inner();
        Some(Rest { session, stream: stream.into_std().ok()? })
    }
}

/// The same with TLS.
struct Rest {
    session: ServerConnection,
    stream: net::TcpStream,
}

impl Read for Rest {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Stream::new(&mut self.session, &mut self.stream).read(buffer)
    }
}
