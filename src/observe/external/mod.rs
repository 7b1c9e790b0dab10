//! Scalers of another make, asked in KEDA's external scaler protocol: is there work, how much, and how much of it one replica serves. One
//! connection for each address; a scaler that streams has its questions asked out of turn when it says that there is work.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::time::Instant;

mod call;
mod streams;

use call::Caller;
use streams::Streams;

use super::figure::{Unit, unusable};
use super::{Answer, Asked, Credentials, Error, Source};
use crate::clock::Clock;
use crate::proto::external_scaler::{GetMetricSpecResponse, GetMetricsResponse, ScaledObjectRef};

/// Asks on their way at once.
const AT_ONCE: usize = 32;
/// What a scaler says of its metrics is believed for so long.
const SPEC_LIFE: Duration = Duration::from_mins(1);
/// There is work, says the scaler, and counts none: more than nothing, less than anything.
const SOME: f64 = 1e-6;

/// A scaler and how to log in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// Sets addresses of one server with different credentials apart: the Connection's `namespace/name`.
    pub connection: String,
    /// `host:port`.
    pub host: String,
    /// Speak TLS? With `ca` from the credentials, else the system's roots; with `cert` and `key` also mutual.
    pub tls: bool,
    /// Send `username` and `password` of the credentials, as HTTP's basic authentication does?
    pub basic: bool,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)
    }
}

/// What to ask a scaler.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ask {
    /// For whom: what KEDA would call the `ScaledObject`'s namespace.
    pub namespace: String,
    /// And its name.
    pub name: String,
    /// Passed on.
    pub metadata: BTreeMap<String, String>,
    /// Which of its metrics counts; `None` for the first.
    pub metric: Option<String>,
    /// Is the value counted in targets of the scaler's own, so that 1 is one replica's share? Else it is taken as it is.
    pub in_targets: bool,
}

impl Ask {
    fn object(&self) -> ScaledObjectRef {
        ScaledObjectRef {
            name: self.name.clone(),
            namespace: self.namespace.clone(),
            scaler_metadata: self.metadata.clone(),
        }
    }
}

/// One metric of a scaler: its name, and what one replica serves of it.
#[derive(Debug, Clone, PartialEq)]
struct Spec {
    metric: String,
    target: f64,
}

/// A scaler, visited.
pub(crate) struct External {
    caller: Caller,
    specs: BTreeMap<Ask, (Spec, Instant)>,
    streams: Streams,
}

impl Source for External {
    type Address = Address;
    type Ask = Ask;

    fn ask_of(ask: &super::Ask) -> Option<&Ask> {
        let super::Ask::External(ask) = ask else { return None };
        Some(ask)
    }

    fn connect(to: &Address, keys: &Credentials, _: Clock) -> Result<Self, Error> {
        let caller = Caller::new(to, keys)?;
        Ok(Self { caller, specs: BTreeMap::new(), streams: Streams::default() })
    }

    async fn greet(&mut self, deadline: Instant) -> Result<(), Error> {
        self.caller.greet(deadline).await
    }

    async fn read(&mut self, asks: &[Asked<'_, Ask>], deadline: Instant) -> Vec<Answer> {
        let distinct: BTreeSet<&Ask> = asks.iter().map(|asked| asked.ask).collect();
        let now = Instant::now();
        let all: Vec<_> = distinct
            .into_iter()
            .map(|ask| {
                let known = self.specs.get(ask).filter(|(_, until)| now < *until);
                let known = known.map(|(spec, _)| spec.clone());
                let caller = self.caller.clone();
                async move { (ask, asked(&caller, ask, known, deadline).await) }
            })
            .collect();
        let found: BTreeMap<&Ask, Result<(f64, Spec), Error>> =
            futures::stream::iter(all).buffer_unordered(AT_ONCE).collect().await;
        for (ask, found) in &found {
            match found {
                Ok((_, spec)) => {
                    let until = now + SPEC_LIFE;
                    self.specs.entry((*ask).clone()).or_insert_with(|| (spec.clone(), until));
                    self.streams.open((*ask).clone(), &self.caller);
                }
                Err(_) => drop(self.specs.remove(*ask)),
            }
        }
        self.specs.retain(|_, (_, until)| now < *until);
        let at = self.caller.at();
        let answer = |asked: &Asked<'_, Ask>| match found.get(asked.ask) {
            Some(Ok((value, _))) => {
                let value = Unit::Gauge.value(at, &about(asked.ask), *value)?;
                Ok((value, None))
            }
            Some(Err(error)) => Err(error.clone()),
            None => Err(Error::InternalError { at: Arc::clone(at) }),
        };
        asks.iter().map(answer).collect()
    }

    async fn stir(&mut self) {
        self.streams.stir().await;
    }

    fn inherit(&mut self, old: &mut Self) {
        self.specs = std::mem::take(&mut old.specs);
    }

    fn forget(&mut self, in_force: &[&Ask]) {
        self.specs.retain(|ask, _| in_force.contains(&ask));
        self.streams.forget(in_force);
    }

    async fn close(self) {}
}

/// How errors call what is asked.
fn about(ask: &Ask) -> String {
    match &ask.metric {
        Some(metric) => format!("metric {metric} for {}/{}", ask.namespace, ask.name),
        None => format!("the metric for {}/{}", ask.namespace, ask.name),
    }
}

/// One ask: what the metric is, how much of it there is, and whether there is work at all.
async fn asked(
    caller: &Caller,
    ask: &Ask,
    known: Option<Spec>,
    deadline: Instant,
) -> Result<(f64, Spec), Error> {
    let at = caller.at();
    let spec = match known {
        Some(spec) => spec,
        None => spec(at, ask, caller.specs(ask, deadline).await?)?,
    };
    let (metrics, is_active) = futures::join!(
        caller.metrics(ask, &spec.metric, deadline),
        caller.is_active(ask, deadline)
    );
    let (metrics, is_active) = (metrics?, is_active?);
    let value = value(at, ask, &spec.metric, &metrics)?;
    // Refuses what is no count, whether there is work or not.
    Unit::Gauge.value(at, &about(ask), value)?;
    let value = if ask.in_targets { value / spec.target } else { value };
    Ok((if is_active { value.max(SOME) } else { 0.0 }, spec))
}

/// The metric that counts.
fn spec(at: &Arc<str>, ask: &Ask, said: GetMetricSpecResponse) -> Result<Spec, Error> {
    let named = |spec: &crate::proto::external_scaler::MetricSpec| {
        ask.metric.as_ref().is_none_or(|metric| *metric == spec.metric_name)
    };
    let found = said.metric_specs.into_iter().find(named).ok_or_else(|| match &ask.metric {
        Some(metric) => Error::NotFound { at: Arc::clone(at), what: format!("metric {metric}") },
        None => Error::EmptyAnswer { at: Arc::clone(at), about: about(ask) },
    })?;
    let target = newer(found.target_size_float, found.target_size);
    if ask.in_targets && !(target.is_finite() && 0.0 < target) {
        return Err(unusable(at, &format!("the target of {}", about(ask)), &target.to_string()));
    }
    Ok(Spec { metric: found.metric_name, target })
}

/// The value of the metric.
fn value(at: &Arc<str>, ask: &Ask, metric: &str, said: &GetMetricsResponse) -> Result<f64, Error> {
    let values = said.metric_values.as_slice();
    let only = if let [only] = values { Some(only) } else { None };
    let found = values.iter().find(|value| value.metric_name == metric).or(only);
    match (found, values.len()) {
        (Some(value), _) => Ok(newer(value.metric_value_float, value.metric_value)),
        (None, 0) => Err(Error::EmptyAnswer { at: Arc::clone(at), about: about(ask) }),
        (None, count) => Err(Error::ManyValues { at: Arc::clone(at), about: about(ask), count }),
    }
}

/// The number of the field that came later, unless it was left out. What is no number stays none: it never gives way to the older field.
#[expect(clippy::cast_precision_loss, reason = "beyond 2^53 it is refused")]
fn newer(float: f64, whole: i64) -> f64 {
    if float == 0.0 { whole as f64 } else { float }
}
