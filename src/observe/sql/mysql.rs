//! A connection to MySQL or MariaDB, and what its values mean. Owned by the source; what a query's answer counts as is left to it.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use mysql_async::consts::ColumnType;
use mysql_async::prelude::Queryable;
use mysql_async::{
    ClientIdentity, Conn, DriverError, Error as Fault, IoError, OptsBuilder, ServerError, SslOpts,
    Value,
};
use tokio_rustls::rustls::RootCertStore;

use super::{Cell, Door, KEEPALIVE, LIMIT, ROWS, Rows};
use crate::observe::figure::line;
use crate::observe::{Credentials, Error, fault};

/// No row that we want is larger.
const LARGEST: usize = 1 << 20;
/// The server closes what has carried nothing for so long: the slowest poll is ten minutes.
const IDLE: usize = 3600;

/// An open connection.
#[derive(Debug)]
pub(super) struct Line {
    conn: Conn,
    /// Has the library given it up?
    pub(super) is_broken: bool,
}

impl Line {
    pub(super) async fn open(door: &Door) -> Result<Self, Error> {
        let options = OptsBuilder::default()
            .ip_or_hostname(&*door.to.host)
            .tcp_port(door.to.port)
            .db_name(Some(&*door.to.database))
            .user(Some(&*door.username))
            .pass(door.password.as_deref())
            .ssl_opts(door.to.tls.then(|| secure(&door.keys)))
            // Else it would leave the connection for a socket file that the server names.
            .prefer_socket(false)
            .max_allowed_packet(Some(LARGEST))
            .wait_timeout(Some(IDLE))
            .tcp_keepalive(Some(KEEPALIVE));
        let meant = |error: Fault| meant(&door.at, &error);
        let mut conn = Conn::new(options).await.map_err(meant)?;
        let version: Option<String> = conn.query_first("SELECT VERSION()").await.map_err(meant)?;
        let is_mariadb = version.is_some_and(|version| version.contains("MariaDB"));
        let limit = if is_mariadb {
            format!("max_statement_time = {}", LIMIT.as_secs())
        } else {
            format!("max_execution_time = {}", LIMIT.as_millis())
        };
        let setup = format!("SET SESSION time_zone = '+00:00', SESSION {limit}");
        conn.query_drop(setup).await.map_err(meant)?;
        conn.query_drop("SET SESSION TRANSACTION READ ONLY").await.map_err(meant)?;
        Ok(Self { conn, is_broken: false })
    }

    /// Runs one query by itself. A prepared statement is a single one, so nothing can be appended to it.
    pub(super) async fn ask(&mut self, at: &Arc<str>, query: &str) -> Result<Rows, Error> {
        let meant = |error: Fault| meant(at, &error);
        self.conn.query_drop("START TRANSACTION READ ONLY").await.map_err(meant)?;
        let rows = self.rows(query).await.map_err(meant);
        if rows.as_ref().is_ok_and(|rows| ROWS <= rows.count) {
            // The rest is still under way: the connection is given up.
            return rows;
        }
        if let Err(error) = self.conn.query_drop("ROLLBACK").await {
            self.is_broken = true;
            return rows.and_then(|_| Err(meant(error)));
        }
        rows
    }

    async fn rows(&mut self, query: &str) -> Result<Rows, Fault> {
        let mut answer = self.conn.exec_iter(query, ()).await?;
        let kind = answer.columns_ref().first().map(mysql_async::Column::column_type);
        let mut seen = Rows { count: 0, first: None };
        while let Some(mut row) = answer.next().await? {
            if seen.count == 0 {
                let value = row.take::<Value, _>(0);
                seen.first = kind.zip(value).map(|(kind, value)| cell(kind, value));
            }
            seen.count += 1;
            if ROWS <= seen.count {
                return Ok(seen);
            }
        }
        answer.drop_result().await?;
        Ok(seen)
    }

    pub(super) async fn close(self) {
        // It is gone either way.
        self.conn.disconnect().await.ok();
    }
}

/// TLS as everywhere: `ca` alone when there is one, else the system's roots; the name is verified.
fn secure(keys: &Credentials) -> SslOpts {
    let roots: Vec<Vec<u8>> = if let Some(pem) = keys.bytes("ca") {
        vec![pem.to_vec()]
    } else {
        // One that cannot be parsed harms nobody.
        let all = rustls_native_certs::load_native_certs().certs.into_iter();
        let good = all.filter(|it| RootCertStore::empty().add(it.clone()).is_ok());
        good.map(|it| it.to_vec()).collect()
    };
    let identity = keys.bytes("cert").zip(keys.bytes("key"));
    let identity =
        identity.map(|(cert, key)| ClientIdentity::new(cert.to_vec().into(), key.to_vec().into()));
    SslOpts::default()
        .with_root_certs(roots.into_iter().map(Into::into).collect())
        .with_disable_built_in_roots(true)
        .with_client_identity(identity)
}

/// A value; decimals come as text.
#[expect(clippy::cast_precision_loss, reason = "a count beyond 2^53 is refused later")]
fn cell(kind: ColumnType, value: Value) -> Cell {
    match value {
        Value::NULL => Cell::Null,
        Value::Int(number) => Cell::Number(number as f64),
        Value::UInt(number) => Cell::Number(number as f64),
        Value::Float(number) => Cell::Number(number.into()),
        Value::Double(number) => Cell::Number(number),
        Value::Date(year, month, day, hour, minute, second, micro) => {
            time((year, month, day), (hour, minute, second), micro)
                .map_or_else(|| Cell::Other("date that is none".to_owned()), Cell::Time)
        }
        Value::Time(is_negative, days, hours, minutes, seconds, micros) => {
            let hours = 24.0 * f64::from(days) + f64::from(hours);
            let span = 3600.0 * hours + 60.0 * f64::from(minutes) + f64::from(seconds);
            let span = span + f64::from(micros) / 1e6;
            Cell::Number(if is_negative { -span } else { span })
        }
        Value::Bytes(_) if kind == ColumnType::MYSQL_TYPE_BIT => Cell::Other("bit".to_owned()),
        Value::Bytes(bytes) => match String::from_utf8(bytes) {
            Ok(text) => Cell::Text(text),
            Err(_) => Cell::Other("blob".to_owned()),
        },
    }
}

/// A date and time, which are UTC: the session's zone is.
fn time(date: (u16, u8, u8), clock: (u8, u8, u8), micro: u32) -> Option<Timestamp> {
    let small = |number: u8| i8::try_from(number).ok();
    let (year, month, day) = date;
    let (hour, minute, second) = clock;
    let nanos = i32::try_from(micro.checked_mul(1000)?).ok()?;
    let civil = DateTime::new(
        i16::try_from(year).ok()?,
        small(month)?,
        small(day)?,
        small(hour)?,
        small(minute)?,
        small(second)?,
        nanos,
    );
    civil.ok()?.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

/// What an error of the library means.
fn meant(at: &Arc<str>, error: &Fault) -> Error {
    match error {
        Fault::Server(told) => refused(at, told),
        Fault::Io(IoError::Tls(_)) | Fault::Driver(DriverError::NoClientSslFlagFromServer) => {
            Error::TlsFailed { at: Arc::clone(at), detail: fault::detail(error) }
        }
        Fault::Driver(
            DriverError::StmtParamsMismatch { .. }
            | DriverError::MixedParams
            | DriverError::Params(_),
        ) => Error::QueryRefused { at: Arc::clone(at), detail: fault::detail(error) },
        Fault::Driver(
            DriverError::UnknownAuthPlugin { .. } | DriverError::CleartextPluginDisabled,
        ) => Error::AuthenticationFailed { at: Arc::clone(at), detail: fault::detail(error) },
        Fault::Io(IoError::Io(_)) | Fault::Driver(_) | Fault::Other(_) | Fault::Url(_) => {
            fault::transport(at, error)
        }
    }
}

/// What an error number means (MySQL's and MariaDB's server error reference).
fn refused(at: &Arc<str>, told: &ServerError) -> Error {
    let here = Arc::clone(at);
    let detail = line(&told.message);
    match told.code {
        // Given up by max_execution_time, by max_statement_time; lock wait.
        3024 | 1969 | 1205 => {
            Error::Timeout { at: here, detail: format!("it gave the query up: {detail}") }
        }
        1045 | 1130 | 1524 | 1698 | 1862 | 3118 | 4151 => {
            Error::AuthenticationFailed { at: here, detail }
        }
        1044 | 1142 | 1143 | 1227 | 1370 => {
            Error::AccessDenied { at: here, what: "what the query reads".to_owned(), detail }
        }
        1049 => {
            let (_, database) = at.rsplit_once('/').unwrap_or(("", at));
            Error::NotFound { what: format!("database {database}"), at: here }
        }
        1053 | 1077 | 1079 => Error::Unreachable { at: here, detail },
        // Syntax and names (state 42), and what a read-only transaction may not do.
        1290 | 1792 => Error::QueryRefused { at: here, detail },
        _ if told.state.starts_with("42") => Error::QueryRefused { at: here, detail },
        code => Error::SourceFailed {
            at: here,
            about: "the query".to_owned(),
            detail: format!("{code} {detail}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_numbers_times_and_texts() {
        let read = |value| cell(ColumnType::MYSQL_TYPE_VAR_STRING, value);
        assert_eq!(read(Value::NULL), Cell::Null);
        assert_eq!(read(Value::Int(-3)), Cell::Number(-3.0));
        assert_eq!(read(Value::UInt(9)), Cell::Number(9.0));
        assert_eq!(read(Value::Bytes(b"12.50".to_vec())), Cell::Text("12.50".to_owned()));
        assert_eq!(read(Value::Time(true, 1, 1, 0, 0, 500_000)), Cell::Number(-90_000.5));
        let then = "2026-01-02T03:04:05.000006Z".parse().unwrap();
        assert_eq!(read(Value::Date(2026, 1, 2, 3, 4, 5, 6)), Cell::Time(then));
        for none in
            [Value::Date(0, 0, 0, 0, 0, 0, 0), Value::Date(2026, 2, 31, 255, 0, 0, u32::MAX)]
        {
            assert!(matches!(read(none), Cell::Other(_)));
        }
        assert!(matches!(read(Value::Bytes(vec![0xFF])), Cell::Other(_)));
        let bit = cell(ColumnType::MYSQL_TYPE_BIT, Value::Bytes(vec![1]));
        assert!(matches!(bit, Cell::Other(_)));
    }
}
