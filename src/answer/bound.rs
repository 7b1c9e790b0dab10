//! So many connections and no more: whoever comes beyond waits in the kernel until one ends, and who says nothing at all is cut off. For a
//! server that takes connections from a stream; `door` counts its own.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::{Stream, StreamExt, stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Duration, Sleep, sleep};
use tonic::transport::server::Connected;

/// The first byte must have come within this.
const FIRST_BYTE: Duration = Duration::from_secs(10);

/// A connection, and its place among those that there may be.
#[derive(Debug)]
pub(super) struct Placed<T> {
    connection: T,
    /// Until the first byte: by when it must have come. Whoever says nothing would keep his place for ever.
    silence: Option<Pin<Box<Sleep>>>,
    _place: OwnedSemaphorePermit,
}

/// Takes the next connection once there is a place for it.
pub(super) fn bounded<T>(
    incoming: impl Stream<Item = io::Result<T>> + Send + 'static,
    most: usize,
) -> Pin<Box<dyn Stream<Item = io::Result<Placed<T>>> + Send>>
where
    T: Send + 'static,
{
    let state = (Box::pin(incoming), Arc::new(Semaphore::new(most)));
    Box::pin(stream::unfold(state, |(mut incoming, places)| async move {
        let place = Arc::clone(&places).acquire_owned().await.ok()?;
        let placed = incoming.next().await?.map(|connection| {
            let silence = Some(Box::pin(sleep(FIRST_BYTE)));
            Placed { connection, silence, _place: place }
        });
        Some((placed, (incoming, places)))
    }))
}

impl<T: Connected> Connected for Placed<T> {
    type ConnectInfo = T::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.connection.connect_info()
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Placed<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.connection).poll_read(context, buffer);
        if read.is_ready() {
            self.silence = None;
        } else if let Some(silence) = &mut self.silence
            && silence.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Placed<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn beyond_so_many_connections_the_next_waits_until_one_ends() {
        let all = stream::iter((0..3).map(|_| io::Result::Ok(tokio::io::empty())));
        let mut bounded = bounded(all, 2);
        let mut next = async || timeout(Duration::from_secs(10), bounded.next()).await;
        let first = next().await.unwrap().unwrap().unwrap();
        let _second = next().await.unwrap().unwrap().unwrap();
        assert!(next().await.is_err(), "a third was taken");
        drop(first);
        assert!(next().await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_loses_his_place_and_who_said_something_keeps_it() {
        let (mut speaker, near) = duplex(64);
        let (_silent, far) = duplex(64);
        let mut bounded = bounded(stream::iter([near, far].map(io::Result::Ok)), 2);
        let mut spoken = bounded.next().await.unwrap().unwrap();
        let mut unspoken = bounded.next().await.unwrap().unwrap();
        speaker.write_all(b"P").await.unwrap();
        spoken.read_u8().await.unwrap();
        let minute = Duration::from_mins(1);
        let read = timeout(FIRST_BYTE + Duration::from_secs(1), unspoken.read_u8()).await;
        assert_eq!(read.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(timeout(minute, spoken.read_u8()).await.is_err(), "he may be silent now");
    }
}
