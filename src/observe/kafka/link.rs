//! One connection to one broker: connect, agree on TLS and versions, log in, then exchange requests for answers in order.
//! Opened and owned by `cluster.rs`, which gives up a link whose exchange was not finished.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;

use super::Mechanism;
use super::login::{Login, Sasl};
use super::protocol::{self, Api, Call, code, is_flexible};
use super::scram::Scram;
use super::wire::Malformed;

/// No answer of ours is larger; a longer claim is a lie or another protocol.
const LARGEST_ANSWER: usize = 64 << 20;
/// Set aside for an answer before its bytes have come.
const FIRST_PIECE: usize = 64 << 10;
/// One of several addresses of a host gets this long to answer before the next is tried.
const ADDRESS_TURN: Duration = Duration::from_millis(900);
/// Words of a server that we repeat.
const LONGEST_WORDS: usize = 256;

/// What we say of a connection that ended.
const CLOSED: &str = "it closed the connection";

/// What can go wrong on a link. `cluster.rs` adds where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// No connection, or it broke.
    Broken(String),
    /// The login was refused.
    Refused(String),
    /// TLS failed.
    Tls(String),
    /// It speaks something else than we do.
    Foreign(String),
    /// It is of another cluster.
    Elsewhere {
        /// Id of the cluster that we knew.
        was: String,
        /// Id of the one that answers.
        is: String,
    },
    /// Time ran out.
    Late,
}

impl From<Malformed> for Fault {
    fn from(_: Malformed) -> Self {
        Self::Foreign("its answer is malformed".into())
    }
}

/// A connection that is logged in.
#[derive(Debug)]
pub(super) struct Link {
    stream: Stream,
    versions: Vec<[i16; 3]>,
    next: i32,
    /// When the login runs out; the broker hangs up soon after.
    expires: Option<Instant>,
    /// Has it answered anything that only a client with rights may ask?
    is_proven: bool,
    has_login: bool,
}

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Looks a host up. Kept apart from [`Link::open`] since the system's resolver cannot be hurried: the caller keeps one look-up going
/// instead of starting another at each try.
pub(super) async fn resolve(host: String, port: u16) -> Result<Vec<SocketAddr>, Fault> {
    let found = tokio::net::lookup_host((host.as_str(), port)).await;
    let found: Vec<_> = found
        .map_err(|error| Fault::Broken(format!("{host} does not resolve: {error}")))?
        .collect();
    if found.is_empty() { Err(Fault::Broken(format!("{host} has no address"))) } else { Ok(found) }
}

impl Link {
    /// Connects and logs in. The caller sets the deadline.
    pub(super) async fn open(
        host: &str,
        addresses: &[SocketAddr],
        login: &Login,
    ) -> Result<Self, Fault> {
        let tcp = connect(addresses).await?;
        let stream = match &login.tls {
            None => Stream::Plain(tcp),
            Some(connector) => {
                let name = ServerName::try_from(host.to_owned()).map_err(|_| {
                    Fault::Tls(format!("{host} is no name that a certificate can have"))
                })?;
                let agreed = connector.connect(name, tcp).await;
                Stream::Tls(Box::new(agreed.map_err(|error| Fault::Tls(error.to_string()))?))
            }
        };
        let mut link = Self {
            stream,
            versions: Vec::new(),
            next: 0,
            expires: None,
            is_proven: false,
            has_login: login.sasl.is_some(),
        };
        let said = link.ask(protocol::api_versions()).await?;
        let (error, versions) = protocol::api_versions_said(&said)?;
        if error != code::NONE {
            return Err(Fault::Foreign(format!(
                "it does not tell its versions: {}",
                protocol::code_text(error)
            )));
        }
        link.versions = versions;
        if let Some(sasl) = &login.sasl {
            link.log_in(sasl).await?;
        }
        Ok(link)
    }

    /// Will the login hold for a while?
    pub(super) fn is_good(&self, now: Instant) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }

    /// The best version of a request that both sides speak.
    pub(super) fn version(&self, api: Api) -> Result<i16, Fault> {
        let offered = self.versions.iter().find(|[key, _, _]| *key == api as i16);
        let version = offered.and_then(|[_, low, high]| {
            protocol::spoken(api).iter().copied().find(|version| (low..=high).contains(&version))
        });
        version.ok_or_else(|| {
            Fault::Foreign(format!(
                "it has no version of {api:?} that we speak; Kafka 0.11 or newer is needed"
            ))
        })
    }

    /// Sends all requests and waits for all answers, in the same order. After an error, or when dropped half way, the link is of
    /// no more use.
    pub(super) async fn exchange(&mut self, calls: &[Call]) -> Result<Vec<Vec<u8>>, Fault> {
        let outcome = self.pass(calls).await;
        if outcome.is_ok() {
            self.is_proven = true;
        } else if outcome == Err(Fault::Broken(CLOSED.into())) && !self.is_proven && !self.has_login
        {
            return Err(Fault::Broken(format!(
                "{CLOSED} at the first question; perhaps the listener wants a login"
            )));
        }
        outcome
    }

    async fn pass(&mut self, calls: &[Call]) -> Result<Vec<Vec<u8>>, Fault> {
        let first = self.next;
        let mut out = Vec::new();
        for call in calls {
            frame(&mut out, self.next, call);
            self.next = self.next.wrapping_add(1);
        }
        let (mut reader, mut writer) = tokio::io::split(&mut self.stream);
        let write = async {
            writer.write_all(&out).await.map_err(|error| broken(&error))?;
            writer.flush().await.map_err(|error| broken(&error))
        };
        let read = async {
            let mut answers = Vec::with_capacity(calls.len());
            for (call, expected) in calls.iter().zip(0_i32..) {
                answers.push(receive(&mut reader, call, first.wrapping_add(expected)).await?);
            }
            Ok(answers)
        };
        // Both at once: a broker that cannot get rid of its answers stops reading requests.
        let ((), answers) = tokio::try_join!(write, read)?;
        Ok(answers)
    }

    async fn ask(&mut self, call: Call) -> Result<Vec<u8>, Fault> {
        let mut answers = self.pass(&[call]).await?;
        answers.pop().ok_or_else(|| Fault::from(Malformed))
    }

    async fn log_in(&mut self, sasl: &Sasl) -> Result<(), Fault> {
        let name = match &sasl.mechanism {
            Mechanism::Plain => "PLAIN",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::ScramSha512 => "SCRAM-SHA-512",
            Mechanism::OauthBearer { .. } => "OAUTHBEARER",
        };
        let said = self.ask(protocol::sasl_handshake(name)).await?;
        let (error, offered) = protocol::sasl_handshake_said(&said)?;
        if error == code::UNSUPPORTED_MECHANISM {
            let offered = words(&offered.join(", "));
            return Err(Fault::Refused(format!(
                "the listener does not offer {name} but {offered}"
            )));
        }
        if error != code::NONE {
            return Err(Fault::Refused(protocol::code_text(error)));
        }
        if matches!(sasl.mechanism, Mechanism::OauthBearer { .. }) {
            return self.show_token(&sasl.password).await;
        }
        let mut nonce = [0; 18];
        SystemRandom::new().fill(&mut nonce).map_err(|_| Fault::Broken("no randomness".into()))?;
        let nonce = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, nonce);
        match Scram::new(&sasl.mechanism, &sasl.username, &sasl.password, nonce) {
            None => {
                let token = [b"\0", sasl.username.as_bytes(), b"\0", &sasl.password].concat();
                self.authenticate(&token).await.map(drop)
            }
            Some(mut scram) => {
                let server_first = self.authenticate(scram.first().as_bytes()).await?;
                let second = scram
                    .second(&server_first)
                    .map_err(|why| Fault::Refused(format!("SCRAM: {why}")))?;
                let server_final = self.authenticate(second.as_bytes()).await?;
                if scram.is_proven_by(&server_final) {
                    Ok(())
                } else {
                    Err(Fault::Refused(
                        "SCRAM: the server does not know the password itself".into(),
                    ))
                }
            }
        }
    }

    /// RFC 7628: one message, answered with nothing when it is good. Else the server says why, and refuses once it has been told that
    /// this was heard.
    async fn show_token(&mut self, token: &[u8]) -> Result<(), Fault> {
        let message = [b"n,,\x01auth=Bearer ", token, b"\x01\x01"].concat();
        let why = self.authenticate(&message).await?;
        if why.is_empty() {
            return Ok(());
        }
        let why = words(&String::from_utf8_lossy(&why));
        match self.authenticate(b"\x01").await {
            Ok(_) | Err(Fault::Refused(_)) => {
                Err(Fault::Refused(format!("the token is not taken: {why}")))
            }
            Err(fault) => Err(fault),
        }
    }

    async fn authenticate(&mut self, token: &[u8]) -> Result<Vec<u8>, Fault> {
        let version = self.version(Api::SaslAuthenticate)?;
        let bytes = self.ask(protocol::sasl_authenticate(version, token)).await?;
        let said = protocol::sasl_authenticate_said(version, &bytes)?;
        if said.error != code::NONE {
            let why = said.message.map_or_else(|| protocol::code_text(said.error), words);
            return Err(Fault::Refused(why));
        }
        if let Ok(lifetime @ 1..) = u64::try_from(said.lifetime_ms) {
            // Well before the broker hangs up.
            self.expires = Some(Instant::now() + Duration::from_millis(lifetime).mul_f32(0.8));
        }
        Ok(said.token.to_vec())
    }
}

/// What a server said, cut to a length that fits a message.
fn words(said: &str) -> String {
    said.chars().filter(|char| !char.is_control()).take(LONGEST_WORDS).collect()
}

fn broken(error: &io::Error) -> Fault {
    let is_tls = error
        .get_ref()
        .is_some_and(<dyn std::error::Error + Send + Sync>::is::<tokio_rustls::rustls::Error>);
    if is_tls {
        Fault::Tls(error.to_string())
    } else if error.kind() == io::ErrorKind::UnexpectedEof {
        Fault::Broken(CLOSED.into())
    } else {
        Fault::Broken(error.to_string())
    }
}

async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, Fault> {
    let mut last = Fault::Broken("no address".into());
    for (index, address) in addresses.iter().enumerate() {
        let attempt = TcpStream::connect(address);
        let outcome = if index + 1 < addresses.len() {
            tokio::time::timeout(ADDRESS_TURN, attempt).await
        } else {
            Ok(attempt.await)
        };
        match outcome {
            Ok(Ok(stream)) => {
                // Requests go out in one piece; there is nothing to gain by waiting for more.
                stream.set_nodelay(true).ok();
                return Ok(stream);
            }
            Ok(Err(error)) => last = Fault::Broken(format!("{address}: {error}")),
            Err(_) => last = Fault::Broken(format!("{address} does not answer")),
        }
    }
    Err(last)
}

/// Length, header, body.
fn frame(out: &mut Vec<u8>, correlation: i32, call: &Call) {
    const CLIENT: &[u8] = b"penstock";
    let mut header = Vec::with_capacity(24);
    header.extend((call.api as i16).to_be_bytes());
    header.extend(call.version.to_be_bytes());
    header.extend(correlation.to_be_bytes());
    header.extend([0, u8::try_from(CLIENT.len()).unwrap_or(0)]);
    header.extend(CLIENT);
    if is_flexible(call.api, call.version) {
        header.push(0);
    }
    let length = header.len() + call.body.len();
    out.extend(i32::try_from(length).unwrap_or(0).to_be_bytes());
    out.extend(header);
    out.extend(&call.body);
}

/// The body of the next answer, which must be to this request.
async fn receive(
    from: &mut (impl AsyncRead + Unpin),
    call: &Call,
    correlation: i32,
) -> Result<Vec<u8>, Fault> {
    let mut head = [0; 4];
    from.read_exact(&mut head).await.map_err(|error| broken(&error))?;
    if let [0x15, 0x03, ..] = head {
        return Err(Fault::Tls("the listener speaks TLS and we do not: set tls".into()));
    }
    let length = usize::try_from(i32::from_be_bytes(head)).unwrap_or(usize::MAX);
    if !(4..=LARGEST_ANSWER).contains(&length) {
        return Err(Fault::Foreign("it does not speak Kafka".into()));
    }
    let mut bytes = Vec::with_capacity(length.min(FIRST_PIECE));
    let limit = u64::try_from(length).unwrap_or(0);
    let got = from.take(limit).read_to_end(&mut bytes).await.map_err(|error| broken(&error))?;
    if got < length {
        return Err(broken(&io::ErrorKind::UnexpectedEof.into()));
    }
    let header = if is_flexible(call.api, call.version) { 5 } else { 4 };
    let (head, _) = bytes.split_first_chunk::<4>().ok_or(Malformed)?;
    if i32::from_be_bytes(*head) != correlation || bytes.len() < header {
        return Err(Fault::Foreign("its answers are out of order".into()));
    }
    if header == 5 && bytes.get(4) != Some(&0) {
        return Err(Fault::Foreign("it tags its answers".into()));
    }
    bytes.drain(..header);
    Ok(bytes)
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
