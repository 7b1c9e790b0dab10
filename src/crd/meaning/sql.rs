//! What a PostgreSQL or MySQL source asks, and how its connection logs in.

use super::login::Found;
use super::source::{Draft, Place, SLOW_POLL, unit};
use super::{Fault, Reader};
use crate::crd::rules;
use crate::crd::source::Sql;
use crate::observe::sql::{self, Engine};
use crate::observe::{Address, Ask};

/// What a statement that reads begins with. The server lets it read only, whatever it says; this keeps out what would end the transaction.
const READS: [&str; 5] = ["SELECT", "WITH", "VALUES", "TABLE", "SHOW"];

impl Reader<'_> {
    /// Reads a PostgreSQL or MySQL source.
    pub(super) fn sql(&mut self, at: &str, engine: Engine, written: &Sql) -> Draft {
        let per_replica = self.threshold(format!("{at}.perReplica"), written.per_replica.as_ref());
        self.text(format!("{at}.query"), &written.query, 8192);
        if !reads(&written.query) {
            self.refuse(format!("{at}.query"), rules::SQL_READS);
        }
        let unit = unit(per_replica);
        let ask = Ask::Sql(sql::Ask { query: written.query.clone(), unit });
        let place = self.found(at, &written.connection_ref).and_then(|found| place(&found, engine));
        Draft { default_poll: SLOW_POLL, per_replica, ask, place }
    }
}

/// Does it begin with a word that reads? Space, comments and brackets may stand before it.
fn reads(query: &str) -> bool {
    let mut rest = query;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '(');
        let after = if let Some(comment) = rest.strip_prefix("--") {
            comment.split_once('\n').map(|(_, after)| after)
        } else if let Some(comment) = rest.strip_prefix("/*") {
            // What MySQL executes though it looks like a comment begins with a mark.
            comment.split_once("*/").filter(|_| !comment.starts_with(['!', 'M'])).map(|it| it.1)
        } else {
            break;
        };
        let Some(after) = after else { return false };
        rest = after;
    }
    let word: String = rest.chars().take_while(char::is_ascii_alphabetic).collect();
    READS.iter().any(|known| known.eq_ignore_ascii_case(&word))
}

/// The address of a database, and the Secrets to log in with.
pub(super) fn place(found: &Found, engine: Engine) -> Result<Place, Fault> {
    let (kind, written, port) = match engine {
        Engine::Postgres => ("postgres", &found.kind.postgres, 5432),
        Engine::Mysql => ("mysql", &found.kind.mysql, 3306),
    };
    let login = written.as_ref().ok_or_else(|| found.mismatch(kind))?;
    let field = |name: &str| format!("spec.{kind}.{name}");
    let is_host = |c: char| c.is_ascii_alphanumeric() || ".-_:".contains(c);
    let host = &login.host;
    // PostgreSQL's client would take a path for a socket file, and a comma for a second host.
    if host.is_empty() || 253 < host.len() || !host.chars().all(is_host) {
        return Err(found.invalid(&field("host"), "must be a name or an address, without a port"));
    }
    let port = login.port.unwrap_or(port);
    let port = u16::try_from(port).ok().filter(|port| 0 < *port);
    let port = port.ok_or_else(|| found.invalid(&field("port"), "must be 1 to 65535"))?;
    let database = &login.database;
    if database.is_empty() || 63 < database.len() || database.contains('\0') {
        return Err(found.invalid(&field("database"), "must have 1 to 63 bytes"));
    }
    if login.username_secret_ref.is_none() {
        return Err(found.invalid(&field("usernameSecretRef"), rules::SQL_USER));
    }
    let mut secrets = found.tls(&format!("spec.{kind}"), login.tls.as_ref())?;
    secrets.extend(found.secret(login.username_secret_ref.as_ref(), "username"));
    secrets.extend(found.secret(login.password_secret_ref.as_ref(), "password"));
    let address = sql::Address {
        connection: found.id.clone(),
        engine,
        host: host.clone(),
        port,
        database: database.clone(),
        tls: login.tls.is_some(),
    };
    Ok((Address::Sql(address), secrets))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_begins_with_a_word_that_reads() {
        for good in [
            "SELECT 1",
            "  select count(*) from todo;",
            "-- how many\n(SELECT 1) UNION (SELECT 2)",
            "/* a */ /* b */ WITH x AS (SELECT 1) SELECT * FROM x",
            "VALUES (1)",
            "TABLE t",
            "SHOW x",
        ] {
            assert!(reads(good), "{good}");
        }
        for bad in [
            "",
            "COMMIT",
            "commit; select 1",
            "SET x = 1",
            "DO $$ BEGIN END $$",
            "/*! COMMIT */ SELECT 1",
            "/*M! COMMIT */ SELECT 1",
            "/* open SELECT 1",
            "-- SELECT 1",
            "SELECTED",
            "LOCK TABLES t WRITE",
            "CALL p()",
        ] {
            assert!(!reads(bad), "{bad}");
        }
    }
}
