//! A Kafka broker of a few lines, for what librdkafka's mock cannot do: lose partitions, swap clusters, ask for a password, cut the line,
//! and count what it is asked. Speaks the oldest versions that we do, written down here a second time and independently.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// What the broker knows and does.
#[derive(Default)]
pub(super) struct State {
    pub(super) cluster: String,
    /// Start and end of each partition.
    pub(super) topics: BTreeMap<String, Vec<(i64, i64)>>,
    /// By how much every partition grows before each of the next answers to `ListOffsets`.
    pub(super) bursts: VecDeque<i64>,
    pub(super) commits: BTreeMap<(String, String, i32), i64>,
    /// Topics that nobody may describe.
    pub(super) denied: BTreeSet<String>,
    /// Partitions left out of the answer to `ListOffsets`.
    pub(super) unsaid: BTreeSet<(String, i32)>,
    /// The password of user `penstock`; none for no login.
    pub(super) password: Option<String>,
    /// Requests by their number in the protocol.
    pub(super) requests: BTreeMap<i16, usize>,
    /// Questions for the commits of each group.
    pub(super) fetches: BTreeMap<String, usize>,
    /// Who is in each group; `None` as a whole: it does not know how to describe groups.
    pub(super) crews: Option<BTreeMap<String, Crew>>,
    /// The groups of each request to describe some.
    pub(super) described: Vec<Vec<String>>,
    /// What becomes of such requests.
    pub(super) manners: Manners,
    pub(super) connections: usize,
    pub(super) logins_refused: usize,
}

/// A group's members.
#[derive(Clone)]
pub(super) struct Crew {
    pub(super) error: i16,
    pub(super) state: &'static str,
    /// Id and assignment of each.
    pub(super) members: Vec<(String, Vec<u8>)>,
}

/// How requests to describe groups are met.
#[derive(Default, Clone, Copy)]
pub(super) enum Manners {
    #[default]
    Answers,
    /// With the first half of an answer.
    HalfAnswers,
    NeverAnswers,
    HangsUp,
}

pub(super) struct Broker {
    pub(super) address: String,
    state: Arc<Mutex<State>>,
    cut: Arc<Mutex<CancellationToken>>,
    tasks: JoinSet<()>,
}

pub(super) const LIST_OFFSETS: i16 = 2;
pub(super) const OFFSET_FETCH: i16 = 9;

impl Broker {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let port = i32::from(listener.local_addr().unwrap().port());
        let state = Arc::new(Mutex::new(State { cluster: "first".into(), ..State::default() }));
        let cut: Arc<Mutex<CancellationToken>> = Arc::default();
        let mut tasks = JoinSet::new();
        let (shared, line) = (Arc::clone(&state), Arc::clone(&cut));
        tasks.spawn(async move {
            let mut served = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let cut = line.lock().unwrap().clone();
                if cut.is_cancelled() {
                    continue;
                }
                shared.lock().unwrap().connections += 1;
                let state = Arc::clone(&shared);
                served.spawn(async move {
                    tokio::select! {
                        () = cut.cancelled() => {}
                        _ = serve(stream, &state, port) => {}
                    }
                });
            }
        });
        Self { address, state, cut, tasks }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(super) fn topic(&self, name: &str, partitions: &[(i64, i64)]) {
        self.state().topics.insert(name.to_owned(), partitions.to_vec());
    }

    pub(super) fn commit(&self, group: &str, topic: &str, partition: i32, offset: i64) {
        self.state().commits.insert((group.to_owned(), topic.to_owned(), partition), offset);
    }

    /// How often the commits of a group were asked for.
    pub(super) fn fetches(&self, group: &str) -> usize {
        self.state().fetches.get(group).copied().unwrap_or(0)
    }

    pub(super) fn requests(&self, api: i16) -> usize {
        self.state().requests.get(&api).copied().unwrap_or(0)
    }

    /// Hangs up on everybody, now and until mended.
    pub(super) fn cut(&self) {
        self.cut.lock().unwrap().cancel();
    }

    pub(super) fn mend(&self) {
        *self.cut.lock().unwrap() = CancellationToken::new();
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.cut();
        self.tasks.abort_all();
    }
}

async fn serve(mut stream: TcpStream, state: &Mutex<State>, port: i32) -> std::io::Result<()> {
    let mut is_in = state.lock().unwrap().password.is_none();
    loop {
        let mut request = vec![0; usize::try_from(stream.read_i32().await?).unwrap()];
        stream.read_exact(&mut request).await?;
        let mut said = In(&request);
        let (api, _version, correlation, _client) =
            (said.i16(), said.i16(), said.i32(), said.string());
        let mut out = Out::default();
        out.i32(correlation);
        {
            let mut state = state.lock().unwrap();
            *state.requests.entry(api).or_default() += 1;
            match api {
                18 => {
                    out.i16(0);
                    let mut known =
                        vec![(2, 2), (3, 4), (9, 3), (10, 1), (17, 1), (18, 0), (36, 0)];
                    known.extend(state.crews.is_some().then_some((15, 1)));
                    out.array(&known, |out, (api, version)| {
                        [*api, *version, *version].map(|n| out.i16(n))
                    });
                }
                17 => {
                    out.i16(0);
                    out.array(&["PLAIN"], |out, name| out.string(name));
                }
                36 => {
                    let token = said.blob().to_vec();
                    let password = state.password.clone().unwrap_or_default();
                    is_in = token == format!("\0penstock\0{password}").into_bytes();
                    state.logins_refused += usize::from(!is_in);
                    out.i16(if is_in { 0 } else { 58 });
                    out.string(if is_in { "" } else { "bad password" });
                    out.i32(0);
                }
                // As a real one does to a client that has not logged in.
                _ if !is_in => return Ok(()),
                3 => metadata(&state, &mut said, &mut out, port),
                2 => {
                    let more = state.bursts.pop_front().unwrap_or(0);
                    let ends = state.topics.values_mut().flatten();
                    ends.for_each(|(_, end)| *end += more);
                    list_offsets(&state, &mut said, &mut out);
                }
                10 => {
                    out.i32(0);
                    out.i16(0);
                    out.string("");
                    out.i32(1);
                    out.string("127.0.0.1");
                    out.i32(port);
                }
                9 => offset_fetch(&mut state, &mut said, &mut out),
                15 => {
                    describe_groups(&mut state, &mut said, &mut out);
                    match state.manners {
                        Manners::Answers => {}
                        Manners::HalfAnswers => out.0.truncate(out.0.len() / 2),
                        Manners::NeverAnswers => continue,
                        Manners::HangsUp => return Ok(()),
                    }
                }
                _ => return Ok(()),
            }
        }
        stream.write_i32(i32::try_from(out.0.len()).unwrap()).await?;
        stream.write_all(&out.0).await?;
    }
}

fn metadata(state: &State, said: &mut In<'_>, out: &mut Out, port: i32) {
    out.i32(0);
    out.array(&[()], |out, ()| {
        out.i32(1);
        out.string("127.0.0.1");
        out.i32(port);
        out.i16(-1);
    });
    out.string(&state.cluster);
    out.i32(1);
    let topics: Vec<String> = (0..said.i32()).map(|_| said.string()).collect();
    out.array(&topics, |out, name| {
        let is_denied = state.denied.contains(name);
        let partitions = state.topics.get(name).filter(|_| !is_denied);
        out.i16(match partitions {
            _ if is_denied => 29,
            Some(_) => 0,
            None => 3,
        });
        out.string(name);
        out.0.push(0);
        let numbers: Vec<i32> = (0..).take(partitions.map_or(0, Vec::len)).collect();
        out.array(&numbers, |out, number| {
            out.i16(0);
            out.i32(*number);
            out.i32(1);
            out.array(&[1], |out, node| out.i32(*node));
            out.array(&[1], |out, node| out.i32(*node));
        });
    });
}

fn list_offsets(state: &State, said: &mut In<'_>, out: &mut Out) {
    said.i32();
    said.take(1);
    out.i32(0);
    let topics: Vec<(String, Vec<(i32, i64)>)> = (0..said.i32())
        .map(|_| (said.string(), (0..said.i32()).map(|_| (said.i32(), said.i64())).collect()))
        .collect();
    out.array(&topics, |out, (name, asked)| {
        out.string(name);
        let said: Vec<_> =
            asked.iter().filter(|(n, _)| !state.unsaid.contains(&(name.clone(), *n))).collect();
        out.array(&said, |out, (number, spec)| {
            let known =
                state.topics.get(name).and_then(|all| all.get(usize::try_from(*number).unwrap()));
            out.i32(*number);
            out.i16(if known.is_some() { 0 } else { 3 });
            out.i64(-1);
            out.i64(known.map_or(-1, |(start, end)| if *spec == -2 { *start } else { *end }));
        });
    });
}

fn offset_fetch(state: &mut State, said: &mut In<'_>, out: &mut Out) {
    let group = said.string();
    *state.fetches.entry(group.clone()).or_default() += 1;
    out.i32(0);
    let topics: Vec<(String, Vec<i32>)> = (0..said.i32())
        .map(|_| (said.string(), (0..said.i32()).map(|_| said.i32()).collect()))
        .collect();
    out.array(&topics, |out, (name, numbers)| {
        out.string(name);
        out.array(numbers, |out, number| {
            let commit = state.commits.get(&(group.clone(), name.clone(), *number));
            out.i32(*number);
            out.i64(commit.copied().unwrap_or(-1));
            out.string("");
            out.i16(0);
        });
    });
    out.i16(0);
}

fn describe_groups(state: &mut State, said: &mut In<'_>, out: &mut Out) {
    let groups: Vec<String> = (0..said.i32()).map(|_| said.string()).collect();
    state.described.push(groups.clone());
    let nobody = Crew { error: 0, state: "Dead", members: Vec::new() };
    out.i32(0);
    out.array(&groups, |out, name| {
        let crew = state.crews.as_ref().and_then(|all| all.get(name)).unwrap_or(&nobody);
        out.i16(crew.error);
        for word in [name, crew.state, "consumer", "range"] {
            out.string(word);
        }
        out.array(&crew.members, |out, (id, assignment)| {
            for word in [id, "client", "/127.0.0.1"] {
                out.string(word);
            }
            out.blob(b"subscription");
            out.blob(assignment);
        });
    });
}

/// What a member is given, as the leader of its group writes it.
pub(super) fn assignment(topic: &str, numbers: &[i32]) -> Vec<u8> {
    let mut out = Out::default();
    out.i16(1);
    out.array(&[topic], |out, topic| {
        out.string(topic);
        out.array(numbers, |out, number| out.i32(*number));
    });
    out.blob(b"");
    out.0
}

/// A request, read from its start.
struct In<'a>(&'a [u8]);

impl<'a> In<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (head, tail) = self.0.split_at(count);
        self.0 = tail;
        head
    }

    fn i16(&mut self) -> i16 {
        i16::from_be_bytes(self.take(2).try_into().unwrap())
    }

    fn i32(&mut self) -> i32 {
        i32::from_be_bytes(self.take(4).try_into().unwrap())
    }

    fn i64(&mut self) -> i64 {
        i64::from_be_bytes(self.take(8).try_into().unwrap())
    }

    fn string(&mut self) -> String {
        let length = usize::try_from(self.i16()).unwrap();
        String::from_utf8(self.take(length).to_vec()).unwrap()
    }

    fn blob(&mut self) -> &'a [u8] {
        let length = usize::try_from(self.i32()).unwrap();
        self.take(length)
    }
}

/// An answer under way.
#[derive(Default)]
struct Out(Vec<u8>);

impl Out {
    fn i16(&mut self, value: i16) {
        self.0.extend(value.to_be_bytes());
    }

    fn i32(&mut self, value: i32) {
        self.0.extend(value.to_be_bytes());
    }

    fn i64(&mut self, value: i64) {
        self.0.extend(value.to_be_bytes());
    }

    fn string(&mut self, value: &str) {
        self.i16(i16::try_from(value.len()).unwrap());
        self.0.extend(value.as_bytes());
    }

    fn blob(&mut self, value: &[u8]) {
        self.i32(i32::try_from(value.len()).unwrap());
        self.0.extend(value);
    }

    fn array<T, R>(&mut self, all: &[T], mut write: impl FnMut(&mut Self, &T) -> R) {
        self.i32(i32::try_from(all.len()).unwrap());
        for one in all {
            write(self, one);
        }
    }
}
