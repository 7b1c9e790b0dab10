//! One plain HTTP question, for servers without TLS: is it ready, what are its metrics. Called by the servers of the rig.

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The status code and the body that a GET of `path` on a port of this machine brings.
pub(crate) async fn get(port: u16, path: &str) -> Result<(u16, String)> {
    ask(port, &format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")).await
}

/// The same for who shows a token.
pub(crate) async fn get_as(port: u16, path: &str, token: &str) -> Result<(u16, String)> {
    let shown = format!("Authorization: Bearer {token}");
    ask(port, &format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n{shown}\r\n\r\n")).await
}

/// The same for a POST with these headers.
pub(crate) async fn post(
    port: u16,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Result<(u16, String)> {
    let headers: Vec<String> =
        headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let headers = headers.concat();
    let length = body.len();
    ask(
        port,
        &format!(
            "POST {path} HTTP/1.0\r\nHost: localhost\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
        ),
    )
    .await
}

async fn ask(port: u16, question: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))
        .await
        .with_context(|| format!("connect to port {port}"))?;
    // HTTP/1.0: the answer ends with the connection, and is never in chunks.
    stream.write_all(question.as_bytes()).await?;
    let mut answer = Vec::new();
    stream
        .read_to_end(&mut answer)
        .await
        .with_context(|| format!("read what port {port} answers"))?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .with_context(|| format!("port {port} gave no HTTP answer"))?;
    let code = head.split_whitespace().nth(1).and_then(|code| code.parse().ok());
    Ok((
        code.with_context(|| format!("port {port} answered without a status code"))?,
        body.to_owned(),
    ))
}
