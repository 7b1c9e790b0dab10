//! Amazon SQS: how many messages of a queue are visible, in flight and delayed. SQS tells neither an age nor a rate, so what only tells its
//! depth is sized by `decide`. One client for each address; a queue that several ask for is asked once.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::config::{
    BehaviorVersion, Builder, Credentials as AwsKeys, Region, StalledStreamProtectionConfig,
};
use aws_sdk_sqs::types::QueueAttributeName as Name;
use futures::StreamExt;
use tokio::time::Instant;

mod carrier;
mod refusal;

use super::figure::{Unit, unusable};
use super::web::AT_ONCE;
use super::{Answer, Asked, Credentials, Error, Source, fault};
use crate::clock::Clock;
use crate::decide::Value;

/// What is asked of every queue: which of them count is for each ask to say.
const PARTS: [Name; 3] = [
    Name::ApproximateNumberOfMessages,
    Name::ApproximateNumberOfMessagesNotVisible,
    Name::ApproximateNumberOfMessagesDelayed,
];

/// An SQS and how to log in. Secrets are not part of it: they come as `Credentials`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// Sets addresses of one server with different credentials apart: the Connection's `namespace/name`.
    pub connection: String,
    /// The AWS region, `eu-central-1`.
    pub region: String,
    /// Another server that speaks SQS: scheme, host and port; `None` for AWS.
    pub endpoint: Option<String>,
    /// How to log in.
    pub login: Login,
}

/// As whom to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Login {
    /// `access-key` and `secret-key` of the credentials.
    Keys,
    /// The pod's own identity: a web identity (IRSA), else EKS Pod Identity. Never the node's.
    Pod,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.endpoint {
            Some(endpoint) => f.write_str(endpoint),
            None => write!(f, "sqs.{}.amazonaws.com", self.region),
        }
    }
}

/// What to read: the depth of a queue.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ask {
    /// The queue.
    pub queue_url: String,
    /// Do messages in flight count, which are received and not yet deleted? KEDA's `scaleOnInFlight`.
    pub in_flight: bool,
    /// Do messages count that are not to be received yet? KEDA's `scaleOnDelayed`.
    pub delayed: bool,
}

/// An SQS, visited.
#[derive(Debug)]
pub(crate) struct Sqs {
    at: Arc<str>,
    client: Client,
    /// Visits so far. Where there are more queues than one visit can ask, each begins where another is first.
    visits: usize,
}

/// How many messages of a queue are in each part, in the order of [`PARTS`]. A part that was not told is an error only for those who count it.
type Depth = [Result<f64, Error>; 3];

impl Source for Sqs {
    type Address = Address;
    type Ask = Ask;

    fn ask_of(ask: &super::Ask) -> Option<&Ask> {
        let super::Ask::Sqs(ask) = ask else { return None };
        Some(ask)
    }

    fn connect(to: &Address, keys: &Credentials, _: Clock) -> Result<Self, Error> {
        let at: Arc<str> = to.to_string().into();
        let http = carrier::client(&at)?;
        let region = Region::new(to.region.clone());
        // The visit keeps the time and tries again at the next poll: nothing is left to the library's own retries.
        let mut config = Builder::new()
            .behavior_version(BehaviorVersion::latest())
            .region(region.clone())
            .http_client(http.clone())
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        config.set_endpoint_url(to.endpoint.clone());
        let config = match to.login {
            Login::Keys => {
                let text = |usage: &'static str| fault::text(&at, keys, usage);
                let (id, secret) = (text("access-key")?, text("secret-key")?);
                config.credentials_provider(AwsKeys::new(id, secret, None, None, "penstock"))
            }
            Login::Pod => config.credentials_provider(carrier::pod(http, region, None)),
        };
        Ok(Self { at, client: Client::from_conf(config.build()), visits: 0 })
    }

    /// Any answer will do that is no refusal of the login itself: whoever may read a queue need not be allowed to list them.
    async fn greet(&mut self, deadline: Instant) -> Result<(), Error> {
        let asked = self.client.list_queues().max_results(1).send();
        let answer = tokio::time::timeout_at(deadline, asked).await;
        match answer.map_err(|_| self.late())? {
            Ok(_) => Ok(()),
            Err(error) => {
                let error = refusal::error(&self.at, "its queues", &error);
                if matches!(error, Error::AccessDenied { .. }) { Ok(()) } else { Err(error) }
            }
        }
    }

    async fn read(&mut self, asks: &[Asked<'_, Ask>], deadline: Instant) -> Vec<Answer> {
        let mut urls: Vec<&str> = asks.iter().map(|asked| asked.ask.queue_url.as_str()).collect();
        urls.sort_unstable();
        urls.dedup();
        self.visits = self.visits.wrapping_add(1);
        let first = self.visits.wrapping_mul(AT_ONCE * 25).checked_rem(urls.len());
        urls.rotate_left(first.unwrap_or(0));
        let this = &*self;
        let all: Vec<_> = urls
            .into_iter()
            .map(|url| async move { (url, this.depth(url, deadline).await) })
            .collect();
        let depths: BTreeMap<&str, Result<Depth, Error>> =
            futures::stream::iter(all).buffer_unordered(AT_ONCE).collect().await;
        asks.iter().map(|asked| self.answer(asked.ask, &depths)).collect()
    }

    fn inherit(&mut self, _: &mut Self) {}

    fn forget(&mut self, _: &[&Ask]) {}

    async fn close(self) {}
}

impl Sqs {
    async fn depth(&self, url: &str, deadline: Instant) -> Result<Depth, Error> {
        let about = title(url);
        let asked = self.client.get_queue_attributes().queue_url(url);
        let asked = asked.set_attribute_names(Some(PARTS.to_vec())).send();
        let answer = tokio::time::timeout_at(deadline, asked).await;
        let answer = answer
            .map_err(|_| self.late())?
            .map_err(|error| refusal::error(&self.at, &about, &error))?;
        let said = answer.attributes();
        Ok(PARTS.map(|part| {
            let text = said.and_then(|said| said.get(&part));
            let text = text.ok_or_else(|| Error::EmptyAnswer {
                at: Arc::clone(&self.at),
                about: format!("{about} for {part}"),
            })?;
            // A count is digits: what else parses as a number is none.
            let count = text.parse::<u32>().ok().map(f64::from);
            count.ok_or_else(|| unusable(&self.at, &format!("{about} for {part}"), text))
        }))
    }

    fn answer(&self, ask: &Ask, depths: &BTreeMap<&str, Result<Depth, Error>>) -> Answer {
        let depth = depths.get(ask.queue_url.as_str()).cloned();
        let depth = depth.ok_or_else(|| Error::InternalError { at: Arc::clone(&self.at) })??;
        let [visible, in_flight, delayed] = depth;
        let mut sum = visible?;
        if ask.in_flight {
            sum += in_flight?;
        }
        if ask.delayed {
            sum += delayed?;
        }
        let value: Value = Unit::Backlog.value(&self.at, &title(&ask.queue_url), sum)?;
        Ok((value, None))
    }

    fn late(&self) -> Error {
        Error::Timeout { at: Arc::clone(&self.at), detail: "waited for its answer".to_owned() }
    }
}

/// How errors call a queue: by the last part of its URL.
fn title(url: &str) -> String {
    let name = url.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    format!("queue {name}")
}
