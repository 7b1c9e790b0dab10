//! A connection to PostgreSQL, and what its values mean. Owned by the source; what a query's answer counts as is left to it.

use std::sync::Arc;

use futures::TryStreamExt;
use jiff::Timestamp;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::types::{FromSql, Type};
use tokio_postgres::{Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{Cell, Door, KEEPALIVE, LIMIT, ROWS, Rows};
use crate::observe::dial::{Budget, Metered};
use crate::observe::figure::line;
use crate::observe::{Error, fault, tls};

/// An answer longer than this is not read. The library would read it whole.
const LONGEST: usize = 1 << 20;

/// Microseconds from 1970 to 2000, when PostgreSQL's time begins.
const EPOCH: i64 = 946_684_800_000_000;
const DAY: i64 = 86_400_000_000;

/// An open connection. The task that carries it ends with it.
#[derive(Debug)]
pub(super) struct Line {
    client: Client,
    /// Has the connection ended?
    pub(super) is_broken: bool,
    budget: Budget,
    _carrier: JoinSet<()>,
}

impl Line {
    pub(super) async fn open(door: &Door) -> Result<Self, Error> {
        let mut config = Config::new();
        config
            .dbname(&door.to.database)
            .user(&door.username)
            .application_name("penstock")
            .ssl_mode(if door.to.tls { SslMode::Require } else { SslMode::Disable });
        if let Some(password) = &door.password {
            config.password(password);
        }
        let budget = Budget::default();
        budget.grant(LONGEST);
        let stream = dialled(&door.to.host, door.to.port).await;
        let stream = stream.map_err(|error| fault::transport(&door.at, &error))?;
        let stream = Metered { stream, budget: budget.clone() };
        let mut carrier = JoinSet::new();
        // What goes wrong with the connection is told by the client that waits on it.
        let client = if door.to.tls {
            let mut secure = MakeRustlsConnect::new(tls::config(&door.at, &door.keys)?);
            let secure =
                MakeTlsConnect::<Metered<TcpStream>>::make_tls_connect(&mut secure, &door.to.host);
            let opened =
                config.connect_raw(stream, secure.unwrap_or_else(|never| match never {})).await;
            let (client, connection) = opened.map_err(|error| meant(&door.at, &error))?;
            carrier.spawn(async { connection.await.unwrap_or_default() });
            client
        } else {
            let opened = config.connect_raw(stream, NoTls).await;
            let (client, connection) = opened.map_err(|error| meant(&door.at, &error))?;
            carrier.spawn(async { connection.await.unwrap_or_default() });
            client
        };
        Ok(Self { client, is_broken: false, budget, _carrier: carrier })
    }

    /// Runs one query by itself. The extended protocol takes a single statement, so nothing can be appended to it.
    pub(super) async fn ask(&mut self, at: &Arc<str>, query: &str) -> Result<Rows, Error> {
        self.budget.grant(LONGEST);
        let answer = self.exchange(at, query).await;
        if answer.is_err() && self.budget.is_spent() {
            // The fault is the query's, not the server's.
            self.is_broken = true;
            let (about, detail) =
                ("the query".to_owned(), "its answer is longer than 1 MiB".to_owned());
            return Err(Error::SourceFailed { at: Arc::clone(at), about, detail });
        }
        answer
    }

    async fn exchange(&mut self, at: &Arc<str>, query: &str) -> Result<Rows, Error> {
        let limit = LIMIT.as_millis();
        let begin = format!(
            "BEGIN READ ONLY; SET LOCAL statement_timeout = {limit}; SET LOCAL lock_timeout = {limit}"
        );
        let meant = |error: &tokio_postgres::Error| meant(at, error);
        self.client.batch_execute(&begin).await.map_err(|error| meant(&error))?;
        let rows = self.rows(query).await.map_err(|error| meant(&error));
        if rows.as_ref().is_ok_and(|rows| ROWS <= rows.count) {
            // The rest is still under way: the connection is given up.
            return rows;
        }
        if let Err(error) = self.client.batch_execute("ROLLBACK").await {
            self.is_broken = true;
            return rows.and_then(|_| Err(meant(&error)));
        }
        rows
    }

    async fn rows(&self, query: &str) -> Result<Rows, tokio_postgres::Error> {
        let none: [(i32, Type); 0] = [];
        let rows = self.client.query_typed_raw(query, none).await?;
        let mut rows = std::pin::pin!(rows);
        let mut seen = Rows { count: 0, first: None };
        while let Some(row) = rows.try_next().await? {
            if seen.count == 0 {
                let is_empty = row.is_empty();
                seen.first = if is_empty { None } else { Some(row.try_get::<_, Cell>(0)?) };
            }
            seen.count += 1;
            if ROWS <= seen.count {
                break;
            }
        }
        Ok(seen)
    }
}

/// A connection that carries nothing is probed.
async fn dialled(host: &str, port: u16) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
    Ok(stream)
}

impl<'a> FromSql<'a> for Cell {
    fn from_sql(
        kind: &Type,
        raw: &'a [u8],
    ) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(cell(kind, raw).unwrap_or_else(|| Self::Other(kind.name().to_owned())))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self::Null)
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// A value out of its binary form; `None` when it is of a type that is no number.
#[expect(clippy::cast_precision_loss, reason = "a count beyond 2^53 is refused later")]
fn cell(kind: &Type, raw: &[u8]) -> Option<Cell> {
    let text = || Some(Cell::Text(String::from_utf8_lossy(raw).into_owned()));
    let number = match *kind {
        Type::INT2 => f64::from(i16::from_be_bytes(raw.try_into().ok()?)),
        Type::INT4 => f64::from(i32::from_be_bytes(raw.try_into().ok()?)),
        Type::INT8 => i64::from_be_bytes(raw.try_into().ok()?) as f64,
        Type::OID => f64::from(u32::from_be_bytes(raw.try_into().ok()?)),
        Type::FLOAT4 => f64::from(f32::from_be_bytes(raw.try_into().ok()?)),
        Type::FLOAT8 => f64::from_be_bytes(raw.try_into().ok()?),
        Type::NUMERIC => numeric(raw)?,
        Type::INTERVAL => interval(raw)?,
        Type::TIMESTAMPTZ | Type::TIMESTAMP => {
            return time(i64::from_be_bytes(raw.try_into().ok()?));
        }
        Type::DATE => {
            let days = i64::from(i32::from_be_bytes(raw.try_into().ok()?));
            return time(days.checked_mul(DAY)?);
        }
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN => return text(),
        _ => return None,
    };
    Some(Cell::Number(number))
}

/// An instant out of microseconds since 2000; infinity is none.
fn time(since: i64) -> Option<Cell> {
    Timestamp::from_microsecond(since.checked_add(EPOCH)?).ok().map(Cell::Time)
}

/// A numeric: groups of four digits, the place of the first, a sign.
fn numeric(raw: &[u8]) -> Option<f64> {
    let word = |at: usize| raw.get(2 * at..2 * at + 2).map(|it| u16::from_be_bytes([it[0], it[1]]));
    let digits = usize::from(word(0)?);
    let weight = i32::from(word(1)?.cast_signed());
    let sign = match word(2)? {
        0x0000 => 1.0,
        0x4000 => -1.0,
        0xD000 => return Some(f64::INFINITY),
        0xF000 => return Some(f64::NEG_INFINITY),
        _ => return Some(f64::NAN),
    };
    let mut sum = 0.0;
    for (at, place) in (0..digits).zip((i32::MIN..=weight).rev()) {
        sum += f64::from(word(4 + at)?) * 10_000_f64.powi(place);
    }
    Some(sign * sum)
}

/// An interval in seconds; a month has 30 days, as PostgreSQL compares them.
#[expect(clippy::cast_precision_loss, reason = "microseconds of centuries fit")]
fn interval(raw: &[u8]) -> Option<f64> {
    let micros = i64::from_be_bytes(raw.get(0..8)?.try_into().ok()?);
    let days = i32::from_be_bytes(raw.get(8..12)?.try_into().ok()?);
    let months = i32::from_be_bytes(raw.get(12..16)?.try_into().ok()?);
    let days = f64::from(days) + 30.0 * f64::from(months);
    Some(micros as f64 / 1e6 + days * 86_400.0)
}

/// What an error of the library means.
fn meant(at: &Arc<str>, error: &tokio_postgres::Error) -> Error {
    let here = Arc::clone(at);
    let Some(told) = error.as_db_error() else {
        let said = error.to_string();
        let fault = fault::transport(at, error);
        let Error::Unreachable { detail, .. } = &fault else { return fault };
        let detail = detail.clone();
        // The library says so itself where no certificate was looked at, and where it has no password to show.
        return if said.contains("TLS") {
            Error::TlsFailed { at: here, detail }
        } else if said.contains("authenticat") || said.contains("invalid configuration") {
            Error::AuthenticationFailed { at: here, detail }
        } else {
            fault
        };
    };
    let (code, detail) = (told.code().code(), line(told.message()));
    match *told.code() {
        SqlState::QUERY_CANCELED | SqlState::LOCK_NOT_AVAILABLE => {
            Error::Timeout { at: here, detail: format!("it gave the query up: {detail}") }
        }
        SqlState::INSUFFICIENT_PRIVILEGE => {
            Error::AccessDenied { at: here, what: "what the query reads".to_owned(), detail }
        }
        SqlState::INVALID_CATALOG_NAME => {
            let (_, database) = at.rsplit_once('/').unwrap_or(("", at));
            Error::NotFound { what: format!("database {database}"), at: here }
        }
        _ if code.starts_with("28") => Error::AuthenticationFailed { at: here, detail },
        // Placeholders that nothing fills.
        SqlState::PROTOCOL_VIOLATION => Error::QueryRefused { at: here, detail },
        _ if code.starts_with("42") || code.starts_with("25") || code.starts_with("0A") => {
            Error::QueryRefused { at: here, detail }
        }
        _ if code.starts_with("57P") || code.starts_with("08") => {
            Error::Unreachable { at: here, detail }
        }
        _ => Error::SourceFailed {
            at: here,
            about: "the query".to_owned(),
            detail: format!("{code} {detail}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[u16]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    #[test]
    fn numbers_come_out_of_every_type_that_holds_one() {
        let is = |kind: Type, raw: &[u8], wanted: f64| {
            let Some(Cell::Number(number)) = cell(&kind, raw) else { panic!("{kind}") };
            assert!((number - wanted).abs() < 1e-9 * wanted.abs().max(1.0), "{kind}: {number}");
        };
        is(Type::INT2, &(-7_i16).to_be_bytes(), -7.0);
        is(Type::INT4, &70_000_i32.to_be_bytes(), 70_000.0);
        is(Type::INT8, &5_000_000_000_i64.to_be_bytes(), 5e9);
        is(Type::FLOAT4, &1.5_f32.to_be_bytes(), 1.5);
        is(Type::FLOAT8, &2.25_f64.to_be_bytes(), 2.25);
        // 12345.678 is 1 | 2345 . 6780
        is(Type::NUMERIC, &words(&[3, 1, 0, 3, 1, 2345, 6780]), 12_345.678);
        is(Type::NUMERIC, &words(&[1, 0xFFFF, 0x4000, 1, 5000]), -0.5);
        is(Type::NUMERIC, &words(&[0, 0, 0, 0]), 0.0);
        let hour = [3_600_000_000_i64.to_be_bytes().as_slice(), &words(&[0, 1, 0, 0])].concat();
        is(Type::INTERVAL, &hour, 90_000.0);
    }

    #[test]
    fn times_are_instants_and_what_is_no_number_is_none() {
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let raw = (now.as_microsecond() - EPOCH).to_be_bytes();
        assert_eq!(cell(&Type::TIMESTAMPTZ, &raw), Some(Cell::Time(now)));
        assert_eq!(cell(&Type::TIMESTAMP, &raw), Some(Cell::Time(now)));
        let day = "2026-01-02T00:00:00Z".parse().unwrap();
        assert_eq!(cell(&Type::DATE, &9498_i32.to_be_bytes()), Some(Cell::Time(day)));
        assert_eq!(cell(&Type::TIMESTAMPTZ, &i64::MAX.to_be_bytes()), None, "infinity");
        assert_eq!(cell(&Type::DATE, &i32::MAX.to_be_bytes()), None, "infinity");
        assert_eq!(cell(&Type::BOOL, &[1]), None);
        for short in 0..16 {
            for kind in [Type::INT8, Type::NUMERIC, Type::INTERVAL, Type::TIMESTAMP, Type::DATE] {
                // Never a panic, whatever a server sends.
                drop(cell(&kind, &[0xFF; 16][..short]));
            }
        }
        assert!(numeric(&words(&[9, 0, 0, 0, 1])).is_none(), "digits are missing");
        assert!(numeric(&words(&[0, 0, 0xC000, 0])).is_some_and(f64::is_nan));
    }
}
