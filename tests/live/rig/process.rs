//! A server as a child process: started, asked whether it is ready, hurt and stopped. Called by every server of the rig.
//!
//! It leads a process group of its own, is killed with it when dropped, and the kernel kills it when this process ends before.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::folder;

/// What to run.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    path: PathBuf,
    arguments: Vec<String>,
    folder: Option<PathBuf>,
    environment: Vec<(String, String)>,
}

impl Program {
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), arguments: Vec::new(), folder: None, environment: Vec::new() }
    }

    pub(crate) fn arg(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    pub(crate) fn args<T: Into<String>>(mut self, arguments: impl IntoIterator<Item = T>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// A variable of its environment, beside those of this process.
    pub(crate) fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// The folder to run in; else this process's own.
    pub(crate) fn in_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Runs it to its end. Its output, or an error with what it said.
    pub(crate) async fn run(&self) -> Result<String> {
        self.fed(Stdio::null()).await
    }

    /// The same, fed with a file.
    pub(crate) async fn run_on(&self, file: &Path) -> Result<String> {
        self.fed(fs::File::open(file).context("open its input")?.into()).await
    }

    async fn fed(&self, input: Stdio) -> Result<String> {
        let mut command = tokio::process::Command::new(&self.path);
        command.args(&self.arguments).kill_on_drop(true).stdin(input);
        command.envs(self.environment.iter().cloned());
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        let name = self.path.display();
        let output = command.output().await.with_context(|| format!("start {name}"))?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            bail!(
                "{name} {:?} ended with {}: {said}{}",
                self.arguments,
                output.status,
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(said)
    }

    fn command(&self, log: &Path) -> Result<Command> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("open {}", log.display()))?;
        // setpriv becomes the program: the process id is the server's own.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(&self.path).args(&self.arguments);
        command.envs(self.environment.iter().cloned());
        command.process_group(0).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        Ok(command)
    }
}

/// What a process has used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Time on a processor, of all its threads, since its start.
    pub(crate) cpu: Duration,
    /// Bytes of memory now.
    pub(crate) resident: u64,
    /// Bytes of memory at most.
    pub(crate) peak: u64,
    pub(crate) threads: u32,
}

/// A running (or stopped) server. All that hurts it takes `&self`, so that a test may do so while others use it.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    program: Program,
    log: PathBuf,
    child: Mutex<Option<Child>>,
}

impl Process {
    /// Starts a program; its output goes to `NAME.log` in the folder. It may be a while before it is ready.
    pub(crate) fn start(name: &str, program: Program, folder: &Path) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let process = Self { name: name.to_owned(), program, log, child: Mutex::new(None) };
        process.start_again()?;
        Ok(process)
    }

    /// Starts it again with the same arguments, so on the same ports and data; nothing happens when it runs.
    pub(crate) fn start_again(&self) -> Result<()> {
        let mut child = self.child();
        if child.is_none() {
            let started = spawn(self.program.command(&self.log)?);
            *child =
                Some(started.with_context(|| format!("start {}", self.program.path.display()))?);
        }
        Ok(())
    }

    /// The process id; an error when it was stopped.
    pub(crate) fn pid(&self) -> Result<u32> {
        self.child()
            .as_ref()
            .map(Child::id)
            .with_context(|| format!("{} is not running", self.name))
    }

    /// Waits until `ask` is content. Fails, with the end of the log, at the deadline or as soon as the process ends.
    #[expect(
        clippy::print_stderr,
        reason = "the harness shows it when the test fails, and `--nocapture` always"
    )]
    pub(crate) async fn ready(
        &self,
        deadline: Duration,
        mut ask: impl AsyncFnMut() -> Result<()>,
    ) -> Result<()> {
        let begun = tokio::time::Instant::now();
        let mut ended = None;
        let asked = super::until(&format!("{} to be ready", self.name), deadline, async || {
            ended = self.ended()?;
            if ended.is_some() { Ok(Some(())) } else { ask().await.map(Some) }
        })
        .await;
        let why = match ended {
            Some(status) => {
                anyhow::anyhow!("{} ended with {status} instead of getting ready", self.name)
            }
            None => match asked {
                Ok(()) => {
                    eprintln!("{} was ready after {:?}", self.name, begun.elapsed());
                    return Ok(());
                }
                Err(error) => error,
            },
        };
        Err(why.context(format!("{}'s log ends with:\n{}", self.name, self.log_end()?)))
    }

    /// SIGKILL: it gets no chance to tidy up.
    pub(crate) fn kill9(&self) {
        if let Some(mut child) = self.child().take() {
            let _ = killpg(group(&child), Signal::SIGKILL);
            drop(child.wait());
        }
    }

    /// SIGTERM, and how it ended; an error if it had to be killed after 30 s.
    pub(crate) async fn stop(&self) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        self.end(Duration::from_secs(30)).await
    }

    /// How it ended, once it ends by itself; an error, and it is killed, if it has not by the deadline.
    pub(crate) async fn end(&self, deadline: Duration) -> Result<ExitStatus> {
        let ended =
            super::until(&format!("{} to end", self.name), deadline, async || self.ended()).await;
        // Also when it ended: what it started must not outlive it.
        self.kill9();
        ended
    }

    /// SIGSTOP: it keeps its connections and answers nothing.
    pub(crate) fn freeze(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// SIGCONT: it goes on as if no time had passed.
    pub(crate) fn thaw(&self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    /// What it has used so far.
    pub(crate) fn usage(&self) -> Result<Usage> {
        let pid = self.pid()?;
        let read = |file: &str| {
            let path = format!("/proc/{pid}/{file}");
            fs::read_to_string(&path).with_context(|| format!("read {path}"))
        };
        // After the name, which may have blanks and ends with the last bracket: field 12 and 13 are user and system time.
        let stat = read("stat")?;
        let fields: Vec<_> =
            stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
        let status = read("status")?;
        let size = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let size = line
                .and_then(|rest| rest.split_whitespace().nth(0))
                .and_then(|number| number.parse::<u64>().ok());
            size.map(|kib| kib * 1024)
                .with_context(|| format!("no {name} in the status of process {pid}"))
        };
        // A tick is 10 ms on every Linux that we run on.
        let cpu = Duration::from_millis(ticks * 10);
        Ok(Usage {
            cpu,
            resident: size("VmRSS:")?,
            peak: size("VmHWM:")?,
            threads: fields[17].parse()?,
        })
    }

    /// All that it wrote so far.
    pub(crate) fn log(&self) -> Result<String> {
        let bytes = fs::read(&self.log).with_context(|| format!("read {}", self.log.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn log_end(&self) -> Result<String> {
        let log = self.log()?;
        let lines: Vec<_> = log.lines().collect();
        Ok(lines[lines.len().saturating_sub(30)..].join("\n"))
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let child = self.child();
        let child = child.as_ref().with_context(|| format!("{} is not running", self.name))?;
        killpg(group(child), signal).with_context(|| format!("send {signal} to {}", self.name))
    }

    fn ended(&self) -> Result<Option<ExitStatus>> {
        self.child()
            .as_mut()
            .with_context(|| format!("{} was stopped", self.name))?
            .try_wait()
            .context("ask for a child's state")
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            folder::keep();
        }
        self.kill9();
    }
}

fn group(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}

/// All children are started by one thread that never ends: the kernel takes the end of the starting thread for the end of the
/// parent, and each test has a thread of its own.
fn spawn(command: Command) -> io::Result<Child> {
    type Order = (Command, mpsc::Sender<io::Result<Child>>);
    static ORDERS: OnceLock<mpsc::Sender<Order>> = OnceLock::new();
    let orders = ORDERS.get_or_init(|| {
        let (orders, waiting) = mpsc::channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, answer) in waiting {
                drop(answer.send(command.spawn()));
            }
        });
        orders
    });
    let (answer, answered) = mpsc::channel();
    orders.send((command, answer)).map_err(io::Error::other)?;
    answered.recv().map_err(io::Error::other)?
}

/// How many TCP connections the process has open to a port of this machine.
pub(crate) fn connections_to(port: u16, pid: u32) -> Result<usize> {
    let mut sockets = Vec::new();
    for file in fs::read_dir(format!("/proc/{pid}/fd"))
        .with_context(|| format!("list the files of process {pid}"))?
        .flatten()
    {
        if let Ok(to) = fs::read_link(file.path())
            && let Some(inode) = to
                .to_string_lossy()
                .strip_prefix("socket:[")
                .and_then(|rest| rest.strip_suffix(']'))
        {
            sockets.push(inode.to_owned());
        }
    }
    let port = format!(":{port:04X}");
    let mut open = 0;
    for table in ["tcp", "tcp6"] {
        let table = fs::read_to_string(format!("/proc/{pid}/net/{table}"))
            .context("read the table of connections")?;
        // Fields: number, local address, remote address, state (01 is established), five more, then the inode.
        open += table
            .lines()
            .skip(1)
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .filter(|line| {
                line[2].ends_with(&port)
                    && line[3] == "01"
                    && sockets.iter().any(|inode| inode == line[9])
            })
            .count();
    }
    Ok(open)
}
