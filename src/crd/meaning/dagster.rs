//! What the preset for Dagster asks of its database: runs that wait or run, or the steps of a pool. The tables are stable where the GraphQL is
//! not promised to be; asking is left to the SQL source.

use super::source::{Draft, SLOW_POLL, unit};
use super::{Reader, sql};
use crate::crd::source::Dagster;
use crate::observe::Ask;
use crate::observe::sql::{Ask as Query, Engine};

/// Runs that wait in the queue, and those that a replica is busy with. What was made and never queued waits for nobody.
const RUNS: &str =
    "SELECT count(*) FROM runs WHERE status IN ('QUEUED', 'STARTING', 'STARTED', 'CANCELING')";

impl Reader<'_> {
    /// Reads a Dagster source.
    pub(super) fn dagster(&mut self, at: &str, written: &Dagster) -> Draft {
        let per_replica = self.threshold(format!("{at}.perReplica"), written.per_replica.as_ref());
        let query = match &written.pool {
            None => RUNS.to_owned(),
            // A step stays pending until it has given its slot back. An unknown pool gives no row, which is no zero.
            Some(pool) => {
                self.quotable(&format!("{at}.pool"), pool);
                format!(
                    "SELECT (SELECT count(*) FROM pending_steps s WHERE s.concurrency_key = l.concurrency_key) FROM concurrency_limits l WHERE l.concurrency_key = '{pool}'"
                )
            }
        };
        let ask = Ask::Sql(Query { query, unit: unit(per_replica) });
        let place = self
            .found(at, &written.connection_ref)
            .and_then(|found| sql::place(&found, Engine::Postgres));
        Draft { default_poll: SLOW_POLL, per_replica, ask, place }
    }
}
