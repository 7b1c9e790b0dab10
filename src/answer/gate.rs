//! Who may look at what where the page is open: the API server says whose a token is (`TokenReview`), and what he may list (`SubjectAccessReview`). Called
//! by `page/entrance.rs` for each request. What it said is kept for a short while by a hash of the token; the token itself for no longer than a request.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use futures::{StreamExt, TryStreamExt, stream};
use http_body_util::{BodyExt, Limited};
use k8s_openapi::Resource;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec, SubjectAccessReviewStatus,
};
use kube::Client;
use kube::api::PostParams;
use kube::client::Body;
use kube::core::Request;
use ring::digest::{SHA256, digest};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::sight::{Pipelines, Sight};

/// How long a yes is believed.
const YES: Duration = Duration::from_mins(1);
/// How long a no is believed.
const NO: Duration = Duration::from_secs(10);
/// Within this time somebody is let in or not.
const DEADLINE: Duration = Duration::from_secs(5);
/// Reviews of one queue on their way at any moment, for all who ask.
const AT_ONCE: usize = 8;
/// Reviews of one queue that wait until others are done.
const WAITING: usize = 256;
/// An answer of the API server's is never larger than this.
const ANSWER_LIMIT: usize = 1 << 20;
/// For so long after a yes somebody is asked about before strangers are.
const FAMILIAR: Duration = Duration::from_mins(10);
/// People that are remembered, and tokens that are nobody's.
const PEOPLE: usize = 256;
const STRANGERS: usize = 1024;
/// A fault of the API server's is logged this often at most.
const QUIET: Duration = Duration::from_mins(1);

/// The group of our kinds.
const GROUP: &str = "penstock.dev";

/// Why somebody is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Nobody has this token, by the API server's word.
    Stranger,
    /// The API server does not let us ask.
    Forbidden,
    /// The API server does not answer.
    Silent,
    /// More people ask than it answers for.
    Crowded,
}

/// Lets people in. Cheap to clone; all clones remember the same.
#[derive(Clone)]
pub struct Gate {
    client: Client,
    /// Whom tokens must be for; the API server itself where none is named.
    audiences: Arc<[String]>,
    known: Arc<Mutex<Known>>,
    /// What nobody can fill but people of the cluster, and where strangers wait: these hold up no others.
    people: Arc<Queue>,
    strangers: Arc<Queue>,
}

/// Those whose reviews are on their way, and those who wait for that.
#[derive(Debug)]
struct Queue {
    all: Semaphore,
    places: Semaphore,
}

impl Default for Queue {
    fn default() -> Self {
        Self { all: Semaphore::new(AT_ONCE + WAITING), places: Semaphore::new(AT_ONCE) }
    }
}

/// A review with its answer. The rest, in which the token stands again, is not read.
#[derive(Debug, Deserialize)]
struct Reviewed<S> {
    status: Option<S>,
}

/// A hash of a token.
type Key = [u8; 32];

/// What the API server said, and until when it is believed.
#[derive(Debug, Default)]
struct Known {
    people: BTreeMap<Key, Acquaintance>,
    strangers: BTreeMap<Key, Instant>,
    told: Option<Instant>,
}

#[derive(Debug)]
struct Acquaintance {
    person: Arc<Person>,
    said: BTreeMap<Claim, Said>,
}

/// Whose a token is.
#[derive(Debug)]
pub(super) struct Person {
    pub(super) name: String,
    uid: Option<String>,
    groups: Option<Vec<String>>,
    extra: Option<BTreeMap<String, Vec<String>>>,
    until: Instant,
}

/// What somebody might be allowed to list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Claim {
    /// Pipelines: of a namespace, or of all.
    Pipelines(Option<Arc<str>>),
    Pools,
    Budgets,
}

#[derive(Debug, Clone, Copy)]
struct Said {
    is_allowed: bool,
    until: Instant,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("audiences", &self.audiences).finish_non_exhaustive()
    }
}

impl Gate {
    /// Asks by this client. With audiences, a token must be for one of them.
    pub fn new(client: Client, audiences: Vec<String>) -> Self {
        Self {
            client,
            audiences: audiences.into(),
            known: Arc::default(),
            people: Arc::default(),
            strangers: Arc::default(),
        }
    }

    /// The command that prints a token which is good here.
    pub(super) fn how(&self) -> String {
        let meant_for = self.audiences.first().map(|it| format!(" --audience={it}"));
        format!("kubectl create token NAME{}", meant_for.unwrap_or_default())
    }

    /// How many people are remembered.
    pub fn kept(&self) -> usize {
        let known = self.known();
        known.people.len() + known.strangers.len()
    }

    /// Whose a token is.
    pub(super) async fn who(&self, token: &str) -> Result<Arc<Person>, Refusal> {
        self.within(async { Ok(self.recognise(token).await?.1) }).await
    }

    /// Whose a token is, and what he may see of what lies in these namespaces.
    pub(super) async fn sight(
        &self,
        token: &str,
        namespaces: &BTreeSet<Arc<str>>,
    ) -> Result<(Arc<Person>, Sight), Refusal> {
        self.within(async {
            let (key, person) = self.recognise(token).await?;
            let everywhere = Claim::Pipelines(None);
            let general = [everywhere.clone(), Claim::Pools, Claim::Budgets];
            let mut said = self.all_said(key, &person, general).await?;
            let is_allowed = |said: &BTreeMap<Claim, Said>, claim: &Claim| {
                said.get(claim).is_some_and(|said| said.is_allowed)
            };
            let pipelines = if is_allowed(&said, &everywhere) {
                Pipelines::Everywhere
            } else {
                let claim = |namespace: &Arc<str>| Claim::Pipelines(Some(Arc::clone(namespace)));
                let each = namespaces.iter().map(claim);
                said.extend(self.all_said(key, &person, each).await?);
                let is_seen = |it: &&Arc<str>| is_allowed(&said, &claim(it));
                Pipelines::In(Arc::new(namespaces.iter().filter(is_seen).cloned().collect()))
            };
            let granted = said.values().filter(|said| said.is_allowed).map(|said| said.until);
            let until = granted.fold(person.until, Instant::min);
            let pools = is_allowed(&said, &Claim::Pools);
            let budgets = is_allowed(&said, &Claim::Budgets);
            Ok((person, Sight { pipelines, pools, budgets, until: Some(until) }))
        })
        .await
    }

    async fn within<T>(
        &self,
        found: impl Future<Output = Result<T, Refusal>>,
    ) -> Result<T, Refusal> {
        timeout(DEADLINE, found).await.unwrap_or_else(|_| {
            self.told(&"no answer within 5 s");
            Err(Refusal::Silent)
        })
    }

    async fn recognise(&self, token: &str) -> Result<(Key, Arc<Person>), Refusal> {
        let key = key(token);
        let queue = {
            let known = self.known();
            if let Some(known) = known.recognise(&key) {
                return known.map(|person| (key, person));
            }
            if known.people.contains_key(&key) { &self.people } else { &self.strangers }
        };
        let audiences = (!self.audiences.is_empty()).then(|| self.audiences.to_vec());
        let spec = TokenReviewSpec { token: Some(token.to_owned()), audiences };
        let review = TokenReview { spec, ..TokenReview::default() };
        let status = self.reviewed::<_, TokenReviewStatus>(queue, &review).await?;
        let person = status.and_then(|status| self.person(status));
        self.known().meet(key, person).map(|person| (key, person)).ok_or(Refusal::Stranger)
    }

    /// Who it is; `None` unless the API server says outright that the token is good, whose it is, and that it is meant for us.
    fn person(&self, status: TokenReviewStatus) -> Option<Person> {
        let meant_for = status.audiences.unwrap_or_default();
        let is_ours = self.audiences.is_empty()
            || self.audiences.iter().any(|audience| meant_for.contains(audience));
        let user = status.user.filter(|_| is_ours && status.authenticated == Some(true))?;
        let name = user.username.filter(|it| !it.is_empty() && it != "system:anonymous")?;
        let until = Instant::now() + YES;
        Some(Person { name, uid: user.uid, groups: user.groups, extra: user.extra, until })
    }

    /// What is said of each claim: as it was a moment ago, else asked anew.
    async fn all_said(
        &self,
        key: Key,
        person: &Arc<Person>,
        claims: impl IntoIterator<Item = Claim>,
    ) -> Result<BTreeMap<Claim, Said>, Refusal> {
        let (mut said, mut open) = (BTreeMap::new(), Vec::new());
        {
            let (known, now) = (self.known(), Instant::now());
            let before = known.people.get(&key).map(|it| &it.said);
            for claim in claims {
                match before.and_then(|it| it.get(&claim)).filter(|said| now < said.until) {
                    Some(fresh) => drop(said.insert(claim, *fresh)),
                    None => open.push(claim),
                }
            }
        }
        let asked = stream::iter(open).map(async |claim| {
            let said = self.said(person, &claim).await?;
            // Kept at once: whoever comes back after the deadline need not begin anew.
            let mut known = self.known();
            let it = known.people.get_mut(&key).filter(|it| Arc::ptr_eq(&it.person, person));
            if let Some(it) = it {
                it.said.insert(claim.clone(), said);
            }
            drop(known);
            Ok((claim, said))
        });
        let asked: Vec<_> = asked.buffer_unordered(AT_ONCE).try_collect().await?;
        said.extend(asked);
        Ok(said)
    }

    async fn said(&self, person: &Person, claim: &Claim) -> Result<Said, Refusal> {
        let (resource, namespace) = match claim {
            Claim::Pipelines(namespace) => ("scaledpipelines", namespace.as_deref()),
            Claim::Pools => ("capacitypools", None),
            Claim::Budgets => ("capacitybudgets", None),
        };
        let spec = SubjectAccessReviewSpec {
            user: Some(person.name.clone()),
            uid: person.uid.clone(),
            groups: person.groups.clone(),
            extra: person.extra.clone(),
            resource_attributes: Some(ResourceAttributes {
                group: Some(GROUP.to_owned()),
                resource: Some(resource.to_owned()),
                verb: Some("list".to_owned()),
                namespace: namespace.map(str::to_owned),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        };
        let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
        let status = self.reviewed::<_, SubjectAccessReviewStatus>(&self.people, &review).await?;
        let is_allowed = status.is_some_and(|it| it.allowed && it.denied != Some(true));
        let until = Instant::now() + if is_allowed { YES } else { NO };
        Ok(Said { is_allowed, until })
    }

    /// What the API server says of a review. Asked by hand: kube logs the whole of what it cannot read, and so the token.
    async fn reviewed<K, S>(&self, queue: &Queue, review: &K) -> Result<Option<S>, Refusal>
    where
        K: Resource + Serialize,
        S: DeserializeOwned,
    {
        let Ok(_waiting) = queue.all.try_acquire() else { return Err(Refusal::Crowded) };
        let Ok(_place) = queue.places.acquire().await else { return Err(Refusal::Silent) };
        let silent = |why: &dyn fmt::Display| {
            self.told(why);
            Refusal::Silent
        };
        let path = format!("/apis/{}/{}/{}", K::GROUP, K::VERSION, K::URL_PATH_SEGMENT);
        let body = serde_json::to_vec(review).map_err(|error| silent(&error))?;
        let request = Request::new(path).create(&PostParams::default(), body);
        let request = request.map_err(|error| silent(&error))?.map(Body::from);
        let response = self.client.send(request).await.map_err(|error| silent(&error))?;
        // What it says may repeat what it was sent: where that is no answer, its code is enough.
        let code = response.status();
        if !code.is_success() {
            self.told(&code);
            let is_forbidden = code == StatusCode::FORBIDDEN;
            return Err(if is_forbidden { Refusal::Forbidden } else { Refusal::Silent });
        }
        let body = Limited::new(response.into_body(), ANSWER_LIMIT).collect().await;
        let body = body.map_err(|error| silent(&error))?.to_bytes();
        let reviewed = serde_json::from_slice::<Reviewed<S>>(&body);
        Ok(reviewed.map_err(|_| silent(&"its answer cannot be read"))?.status)
    }

    fn told(&self, error: &dyn fmt::Display) {
        let (mut known, now) = (self.known(), Instant::now());
        if known.told.is_none_or(|told| QUIET <= now - told) {
            known.told = Some(now);
            tracing::warn!(
                %error,
                "the API server does not say who asks for the page, and until it does nobody is let in"
            );
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Who it is, or that it is nobody; `None` where that has to be asked.
    fn recognise(&self, key: &Key) -> Option<Result<Arc<Person>, Refusal>> {
        let now = Instant::now();
        if self.strangers.get(key).is_some_and(|until| now < *until) {
            return Some(Err(Refusal::Stranger));
        }
        let person = &self.people.get(key)?.person;
        (now < person.until).then(|| Ok(Arc::clone(person)))
    }

    /// Keeps whose a token is. Who was met meanwhile stays who he is, with all that is known of him.
    fn meet(&mut self, key: Key, person: Option<Person>) -> Option<Arc<Person>> {
        let now = Instant::now();
        self.people.retain(|_, it| now < it.person.until + FAMILIAR);
        self.strangers.retain(|_, until| now < *until);
        let Some(person) = person else {
            self.people.remove(&key);
            make_room(&mut self.strangers, STRANGERS, |until| *until);
            self.strangers.insert(key, now + NO);
            return None;
        };
        if let Some(before) = self.people.get(&key).filter(|it| now < it.person.until) {
            return Some(Arc::clone(&before.person));
        }
        let person = Arc::new(person);
        self.people.remove(&key);
        make_room(&mut self.people, PEOPLE, |it| it.person.until);
        let met = Acquaintance { person: Arc::clone(&person), said: BTreeMap::new() };
        self.people.insert(key, met);
        Some(person)
    }
}

/// Where there are as many as may be, the one goes that would go next.
fn make_room<T>(all: &mut BTreeMap<Key, T>, most: usize, until: impl Fn(&T) -> Instant) {
    if most <= all.len() {
        let next = all.iter().min_by_key(|(_, it)| until(it)).map(|(key, _)| *key);
        next.and_then(|key| all.remove(&key));
    }
}

fn key(token: &str) -> Key {
    let mut key = Key::default();
    key.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    key
}
