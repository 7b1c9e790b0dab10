//! A stream of bytes to a server, in plain text or TLS. Called by the sources that speak their protocol themselves; TLS is made by
//! `tls.rs`, and what is said on the stream is theirs.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

/// What can be read and written.
pub(super) trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytes for T {}

/// Connects to `host:port`, with TLS if that is wanted.
pub(super) async fn dial(
    host: &str,
    tls: Option<&TlsConnector>,
) -> Result<Box<dyn Bytes>, io::Error> {
    let stream = TcpStream::connect(host).await?;
    stream.set_nodelay(true)?;
    let Some(tls) = tls else { return Ok(Box::new(stream)) };
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let name = name.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(name).map_err(io::Error::other)?;
    Ok(Box::new(tls.connect(name, stream).await?))
}
