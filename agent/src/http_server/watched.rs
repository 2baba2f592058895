//! A stream whose peer leaves bytes unread is at work, though hyper has the whole answer already.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::table::Activity;

/// A stream that tells its connection's activity whether it waits for its peer to read.
pub(super) struct Watched<S> {
    stream: S,
    activity: Arc<Activity>,
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S, activity: Arc<Activity>) -> Self {
        Watched { stream, activity }
    }

    fn told<T>(&self, step: Poll<T>) -> Poll<T> {
        self.activity.waits_for_reader(step.is_pending());
        step
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let step = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.told(step)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let step = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.told(step)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let step = Pin::new(&mut self.stream).poll_flush(cx);
        self.told(step)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_leaves_an_answer_unread_is_not_idle() {
        let activity = Arc::new(Activity::new());
        let (stream, mut client) = tokio::io::duplex(64);
        let mut stream = Watched::new(stream, activity.clone());
        stream.write_all(&[0; 64]).await.unwrap();
        let since = activity.idle_since();
        assert!(since.is_some(), "all is written");
        // hyper drops the body of an answer when it has taken it, and then writes.
        drop(activity.begin());
        let writing = tokio::spawn(async move {
            stream.write_all(&[0; 1000]).await.unwrap();
            stream.flush().await.unwrap();
            stream
        });
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(activity.idle_since(), None, "1000 bytes are unread");
        client.read_exact(&mut [0; 500]).await.unwrap();
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(activity.idle_since(), None, "a part is unread");
        client.read_exact(&mut [0; 564]).await.unwrap();
        let _stream = writing.await.unwrap();
        assert!(activity.idle_since() >= since.map(|since| since + Duration::from_secs(10)), "idle from now on");
    }
}
