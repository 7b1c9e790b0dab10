//! RabbitMQ: what waits in a queue. Its management API says what is ready and what is delivered and not acknowledged, and counts what
//! came and was done; where only AMQP is open, a passive declaration says what is ready. One client for each address.

use std::fmt;
use std::sync::Arc;

use tokio::time::Instant;

use super::{Answer, Asked, Credentials, Error, Source, web};
use crate::clock::Clock;

mod wire;
mod line;
mod amqp;
mod management;

use amqp::Amqp;
use management::Management;

/// A RabbitMQ and how to log in. Secrets are not part of it: they come as `Credentials`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Address {
    /// By its management API: `https` takes `ca` from the credentials, else the system's roots; with `cert` and `key` also mutual.
    Management(web::Address),
    /// By AMQP 0-9-1.
    Amqp {
        /// Sets addresses of one server with different credentials apart: the Connection's `namespace/name`.
        connection: String,
        /// `host:port`.
        host: String,
        /// TLS, with `ca`, `cert` and `key` of the credentials as above.
        tls: bool,
        /// Log in with `username` and `password` of the credentials; else by certificate where the server takes that, else as `guest`.
        login: bool,
    },
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Management(address) => address.fmt(f),
            Self::Amqp { host, tls: true, .. } => write!(f, "amqps://{host}"),
            Self::Amqp { host, tls: false, .. } => write!(f, "amqp://{host}"),
        }
    }
}

/// What to read: the depth of a queue.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ask {
    /// Its virtual host, at most 255 bytes.
    pub vhost: String,
    /// Its name, 1 to 255 bytes.
    pub queue: String,
    /// Do not count what is delivered and not yet acknowledged. AMQP cannot count it, whatever this says.
    pub exclude_unacked: bool,
}

/// A RabbitMQ, visited.
pub(crate) struct RabbitMq {
    at: Arc<str>,
    way: Way,
}

/// How it is asked.
enum Way {
    Management(Box<Management>),
    Amqp(Box<Amqp>),
}

impl Source for RabbitMq {
    type Address = Address;
    type Ask = Ask;

    fn ask_of(ask: &super::Ask) -> Option<&Ask> {
        let super::Ask::RabbitMq(ask) = ask else { return None };
        Some(ask)
    }

    fn connect(to: &Address, keys: &Credentials, _: Clock) -> Result<Self, Error> {
        let at: Arc<str> = to.to_string().into();
        let way = match to {
            Address::Management(to) => Way::Management(Box::new(Management::new(to, keys)?)),
            Address::Amqp { host, tls, login, .. } => {
                Way::Amqp(Box::new(Amqp::new(&at, host, *tls, *login, keys)?))
            }
        };
        Ok(Self { at, way })
    }

    async fn greet(&mut self, deadline: Instant) -> Result<(), Error> {
        match &mut self.way {
            Way::Management(it) => it.greet(deadline).await,
            Way::Amqp(it) => it.greet(deadline).await,
        }
    }

    async fn read(&mut self, asks: &[Asked<'_, Ask>], deadline: Instant) -> Vec<Answer> {
        if asks.is_empty() {
            return Vec::new();
        }
        let asked: Vec<&Ask> = asks.iter().map(|asked| asked.ask).collect();
        let answers = match &mut self.way {
            Way::Management(it) => it.read(&asked, deadline).await,
            Way::Amqp(it) => it.read(&asked, deadline).await,
        };
        let nobody = || Err(Error::InternalError { at: Arc::clone(&self.at) });
        asked.iter().map(|ask| answers.get(ask).cloned().unwrap_or_else(nobody)).collect()
    }

    fn inherit(&mut self, old: &mut Self) {
        if let (Way::Management(new), Way::Management(old)) = (&mut self.way, &mut old.way) {
            new.inherit(old);
        }
    }

    fn forget(&mut self, in_force: &[&Ask]) {
        match &mut self.way {
            Way::Management(it) => it.forget(in_force),
            Way::Amqp(it) => it.forget(in_force),
        }
    }

    async fn close(self) {
        if let Way::Amqp(it) = self.way {
            it.close().await;
        }
    }
}

/// How errors call a queue.
fn title(vhost: &str, queue: &str) -> String {
    if vhost == "/" {
        format!("queue {queue}")
    } else {
        format!("queue {queue} in virtual host {vhost}")
    }
}
