//! What the preset for Airflow asks: of its database what a Celery queue or a pool has to do, of its REST API what a pool holds. The presets know
//! the words of Airflow 2.10 to 3; asking is left to the sources they are made of.

use super::login::Found;
use super::source::{Draft, Place, SLOW_POLL};
use super::{Fault, Reader, sql};
use crate::crd::login::HttpLogin;
use crate::crd::rules;
use crate::crd::source::Airflow;
use crate::observe::sql::{Ask as Query, Engine};
use crate::observe::{Address, Ask, Unit, http};

/// Airflow's own default of `worker_concurrency`.
const WORKER_CONCURRENCY: f64 = 16.0;

/// Tasks that have a worker or are sent to the broker and wait for one. What only other executors run is left out; a task without an
/// executor of its own runs on the default one.
const OF_CELERY: &str = "SELECT count(*) FROM task_instance WHERE state IN ('queued', 'running', 'restarting') AND (executor IS NULL OR (executor NOT LIKE '%KubernetesExecutor' AND executor NOT LIKE '%EdgeExecutor' AND executor NOT LIKE '%LocalExecutor'))";

impl Reader<'_> {
    /// Reads an Airflow source.
    pub(super) fn airflow(&mut self, at: &str, written: &Airflow) -> Draft {
        let per_replica = self.threshold(format!("{at}.perReplica"), written.per_replica.as_ref());
        for (field, name) in [("queue", &written.queue), ("pool", &written.pool)] {
            if let Some(name) = name {
                self.quotable(&format!("{at}.{field}"), name);
            }
        }
        if written.queue.is_some() && written.pool.is_some() {
            self.refuse(at, rules::QUEUE_OR_POOL);
        }
        let found = self.found(at, &written.connection_ref);
        let rest = found.as_ref().ok().and_then(|found| found.kind.http.as_ref());
        let ask = match (&written.pool, rest) {
            (Some(pool), Some(rest)) => Ask::Http(http::Ask {
                path: format!("/api/{}/pools/{}", version(rest), segment(pool)),
                json_path: "$.occupied_slots".to_owned(),
                unit: Unit::Gauge,
            }),
            _ => Ask::Sql(Query { query: query(written), unit: Unit::Gauge }),
        };
        let place = found.and_then(|found| place(&found, written));
        Draft {
            default_poll: SLOW_POLL,
            per_replica: Some(per_replica.unwrap_or(WORKER_CONCURRENCY)),
            ask,
            place,
        }
    }

    /// Refuses what cannot stand between quotes in a query.
    pub(super) fn quotable(&mut self, path: &str, name: &str) {
        self.text(path, name, 255);
        if name.chars().any(|c| c.is_control() || c == '\'' || c == '\\') {
            self.refuse(path, "must have no quotes, backslashes and control characters");
        }
    }
}

/// What is asked of the database. Names have no quotes in them.
fn query(written: &Airflow) -> String {
    match (&written.queue, &written.pool) {
        // As Airflow itself counts the slots that are taken. An unknown pool gives no row, which is no zero.
        (_, Some(pool)) => format!(
            "SELECT (SELECT coalesce(sum(t.pool_slots), 0) FROM task_instance t WHERE t.pool = p.pool AND (t.state IN ('queued', 'running') OR (t.state = 'deferred' AND p.include_deferred))) FROM slot_pool p WHERE p.pool = '{pool}'"
        ),
        (Some(queue), None) => format!("{OF_CELERY} AND queue = '{queue}'"),
        (None, None) => OF_CELERY.to_owned(),
    }
}

/// The database or the server of the REST API, and the Secrets to log in with.
fn place(found: &Found, written: &Airflow) -> Result<Place, Fault> {
    let kinds = &found.kind;
    match (&kinds.postgres, &kinds.mysql, &kinds.http) {
        (Some(_), ..) => sql::place(found, Engine::Postgres),
        (None, Some(_), _) => sql::place(found, Engine::Mysql),
        (None, None, Some(login)) if written.pool.is_some() => {
            let (address, secrets) = found.web("spec.http", login)?;
            Ok((Address::Http(address), secrets))
        }
        (None, None, Some(_)) => Err(found.invalid(
            "spec",
            "is Airflow's REST API, which tells pools only; a queue wants its database",
        )),
        (None, None, None) => Err(found.mismatch("postgres, mysql or http")),
    }
}

/// The version of the REST API. Who has a name and a password means the first, of Airflow 2: the second, of Airflow 3, lets in by token alone.
fn version(login: &HttpLogin) -> &'static str {
    if login.username_secret_ref.is_some() { "v1" } else { "v2" }
}

/// A name as one segment of a path.
fn segment(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    name.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_segment() {
        assert_eq!(segment("default_pool"), "default_pool");
        assert_eq!(segment("a/b ü?"), "a%2Fb%20%C3%BC%3F");
    }
}
