//! Streams: their length, and what a group has not read or not acknowledged. Redis counts what was added and what a group has read, so
//! arrivals and work done are known as well.

use std::sync::Arc;

use redis::Value as Said;
use tokio::time::Instant;

use super::line::Line;
use super::{count, key_command, shown};
use crate::decide::{Lost, Queue, Value};
use crate::observe::figure::unusable;
use crate::observe::{Answer, Error};

/// The length of a stream.
pub(super) async fn length(line: &Line, key: &str, deadline: Instant) -> Result<Value, Error> {
    let about = format!("stream {key}");
    let backlog = match line.ask(&key_command("XLEN", key), &about, deadline).await {
        Ok(said) if count(&said) != Some(0) => {
            count(&said).ok_or_else(|| unusable(line.at(), &about, &shown(&said)))?
        }
        // Tells a stream that is empty from none, and does for a login that may not ask for the length. It brings two whole entries.
        Ok(_) | Err(Error::AccessDenied { .. }) => {
            let said = line.ask(&info("STREAM", key), &about, deadline).await?;
            let length = fields(&said).number("length");
            length.ok_or_else(|| unusable(line.at(), &about, &shown(&said)))?
        }
        Err(error) => return Err(error),
    };
    Ok(Value::Queue(Queue { backlog, ..Queue::default() }))
}

/// What a group has to do.
pub(super) async fn group(line: &Line, key: &str, group: &str, deadline: Instant) -> Answer {
    let about = format!("stream {key}");
    let (of_stream, of_groups) = (info("STREAM", key), info("GROUPS", key));
    let (stream, groups) = futures::join!(
        line.ask(&of_stream, &about, deadline),
        line.ask(&of_groups, &about, deadline)
    );
    let (stream, groups) = (stream?, groups?);
    let Said::Array(groups) = &groups else {
        return Err(unusable(line.at(), &about, "no groups"));
    };
    let found = groups.iter().map(fields).find(|it| it.text("name") == Some(group.as_bytes()));
    let found = found.ok_or_else(|| Error::NotFound {
        at: Arc::clone(line.at()),
        what: format!("group {group} of stream {key}"),
    })?;
    let about = format!("group {group} of stream {key}");
    let stream = fields(&stream);
    let pending = found.number("pending");
    let pending = pending.ok_or_else(|| unusable(line.at(), &about, "no count of pending"))?;
    let is_at_end = found.text("last-delivered-id").is_some()
        && found.text("last-delivered-id") == stream.text("last-generated-id");
    // After deletions in the middle Redis cannot tell the lag, and before version 7 it never could.
    let lag = found.number("lag").or_else(|| is_at_end.then_some(0));
    let Some(lag) = lag else {
        let backlog = pending.saturating_add(1);
        let error = "Redis cannot tell how far the group lies behind: entries were deleted, or it is older than 7".into();
        let queue = Queue { backlog, ..Queue::default() };
        return Ok((Value::Queue(queue), Some(Lost { partitions: 0, of: 0, error })));
    };
    // What was trimmed before the group came to it counts in Redis' lag, and goes on to when all is read (redis/redis#13957).
    let length = stream.number("length").unwrap_or(u64::MAX);
    let waits = if is_at_end { 0 } else { lag.min(length) };
    let backlog = waits.saturating_add(pending);
    // Only together are they of use: what was added, less what waits, was served.
    let counters = stream.number("entries-added").zip(found.number("entries-read"));
    let counters = counters.filter(|(added, read)| added.checked_sub(*read) == Some(waits));
    let queue = Queue {
        backlog,
        arrived: counters.map(|(added, _)| added),
        served: counters.and_then(|(_, read)| read.checked_sub(pending)),
        ..Queue::default()
    };
    Ok((Value::Queue(queue), None))
}

fn info(what: &str, key: &str) -> redis::Cmd {
    let mut cmd = redis::cmd("XINFO");
    cmd.arg(what).arg(key);
    cmd
}

/// Text, however it is sent; empty for anything else.
fn name(said: &Said) -> &[u8] {
    match said {
        Said::BulkString(name) => name,
        Said::SimpleString(name) => name.as_bytes(),
        _ => &[],
    }
}

/// Names and values that stand in turn.
struct Fields<'a>(Vec<(&'a [u8], &'a Said)>);

fn fields(said: &Said) -> Fields<'_> {
    Fields(match said {
        Said::Array(all) => all
            .chunks_exact(2)
            .filter_map(|pair| Some((name(pair.first()?), pair.get(1)?)))
            .collect(),
        Said::Map(all) => all.iter().map(|(key, value)| (name(key), value)).collect(),
        _ => Vec::new(),
    })
}

impl<'a> Fields<'a> {
    fn get(&self, name: &str) -> Option<&'a Said> {
        self.0.iter().find(|(known, _)| *known == name.as_bytes()).map(|(_, value)| *value)
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.get(name).and_then(count)
    }

    fn text(&self, name: &str) -> Option<&'a [u8]> {
        match self.get(name)? {
            Said::BulkString(text) => Some(text),
            Said::SimpleString(text) => Some(text.as_bytes()),
            _ => None,
        }
    }
}
