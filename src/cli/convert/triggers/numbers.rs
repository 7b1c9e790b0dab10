//! Triggers whose value is a number that somebody reckons: `prometheus`, `metrics-api`, `postgresql`, `mysql`, `external`.

use std::collections::BTreeMap;

use super::super::address::{Database, Url, json_path};
use super::super::given::{Given, Param};
use super::super::report::Grade;
use super::desk::{Desk, Left, UNCHECKED};
use super::kafka::words;
use crate::crd::connection;
use crate::crd::login::{Endpoint, HttpLogin, OAuth2, Server, Tls};
use crate::crd::source::{External, Http, Kinds, OnEmpty, Prometheus, Sql};

const PATIENCE: Left = ("timeout", "", Grade::Changes, "is left out: an answer may take 2 s");

pub(super) const PROMETHEUS: &[Left] = &[
    UNCHECKED,
    PATIENCE,
    ("metricName", "", Grade::Same, "has no use: a source goes by its name"),
    ("identityOwner", "", Grade::NotSupported, "is left out: requests are not signed for AWS"),
    ("awsRegion", "", Grade::NotSupported, "is left out: requests are not signed for AWS"),
    (
        "queryParameters",
        "",
        Grade::NotSupported,
        "is left out: the query alone is sent; ask an address that adds them",
    ),
    (
        "namespace",
        "",
        Grade::NotSupported,
        "is left out: the query alone is sent; say the namespace in the query, as a label",
    ),
];

pub(super) fn prometheus(desk: &mut Desk<'_>) -> Option<Kinds> {
    let query = desk.needed("query");
    let per_replica = desk.sizing("threshold", None, false)?;
    let query = query?;
    let is_strict = desk.word("ignoreNullValues").is_some_and(|word| word == "false");
    let address = desk.part_needed("serverAddress");
    let (login, host) = http_login(desk, "serverAddress", address.trim_end_matches('/'));
    let kind = connection::Kinds { prometheus: Some(login), ..Default::default() };
    let source = Prometheus {
        connection_ref: desk.connect(&host, kind),
        query,
        on_empty: Some(if is_strict { OnEmpty::Error } else { OnEmpty::Zero }),
        per_replica,
    };
    Some(Kinds { prometheus: Some(source), ..Kinds::default() })
}

pub(super) const METRICS_API: &[Left] =
    &[UNCHECKED, PATIENCE, ("aggregationType", "", Grade::Same, "has no use with one address")];

pub(super) fn metrics_api(desk: &mut Desk<'_>) -> Option<Kinds> {
    let format = desk.word("format");
    if let Some(format) = format.filter(|format| format != "json") {
        let path = desk.path("format");
        desk.notes.not_supported(path, format!("is {format}: a document is read as JSON only"));
        return None;
    }
    if desk.flag("aggregateFromKubeServiceEndpoints") {
        let path = desk.path("aggregateFromKubeServiceEndpoints");
        desk.notes.not_supported(path, "one address is asked, and not every pod behind it");
        return None;
    }
    let location = desk.needed("valueLocation");
    let per_replica = desk.sizing("targetValue", None, false)?;
    let location = location?;
    let Some(json_path) = json_path(&location) else {
        let path = desk.path("valueLocation");
        desk.notes.not_supported(path, format!("{location} does more than lead to a number, and has no counterpart in RFC 9535 that is known here"));
        return None;
    };
    let written = desk.part_needed("url");
    let (mut login, host) = (HttpLogin::default(), Url::of(&written));
    let mut path = None;
    if let Some(url) = &host {
        let query = url.query.as_ref().map_or_else(String::new, |query| format!("?{query}"));
        path = Some(format!("{}{query}", url.path)).filter(|path| !path.is_empty() && path != "/");
        login.url = url.root();
    }
    let root = written.split('?').next().unwrap_or_default().to_owned();
    let (read, host) = http_login(desk, "url", &root);
    let url = if login.url.is_empty() { read.url.clone() } else { login.url };
    let kind = connection::Kinds { http: Some(HttpLogin { url, ..read }), ..Default::default() };
    let connection_ref = desk.connect(&host, kind);
    let source = Http { connection_ref, path, json_path, per_replica };
    Some(Kinds { http: Some(source), ..Kinds::default() })
}

/// How to log in over HTTP, and the host.
fn http_login(desk: &mut Desk<'_>, key: &str, address: &str) -> (HttpLogin, String) {
    let url = Url::of(address).unwrap_or_default();
    let is_http = ["http", "https"].contains(&url.scheme.as_str());
    if desk.lacks.is_empty() && (!is_http || url.query.is_some()) {
        desk.lack(key, "is no URL of http or https without a query");
    }
    let mut login =
        HttpLogin { url: format!("{}{}", url.root(), url.path), ..HttpLogin::default() };
    if let Some(user) = &url.user {
        login.username_secret_ref = Some(desk.in_clear("username", user));
        let password = url.password.clone().unwrap_or_default();
        login.password_secret_ref = Some(desk.in_clear("password", password));
    }
    let mode = if desk.has("authModes") { "authModes" } else { "authMode" };
    for way in words(&desk.part(mode).unwrap_or_default()) {
        log_in(desk, (mode, &way), &mut login);
    }
    if desk.has("ca") {
        login.tls.get_or_insert_default().ca_secret_ref = desk.secret("ca");
    }
    for pair in words(&desk.part("customHeaders").unwrap_or_default()) {
        match pair.split_once('=') {
            Some((name, value)) => drop(login.headers.insert(name.to_owned(), value.to_owned())),
            None => desk.lack("customHeaders", format!("{pair} is no name=value")),
        }
    }
    (login, url.host)
}

/// One of the ways to log in.
fn log_in(desk: &mut Desk<'_>, (mode, way): (&str, &str), login: &mut HttpLogin) {
    match way {
        "none" => {}
        "basic" => {
            login.username_secret_ref = desk.secret("username");
            login.password_secret_ref = desk.secret("password");
            if login.username_secret_ref.is_none() || login.password_secret_ref.is_none() {
                desk.lack(mode, "is basic without a name or without a password");
            }
        }
        "bearer" => {
            let key = if desk.has("bearerToken") { "bearerToken" } else { "token" };
            login.token_secret_ref = desk.secret(key);
            if login.token_secret_ref.is_none() {
                desk.lack(mode, "is bearer without a token");
            }
        }
        "tls" => {
            let tls = login.tls.get_or_insert_with(Tls::default);
            tls.cert_secret_ref = desk.secret("cert");
            tls.key_secret_ref = desk.secret("key");
        }
        "oauth" => {
            let token_url = desk.part_needed("oauthTokenURI");
            let id = desk.secret("clientID");
            let secret = desk.secret("clientSecret");
            let key = if desk.has("scopes") { "scopes" } else { "scope" };
            let scopes = words(&desk.part(key).unwrap_or_default());
            match (id, secret) {
                (Some(client_id_secret_ref), Some(client_secret_secret_ref)) => {
                    login.oauth2 = Some(OAuth2 {
                        token_url,
                        client_id_secret_ref,
                        client_secret_secret_ref,
                        scopes,
                    });
                }
                _ => desk.lack(mode, "is oauth without clientID or clientSecret"),
            }
        }
        other => {
            for key in ["apiKey", "method", "keyParamName", "customAuthHeader", "customAuthValue"] {
                if desk.has(key) {
                    desk.used.insert(key.to_owned());
                }
            }
            desk.lack(
                mode,
                format!("is {other}: Penstock logs in by name and password, token, OAuth 2.0 or certificate only"),
            );
        }
    }
}

pub(super) const SQL: &[Left] =
    &[("metricName", "", Grade::Same, "has no use: a source goes by its name")];

pub(super) fn postgres(desk: &mut Desk<'_>) -> Option<Kinds> {
    let (source, login) = sql(desk, &POSTGRES)?;
    let kind = connection::Kinds { postgres: Some(login.clone()), ..Default::default() };
    let connection_ref = desk.connect(&login.host, kind);
    Some(Kinds { postgres: Some(Sql { connection_ref, ..source }), ..Kinds::default() })
}

pub(super) fn mysql(desk: &mut Desk<'_>) -> Option<Kinds> {
    let (source, login) = sql(desk, &MYSQL)?;
    let kind = connection::Kinds { mysql: Some(login.clone()), ..Default::default() };
    let connection_ref = desk.connect(&login.host, kind);
    Some(Kinds { mysql: Some(Sql { connection_ref, ..source }), ..Kinds::default() })
}

/// What a database's scaler calls its parameters.
struct Words {
    connection: &'static str,
    user: &'static str,
    tls: &'static str,
    threshold: &'static str,
    read: fn(&str) -> Option<Database>,
    port: u32,
}

const POSTGRES: Words = Words {
    connection: "connection",
    user: "userName",
    tls: "sslmode",
    threshold: "targetQueryValue",
    read: Database::of_postgres,
    port: 5432,
};
const MYSQL: Words = Words {
    connection: "connectionString",
    user: "username",
    tls: "tls",
    threshold: "queryValue",
    read: Database::of_mysql,
    port: 3306,
};

/// The query, and where it is asked.
fn sql(desk: &mut Desk<'_>, words: &Words) -> Option<(Sql, Server)> {
    let query = desk.needed("query");
    let per_replica = desk.sizing(words.threshold, None, false)?;
    let query = query?;
    let database = database(desk, words);
    let port = database.port.as_deref().map(|port| port.parse::<u32>().unwrap_or(0));
    if port == Some(0) {
        desk.lack("port", "is no port");
    }
    let mut login = Server {
        host: database.host,
        port: port.filter(|port| *port != words.port),
        database: database.name,
        tls: tls(desk, words, database.tls.as_deref()),
        ..Server::default()
    };
    login.username_secret_ref = match database.user {
        Some(user) => Some(desk.in_clear("username", user)),
        None => desk.secret(words.user),
    };
    login.password_secret_ref = match database.password {
        Some(password) => Some(desk.in_clear("password", password)),
        None => desk.secret("password"),
    };
    if login.username_secret_ref.is_none() {
        desk.lack(words.user, "is not set, and a database asks who it is");
    }
    Some((Sql { query, per_replica, ..Sql::default() }, login))
}

/// Where a database is: as its connection string says, or each part by itself.
fn database(desk: &mut Desk<'_>, words: &Words) -> Database {
    if desk.has(words.connection) {
        let text = desk.part_needed(words.connection);
        let read = (words.read)(&text);
        if read.is_none() && desk.lacks.is_empty() {
            desk.lack(words.connection, "is no connection string that is understood here");
        }
        return read.unwrap_or_default();
    }
    Database {
        host: desk.part_needed("host"),
        port: desk.part("port"),
        name: desk.part_needed("dbName"),
        tls: desk.part(words.tls),
        ..Database::default()
    }
}

/// TLS as the driver's word for it asks.
fn tls(desk: &mut Desk<'_>, words: &Words, word: Option<&str>) -> Option<Tls> {
    let key = if desk.has(words.connection) { words.connection } else { words.tls };
    let path = desk.path(key);
    match word? {
        "disable" | "false" => None,
        "allow" | "prefer" | "preferred" => {
            desk.notes.changes(path, "takes TLS where it can be had; here it is plain text until the Connection says tls");
            None
        }
        "require" | "skip-verify" => {
            desk.notes.changes(path, "takes any certificate; here it is checked against the system's roots, or tls.caSecretRef of the Connection");
            Some(Tls::default())
        }
        _ => Some(Tls::default()),
    }
}

pub(super) const EXTERNAL: &[Left] = &[UNCHECKED];

pub(super) fn external(desk: &mut Desk<'_>) -> Option<Kinds> {
    let per_replica = if desk.metric_type.as_deref() == Some("Value") {
        desk.sizing("threshold", None, false)?
    } else {
        None
    };
    let url = desk.part_needed("scalerAddress");
    let is_tls = desk.flag("enableTLS");
    let tls = desk.tls(["caCert", "tlsClientCert", "tlsClientKey"], is_tls);
    let mut metadata = BTreeMap::new();
    let written: Vec<String> = desk.params.keys().cloned().collect();
    for key in written {
        // As KEDA does: all of the trigger's own metadata, and nothing of its authentication.
        let is_own = desk.path(&key).starts_with(&desk.at);
        if !is_own || ["scalerAddress", "enableTLS", "unsafeSsl"].contains(&key.as_str()) {
            continue;
        }
        let from_env = desk.path(&key).ends_with("FromEnv");
        if matches!(desk.params.get(&key), Some(Param { given: Given::Secret(..), .. })) {
            let path = desk.path(&key);
            desk.used.insert(key);
            desk.notes.not_supported(path, "comes from a Secret, and metadata is no place for one");
            continue;
        }
        if let Some(text) = desk.word(&key) {
            metadata.insert(if from_env { format!("{key}FromEnv") } else { key }, text);
        }
    }
    let endpoint = Endpoint { url: url.clone(), tls, ..Endpoint::default() };
    let kind = connection::Kinds { external: Some(endpoint), ..Default::default() };
    let connection_ref = desk.connect(&url, kind);
    let path = desk.path("scalerAddress");
    desk.notes.changes(
        path,
        "asks in the name of the ScaledObject; here the scaler hears PIPELINE-STAGE as its name",
    );
    let source = External { connection_ref, metadata, metric: None, per_replica };
    Some(Kinds { external: Some(source), ..Kinds::default() })
}
