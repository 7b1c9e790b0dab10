//! The connection: to one server, to the master that sentinels know, or to a cluster. Opened by the source, given up when it breaks; what
//! is asked on it and what that means is left to others.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind,
    IntoConnectionInfo, RedisConnectionInfo, RedisError, ServerErrorKind, TlsCertificates, TlsMode,
    Value,
};
use tokio::time::Instant;

use super::{Address, Mode};
use crate::observe::figure::line;
use crate::observe::{Credentials, Error, fault, tls};

/// How long a connection, and one answer on it, may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where to knock and what to say.
pub(super) struct Door {
    at: Arc<str>,
    to: Address,
    /// As whom, to the servers and to the sentinels.
    server: Login,
    sentinel: Login,
    certificates: Option<TlsCertificates>,
}

/// Name and password, as far as there are any.
#[derive(Clone, Default)]
struct Login {
    name: Option<String>,
    password: Option<String>,
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").field("at", &self.at).finish_non_exhaustive()
    }
}

/// An open connection. Cheap to clone; all clones share it.
#[derive(Clone)]
pub(super) struct Line {
    at: Arc<str>,
    way: Way,
    is_by_sentinel: bool,
}

#[derive(Clone)]
enum Way {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").field("at", &self.at).finish_non_exhaustive()
    }
}

impl Door {
    pub(super) fn new(to: &Address, keys: &Credentials) -> Result<Self, Error> {
        let at: Arc<str> = to.to_string().into();
        let read = |usage: &'static str| {
            keys.bytes(usage).map(|_| fault::text(&at, keys, usage)).transpose()
        };
        let server = Login { name: read("username")?, password: read("password")? };
        let sentinel =
            Login { name: read("sentinel-username")?, password: read("sentinel-password")? };
        let certificates = if to.tls {
            // Looks at them with our own words before the library does with its.
            drop(tls::config(&at, keys)?);
            let bytes = |usage| keys.bytes(usage).map(<[u8]>::to_vec);
            let client_tls = bytes("cert")
                .zip(bytes("key"))
                .map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key });
            Some(TlsCertificates { client_tls, root_cert: bytes("ca") })
        } else {
            None
        };
        Ok(Self { at, to: to.clone(), server, sentinel, certificates })
    }

    /// Connects and logs in.
    pub(super) async fn open(&self, deadline: Instant) -> Result<Line, Error> {
        let way = tokio::time::timeout_at(deadline, self.connect()).await;
        let way =
            way.map_err(|_| late(&self.at))?.map_err(|error| meant(&self.at, &error, "it"))?;
        let is_by_sentinel = matches!(self.to.mode, Mode::Sentinel(_));
        Ok(Line { at: Arc::clone(&self.at), way, is_by_sentinel })
    }

    async fn connect(&self) -> Result<Way, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        match &self.to.mode {
            Mode::Alone => {
                let mut last = None;
                for address in &self.to.addresses {
                    let client = self.client(address)?;
                    match client.get_multiplexed_async_connection_with_config(&config).await {
                        Ok(connection) => return Ok(Way::One(connection)),
                        Err(error) => last = Some(error),
                    }
                }
                Err(last.unwrap_or_else(|| (ErrorKind::InvalidClientConfig, "no address").into()))
            }
            Mode::Sentinel(master) => {
                let client = self.sentinels(master)?.async_get_client().await?;
                let opened = client.get_multiplexed_async_connection_with_config(&config).await;
                opened.map(Way::One)
            }
            Mode::Cluster => {
                let nodes: Result<Vec<_>, _> =
                    self.to.addresses.iter().map(|it| self.info(it)).collect();
                let mut builder = ClusterClient::builder(nodes?)
                    .retries(1)
                    .connection_timeout(PATIENCE)
                    .response_timeout(PATIENCE);
                if let Some(certificates) = &self.certificates {
                    builder = builder.tls(TlsMode::Secure).certs(certificates.clone());
                }
                builder.build()?.get_async_connection().await.map(Way::Cluster)
            }
        }
    }

    fn client(&self, address: &str) -> Result<Client, RedisError> {
        let info = self.info(address)?;
        match &self.certificates {
            Some(certificates) => Client::build_with_tls(info, certificates.clone()),
            None => Client::open(info),
        }
    }

    fn info(&self, address: &str) -> Result<ConnectionInfo, RedisError> {
        let mut settings = RedisConnectionInfo::default().set_db(i64::from(self.to.database));
        if let Some(name) = &self.server.name {
            settings = settings.set_username(name);
        }
        if let Some(password) = &self.server.password {
            settings = settings.set_password(password);
        }
        Ok(self.place(address).into_connection_info()?.set_redis_settings(settings))
    }

    fn place(&self, address: &str) -> ConnectionAddr {
        let (host, port) = address.rsplit_once(':').unwrap_or((address, "6379"));
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = port.parse().unwrap_or(6379);
        if self.certificates.is_some() {
            ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
        } else {
            ConnectionAddr::Tcp(host, port)
        }
    }

    fn sentinels(&self, master: &str) -> Result<SentinelClient, RedisError> {
        let places = self.to.addresses.iter().map(|address| self.place(address));
        let mut builder = SentinelClientBuilder::new(places, master, SentinelServerType::Master)?
            .set_client_to_redis_db(i64::from(self.to.database));
        if let Some(name) = &self.server.name {
            builder = builder.set_client_to_redis_username(name);
        }
        if let Some(password) = &self.server.password {
            builder = builder.set_client_to_redis_password(password);
        }
        if let Some(name) = &self.sentinel.name {
            builder = builder.set_client_to_sentinel_username(name);
        }
        if let Some(password) = &self.sentinel.password {
            builder = builder.set_client_to_sentinel_password(password);
        }
        if let Some(certificates) = &self.certificates {
            builder = builder
                .set_client_to_redis_tls_mode(TlsMode::Secure)
                .set_client_to_redis_certificates(certificates.clone())
                .set_client_to_sentinel_tls_mode(TlsMode::Secure)
                .set_client_to_sentinel_certificates(certificates.clone());
        }
        builder.build()
    }
}

impl Line {
    /// Its name in errors.
    pub(super) fn at(&self) -> &Arc<str> {
        &self.at
    }

    /// Is this still the one to ask? A master that was deposed, and a replica that lost its master, answer with what was once true.
    pub(super) async fn check(&self, deadline: Instant) -> Result<(), Error> {
        if matches!(self.way, Way::Cluster(_)) {
            return Ok(());
        }
        let said = match self.ask(&redis::cmd("ROLE"), "its role", deadline).await {
            Ok(said) => said,
            Err(error) if error.is_of_connection() => return Err(error),
            // A login that may not ask this may read all the same.
            Err(_) => return Ok(()),
        };
        let Value::Array(parts) = &said else { return Ok(()) };
        let text = |at: usize| match parts.get(at) {
            Some(Value::BulkString(text)) => text.as_slice(),
            _ => &[],
        };
        let detail = match (text(0), text(3)) {
            (b"slave", _) if self.is_by_sentinel => "it is no master any more",
            (b"slave", state) if state != b"connected" => {
                "it is a replica that has lost its master"
            }
            _ => return Ok(()),
        };
        Err(Error::Unreachable { at: Arc::clone(&self.at), detail: detail.to_owned() })
    }

    /// One question; a refusal comes back as what it means.
    pub(super) async fn ask(
        &self,
        cmd: &Cmd,
        about: &str,
        deadline: Instant,
    ) -> Result<Value, Error> {
        let asked = async {
            match self.way.clone() {
                Way::One(mut one) => cmd.query_async::<Value>(&mut one).await,
                Way::Cluster(mut cluster) => cmd.query_async::<Value>(&mut cluster).await,
            }
        };
        match tokio::time::timeout_at(deadline, asked).await {
            Ok(Ok(said)) => Ok(said),
            Ok(Err(error)) => Err(meant(&self.at, &error, about)),
            Err(_) => Err(late(&self.at)),
        }
    }
}

fn late(at: &Arc<str>) -> Error {
    Error::Timeout { at: Arc::clone(at), detail: "waited for its answer".to_owned() }
}

/// What an error of the library means.
fn meant(at: &Arc<str>, error: &RedisError, about: &str) -> Error {
    let here = Arc::clone(at);
    let said = line(error.detail().unwrap_or_default());
    let code = error.code().unwrap_or_default();
    let failed = |detail: String| Error::SourceFailed {
        at: Arc::clone(at),
        about: about.to_owned(),
        detail: line(&detail),
    };
    match error.kind() {
        ErrorKind::AuthenticationFailed => Error::AuthenticationFailed { at: here, detail: said },
        ErrorKind::Server(ServerErrorKind::NoPerm) => {
            Error::AccessDenied { at: here, what: about.to_owned(), detail: said }
        }
        ErrorKind::Server(ServerErrorKind::ResponseError) if said.contains("no such key") => {
            Error::NotFound { at: here, what: about.to_owned() }
        }
        ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::Ask) => {
            failed(format!("{code}: it is a node of a cluster; hint: set cluster: true"))
        }
        ErrorKind::Server(_) => failed(format!("{code} {said}")),
        ErrorKind::Extension => match code {
            "WRONGPASS" | "NOAUTH" => Error::AuthenticationFailed { at: here, detail: said },
            "WRONGTYPE" => {
                Error::QueryRefused { at: here, detail: format!("{about}: WRONGTYPE {said}") }
            }
            code => failed(format!("{code} {said}")),
        },
        ErrorKind::Io if error.is_timeout() => late(at),
        ErrorKind::Io | ErrorKind::ClusterConnectionNotFound => fault::transport(at, error),
        ErrorKind::MasterNameNotFoundBySentinel
        | ErrorKind::NoValidReplicasFoundBySentinel
        | ErrorKind::EmptySentinelList => {
            let detail = "its sentinels know of no such master, or cannot be reached".to_owned();
            Error::Unreachable { at: here, detail }
        }
        // What cannot be understood comes from something else than Redis, or out of step: the connection is of no more use.
        _ => Error::Unreachable { at: here, detail: line(&error.to_string()) },
    }
}
