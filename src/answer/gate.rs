//! Who may look at what where the page is open: the API server says whose a token is (`TokenReview`), and what he may list (`SubjectAccessReview`). Called
//! by `page/entrance.rs` for each request. What it said is kept for a short while by a hash of the token; the token itself for no longer than a request.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};
use ring::digest::{SHA256, digest};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::sight::{Pipelines, Sight};

/// How long a yes is believed.
const YES: Duration = Duration::from_mins(1);
/// How long a no is believed.
const NO: Duration = Duration::from_secs(10);
/// Within this time somebody is let in or not.
const DEADLINE: Duration = Duration::from_secs(5);
/// Reviews on their way at any moment, for all who ask.
const AT_ONCE: usize = 8;
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
}

/// Lets people in. Cheap to clone; all clones remember the same.
#[derive(Clone)]
pub struct Gate {
    client: Client,
    /// Whom tokens must be for; the API server itself where none is named.
    audiences: Arc<[String]>,
    known: Arc<Mutex<Known>>,
    reviews: Arc<Semaphore>,
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
        let reviews = Arc::new(Semaphore::new(AT_ONCE));
        Self { client, audiences: audiences.into(), known: Arc::default(), reviews }
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
        if let Some(known) = self.known().recognise(&key) {
            return known.map(|person| (key, person));
        }
        let audiences = (!self.audiences.is_empty()).then(|| self.audiences.to_vec());
        let spec = TokenReviewSpec { token: Some(token.to_owned()), audiences };
        let review = TokenReview { spec, ..TokenReview::default() };
        let reviews = Api::<TokenReview>::all(self.client.clone());
        let status = self.reviewed(&reviews, &review).await?.status;
        let person = status.and_then(|status| self.person(status)).map(Arc::new);
        self.known().meet(key, person.as_ref());
        person.map(|person| (key, person)).ok_or(Refusal::Stranger)
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
        person: &Person,
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
            if let Some(known) = self.known().people.get_mut(&key) {
                known.said.insert(claim.clone(), said);
            }
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
        let reviews = Api::<SubjectAccessReview>::all(self.client.clone());
        let status = self.reviewed(&reviews, &review).await?.status;
        let is_allowed = status.is_some_and(|it| it.allowed && it.denied != Some(true));
        let until = Instant::now() + if is_allowed { YES } else { NO };
        Ok(Said { is_allowed, until })
    }

    async fn reviewed<K>(&self, reviews: &Api<K>, review: &K) -> Result<K, Refusal>
    where
        K: Clone + fmt::Debug + serde::Serialize + serde::de::DeserializeOwned,
    {
        let Ok(_place) = self.reviews.acquire().await else { return Err(Refusal::Silent) };
        reviews.create(&PostParams::default(), review).await.map_err(|error| {
            // What the API server says may repeat what it was sent, and so the token: its code is enough.
            if let kube::Error::Api(status) = &error {
                self.told(&status.code);
                if status.code == 403 { Refusal::Forbidden } else { Refusal::Silent }
            } else if matches!(error, kube::Error::SerdeError(_)) {
                self.told(&"its answer cannot be read");
                Refusal::Silent
            } else {
                self.told(&error);
                Refusal::Silent
            }
        })
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

    fn meet(&mut self, key: Key, person: Option<&Arc<Person>>) {
        let now = Instant::now();
        self.people.retain(|_, it| now < it.person.until);
        self.strangers.retain(|_, until| now < *until);
        if let Some(person) = person {
            let person = Arc::clone(person);
            make_room(&mut self.people, PEOPLE, |it| it.person.until);
            self.people.insert(key, Acquaintance { person, said: BTreeMap::new() });
        } else {
            make_room(&mut self.strangers, STRANGERS, |until| *until);
            self.strangers.insert(key, now + NO);
        }
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
