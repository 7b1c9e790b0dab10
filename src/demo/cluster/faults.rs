//! The door for tests and stories: answers that go wrong on purpose, and the log of every request. Asked by `http` for each request.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The request is refused with this HTTP status code and not carried out.
    Refuse(u16),
    /// The request is carried out after this time.
    Delay(Duration),
    /// The connection breaks before anything is done.
    Drop,
    /// The request is carried out, then answered with this status code: an outcome the caller cannot know.
    ForwardThenRefuse(u16),
    /// The request is carried out, then the connection breaks without an answer.
    ForwardThenDrop,
    /// Nothing is answered, ever.
    Hang,
}

/// Which requests are meant; an empty field means any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Match {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: String,
    /// The plural: `deployments`.
    pub resource: String,
    /// `scale`, `status`; `-` means none at all.
    pub subresource: String,
    /// The object's name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
}

impl Match {
    /// Requests with this verb, resource and subresource; empty means any.
    pub fn of(verb: &str, resource: &str, subresource: &str) -> Self {
        Self {
            verb: verb.to_owned(),
            resource: resource.to_owned(),
            subresource: subresource.to_owned(),
            name: String::new(),
            namespace: String::new(),
        }
    }

    fn fits(&self, request: &Logged) -> bool {
        let any = |wanted: &str, is: &str| wanted.is_empty() || wanted == is;
        any(&self.verb, &request.verb)
            && any(&self.resource, &request.resource)
            && any(&self.name, &request.name)
            && any(&self.namespace, &request.namespace)
            && (any(&self.subresource, &request.subresource)
                || (self.subresource == "-" && request.subresource.is_empty()))
    }
}

/// One answered request.
#[derive(Debug, Clone, PartialEq)]
pub struct Logged {
    /// When it came.
    pub at: jiff::Timestamp,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`; the HTTP method for other paths.
    pub verb: String,
    /// The plural, or the path when it is no resource.
    pub resource: String,
    /// `apps`, or empty for the core group.
    pub group: String,
    /// Empty for cluster-wide requests.
    pub namespace: String,
    /// Empty for collections.
    pub name: String,
    /// `scale`, `status`, or empty.
    pub subresource: String,
    /// The raw query string.
    pub query: String,
    /// The body's content type, as sent.
    pub content_type: String,
    /// The `User-Agent` header.
    pub user_agent: String,
    /// The answer's HTTP status code; 0 when the connection was broken on purpose.
    pub code: u16,
}

/// Faults to come and requests that were.
#[derive(Debug, Default)]
pub struct Faults {
    planned: Mutex<VecDeque<(Match, Fault, usize)>>,
    log: Mutex<VecDeque<Logged>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Requests kept in the log; older ones are forgotten.
const LOGGED: usize = 100_000;

impl Faults {
    /// Lets the next `times` requests that match go wrong. Plans are asked in the order they were made.
    pub fn plan(&self, requests: Match, fault: Fault, times: usize) {
        locked(&self.planned).push_back((requests, fault, times));
    }

    /// Forgets all plans.
    pub fn clear(&self) {
        locked(&self.planned).clear();
    }

    /// The requests so far, oldest first. Watches stand here from when they begin.
    pub fn log(&self) -> Vec<Logged> {
        locked(&self.log).iter().cloned().collect()
    }

    /// Forgets the requests so far.
    pub fn clear_log(&self) {
        locked(&self.log).clear();
    }

    pub(super) fn next(&self, request: &Logged) -> Option<Fault> {
        let mut planned = locked(&self.planned);
        let i =
            planned.iter().position(|(requests, _, times)| *times > 0 && requests.fits(request))?;
        let (_, fault, times) = planned.get_mut(i)?;
        *times -= 1;
        let fault = fault.clone();
        planned.retain(|(_, _, times)| *times > 0);
        Some(fault)
    }

    pub(super) fn record(&self, request: Logged) {
        let mut log = locked(&self.log);
        log.push_back(request);
        while log.len() > LOGGED {
            log.pop_front();
        }
    }
}
