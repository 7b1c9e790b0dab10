//! A door: where others come in by HTTP. Nobody who knocks can fill the memory or hold the process up: there are so many connections and no more, each
//! with a header that is small and ends in time. Nobody can shut it either: the kubelet asks here whether the process lives, so the next one to come is
//! let in, and who was there longest goes. Called by the daemon for each of its routers.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::Error;

/// What Linux says of a socket of a family that its kernel lacks (`EAFNOSUPPORT`).
const NO_SUCH_FAMILY: i32 = 97;
/// Connections at once; one more takes the place of the oldest. A page that watches loses its stream so, and asks for it again.
const CONNECTIONS: usize = 512;
/// What is read of a header at most: the rest is answered 431.
const HEADER: usize = 32 << 10;
/// A header ends within this time. It begins with the connection or the answer before, so it is longer than proxies keep one that rests (60 s).
const PATIENCE: Duration = Duration::from_secs(75);

/// A place to be asked at. Bound before anything starts, so that a taken port is told at once.
///
/// # Errors
/// The address cannot be listened on.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    let bound = TcpListener::bind(address).await;
    let bound = match bound {
        // Every address is meant, and a kernel without IPv6 has those of IPv4 alone.
        Err(error) if is_every_six(address) && lacks_six(&error) => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        bound => bound,
    };
    bound.map_err(|source| Error::Listen { address, source })
}

fn is_every_six(address: SocketAddr) -> bool {
    address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED)
}

/// Does the kernel know no IPv6, or have no address of it?
fn lacks_six(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(NO_SUCH_FAMILY)
}

/// Answers at `listener` until `stop`; then what was asked before is answered still.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    serve_at_most(CONNECTIONS, listener, router, stop).await;
}

async fn serve_at_most(
    most: usize,
    mut listener: TcpListener,
    router: Router,
    stop: CancellationToken,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_buf_size(HEADER);
    let mut open = JoinSet::new();
    // In the order in which they came.
    let mut places: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = open.join_next() => continue,
            // Failures to accept are waited out inside.
            (accepted, _) = Listener::accept(&mut listener) => accepted,
        };
        places.retain(|place| !place.is_finished());
        if most <= places.len()
            && let Some(oldest) = places.pop_front()
        {
            oldest.abort();
        }
        let router = TowerToHyperService::new(router.clone());
        let mut served = Box::pin(http.serve_connection(TokioIo::new(accepted), router));
        let stop = stop.clone();
        let place = open.spawn(async move {
            // How a connection ends is the affair of who made it.
            drop(tokio::select! {
                end = &mut served => end,
                () = stop.cancelled() => {
                    served.as_mut().graceful_shutdown();
                    served.await
                }
            });
        });
        places.push_back(place);
    }
    drop(listener);
    while open.join_next().await.is_some() {}
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn beyond_so_many_connections_the_next_takes_the_place_of_the_oldest() {
        let listener = listen(([127, 0, 0, 1], 0).into()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", get(async || "here"));
        let mut tasks = JoinSet::new();
        tasks.spawn(serve_at_most(2, listener, router, CancellationToken::new()));
        let mut silent = TcpStream::connect(address).await.unwrap();
        let ask = async |stream: &mut TcpStream| {
            stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
            let mut said = [0; 12];
            stream.read_exact(&mut said).await.unwrap();
            assert_eq!(&said, b"HTTP/1.1 200");
        };
        let mut second = TcpStream::connect(address).await.unwrap();
        ask(&mut second).await;
        let mut third = TcpStream::connect(address).await.unwrap();
        ask(&mut third).await;
        let end = timeout(Duration::from_secs(10), silent.read(&mut [0; 1])).await;
        assert!(matches!(end, Ok(Ok(0) | Err(_))), "the first is there still: {end:?}");
    }

    #[test]
    fn every_address_is_that_of_ipv4_where_there_is_no_other() {
        let lacks = io::Error::from_raw_os_error(NO_SUCH_FAMILY);
        assert!(lacks_six(&lacks) && is_every_six("[::]:8080".parse().unwrap()));
        let taken = io::Error::from(io::ErrorKind::AddrInUse);
        assert!(!lacks_six(&taken) && !is_every_six("[::1]:8080".parse().unwrap()));
    }
}
