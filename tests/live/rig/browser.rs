//! A real Chromium without a screen, driven by its `DevTools` protocol over one socket: what a page shows, which keys it takes, what it
//! asks of whom, and what goes wrong in it. Called by the tests of the page. No name but 127.0.0.1 resolves in it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::process::{Process, Program};
use super::{folder, until};

const START: Duration = Duration::from_secs(90);
/// How long a command may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// A browser with one page.
pub(crate) struct Browser {
    socket: WebSocketStream<TcpStream>,
    number: u64,
    /// Where the page asked.
    pub(crate) requests: Vec<String>,
    /// What went wrong in it: exceptions, errors on the console, refused requests.
    pub(crate) errors: Vec<String>,
    /// Bytes that it was sent, as text.
    pub(crate) received: u64,
    /// What was traced since the last [`Self::trace`].
    trace: Trace,
    _process: Process,
}

impl Browser {
    /// Starts it with a profile of its own.
    pub(crate) async fn start() -> Result<Self> {
        let path = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
            .flat_map(|folder| [folder.join("chromium"), folder.join("chromium-browser")])
            .find(|path| path.exists())
            .context("there is no chromium; hint: `make tools` installs the Debian package")?;
        let folder = folder::fresh("chromium")?;
        let profile = folder.join("profile");
        let program = Program::new(path).args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            "--remote-debugging-port=0",
            &format!("--user-data-dir={}", profile.display()),
            "about:blank",
        ]);
        let process = Process::start("chromium", program, &folder)?;
        let mut target = None;
        process
            .ready(START, async || {
                target = Some(page_of(&profile).await?);
                Ok(())
            })
            .await?;
        let (port, path) = target.context("no page")?;
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let url = format!("ws://127.0.0.1:{port}{path}");
        let (socket, _) = tokio_tungstenite::client_async(url, stream).await?;
        let mut browser = Self {
            socket,
            number: 0,
            requests: Vec::new(),
            errors: Vec::new(),
            received: 0,
            trace: Trace::default(),
            _process: process,
        };
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.command(&format!("{domain}.enable"), json!({})).await?;
        }
        Ok(browser)
    }

    /// Shows an address.
    pub(crate) async fn go(&mut self, address: &str) -> Result<()> {
        let gone = self.command("Page.navigate", json!({"url": address})).await?;
        ensure!(gone.get("errorText").is_none(), "{address}: {gone}");
        Ok(())
    }

    /// The window's size in pixels, and whether the system prefers dark.
    pub(crate) async fn look(&mut self, width: u32, height: u32, is_dark: bool) -> Result<()> {
        let size =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.command("Emulation.setDeviceMetricsOverride", size).await?;
        let scheme = if is_dark { "dark" } else { "light" };
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.command("Emulation.setEmulatedMedia", features).await?;
        Ok(())
    }

    /// What an expression comes to in the page.
    pub(crate) async fn value(&mut self, expression: &str) -> Result<Value> {
        let asked = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let said = self.command("Runtime.evaluate", asked).await?;
        ensure!(said.get("exceptionDetails").is_none(), "{expression}: {said}");
        Ok(said["result"].get("value").cloned().unwrap_or_default())
    }

    /// Waits until an expression is true in the page; the error shows what the page says.
    pub(crate) async fn until(&mut self, expression: &str) -> Result<()> {
        let waited = until(expression, PATIENCE, async || {
            Ok((self.value(expression).await? == Value::Bool(true)).then_some(()))
        });
        let waited = waited.await;
        if let Err(error) = waited {
            let text = self.value("document.body.innerText").await?;
            bail!("{error:#}; the page at {} says {text}", self.value("location.href").await?);
        }
        Ok(())
    }

    /// Presses a key, such as `j`, `?`, `Enter` or `Escape`.
    pub(crate) async fn press(&mut self, key: &str) -> Result<()> {
        let (code, text) = match key {
            "Enter" => (13, Some("\r")),
            "Escape" => (27, None),
            key => (0, Some(key)),
        };
        let mut down = json!({"type": if text.is_some() { "keyDown" } else { "rawKeyDown" }, "key": key, "windowsVirtualKeyCode": code});
        if let Some(text) = text {
            down["text"] = text.into();
        }
        self.command("Input.dispatchKeyEvent", down).await?;
        let up = json!({"type": "keyUp", "key": key, "windowsVirtualKeyCode": code});
        self.command("Input.dispatchKeyEvent", up).await?;
        Ok(())
    }

    /// Forgets every file that it keeps.
    pub(crate) async fn forget(&mut self) -> Result<()> {
        self.command("Network.clearBrowserCache", json!({})).await?;
        Ok(())
    }

    /// Notes every task of the page's main thread, until [`Self::traced`].
    pub(crate) async fn trace(&mut self) -> Result<()> {
        self.trace = Trace::default();
        let what = json!({"transferMode": "ReportEvents", "traceConfig": {"includedCategories": [TASKS, "__metadata"]}});
        self.command("Tracing.start", what).await?;
        Ok(())
    }

    /// The tasks since [`Self::trace`].
    pub(crate) async fn traced(&mut self) -> Result<Tasks> {
        self.command("Tracing.end", json!({})).await?;
        let all = tokio::time::timeout(PATIENCE, async {
            while !self.trace.is_complete {
                if let Some(said) = self.message().await? {
                    self.hear(&said);
                }
            }
            anyhow::Ok(())
        });
        all.await.context("the trace did not come")??;
        std::mem::take(&mut self.trace).tasks()
    }

    /// The next message; `None` for one without a text.
    async fn message(&mut self) -> Result<Option<Value>> {
        let message = self.socket.next().await.context("chromium hung up")??;
        let Message::Text(text) = message else { return Ok(None) };
        Ok(Some(serde_json::from_str(&text)?))
    }

    async fn command(&mut self, method: &str, parameters: Value) -> Result<Value> {
        self.number += 1;
        let number = self.number;
        let sent = json!({"id": number, "method": method, "params": parameters}).to_string();
        self.socket.send(Message::text(sent)).await?;
        let answered = tokio::time::timeout(PATIENCE, async {
            loop {
                let Some(mut said) = self.message().await? else { continue };
                if said["id"] == number {
                    if let Some(error) = said.get("error") {
                        bail!("{method}: {error}");
                    }
                    return Ok(said["result"].take());
                }
                self.hear(&said);
            }
        });
        answered.await.with_context(|| format!("{method} took more than {PATIENCE:?}"))?
    }

    fn hear(&mut self, event: &Value) {
        let said = &event["params"];
        match event["method"].as_str().unwrap_or_default() {
            "Network.requestWillBeSent" => {
                let url = said["request"]["url"].as_str().unwrap_or_default();
                self.requests.push(url.to_owned());
            }
            "Network.dataReceived" => self.received += said["dataLength"].as_u64().unwrap_or(0),
            "Tracing.dataCollected" => {
                let events = said["value"].as_array().cloned().unwrap_or_default();
                self.trace.events.extend(events);
            }
            "Tracing.tracingComplete" => self.trace.is_complete = true,
            "Runtime.exceptionThrown" => self.errors.push(said.to_string()),
            "Log.entryAdded" if said["entry"]["level"] == "error" => {
                self.errors.push(said["entry"].to_string());
            }
            "Runtime.consoleAPICalled" if said["type"] == "error" => {
                self.errors.push(said["args"].to_string());
            }
            _ => {}
        }
    }
}

/// Where Chromium notes the tasks of its threads.
const TASKS: &str = "disabled-by-default-devtools.timeline";

/// A trace as it comes.
#[derive(Debug, Default)]
struct Trace {
    events: Vec<Value>,
    is_complete: bool,
}

/// What the main thread of the page did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tasks(Vec<Task>);

/// One task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Task {
    /// From its start to its end.
    pub(crate) took: Duration,
    /// What of it was on a processor: on a busy machine the rest is waiting for one.
    pub(crate) cpu: Duration,
}

impl Trace {
    fn tasks(self) -> Result<Tasks> {
        // The threads that draw pages; that of another page does nothing meanwhile.
        let named = |event: &&Value| {
            event["name"] == "thread_name" && event["args"]["name"] == "CrRendererMain"
        };
        let whose = |event: &Value| (event["pid"].as_u64(), event["tid"].as_u64());
        let mains: Vec<_> = self.events.iter().filter(named).map(whose).collect();
        ensure!(!mains.is_empty(), "no main thread in {} events", self.events.len());
        let is_task = |event: &&Value| {
            event["name"] == "RunTask" && event["ph"] == "X" && mains.contains(&whose(event))
        };
        let micros = |event: &Value, name: &str| {
            event[name]
                .as_u64()
                .map(Duration::from_micros)
                .with_context(|| format!("no {name} in {event}"))
        };
        let task = |event: &Value| -> Result<Task> {
            Ok(Task { took: micros(event, "dur")?, cpu: micros(event, "tdur")? })
        };
        let tasks: Vec<_> = self.events.iter().filter(is_task).map(task).collect::<Result<_>>()?;
        ensure!(!tasks.is_empty(), "no task in {} events", self.events.len());
        Ok(Tasks(tasks))
    }
}

impl Tasks {
    /// How many there were.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The longest by the clock, and the longest on a processor.
    pub(crate) fn longest(&self) -> Task {
        let most = |of: fn(&Task) -> Duration| self.0.iter().map(of).max().unwrap_or_default();
        Task { took: most(|task| task.took), cpu: most(|task| task.cpu) }
    }

    /// All of them together.
    pub(crate) fn total(&self) -> Task {
        let sum = |of: fn(&Task) -> Duration| self.0.iter().map(of).sum();
        Task { took: sum(|task| task.took), cpu: sum(|task| task.cpu) }
    }
}

/// Port and path of the page's socket, once the browser has told them.
async fn page_of(profile: &Path) -> Result<(u16, String)> {
    let told = std::fs::read_to_string(profile.join("DevToolsActivePort"))?;
    let port: u16 = told.lines().next().context("an empty file")?.parse()?;
    let targets = targets(port).await?;
    let page = targets.iter().find(|target| target["type"] == "page").context("no page yet")?;
    let url = page["webSocketDebuggerUrl"].as_str().context("a page without a socket")?;
    let path = url.splitn(4, '/').nth(3).context("a socket without a path")?;
    Ok((port, format!("/{path}")))
}

/// The pages and workers of the browser at a port. It answers HTTP/1.1 only, and keeps the connection.
async fn targets(port: u16) -> Result<Vec<Value>> {
    let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", port)).await?);
    let asked = format!("GET /json/list HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n");
    stream.write_all(asked.as_bytes()).await?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let line = line.trim().to_ascii_lowercase();
        if let Some(said) = line.strip_prefix("content-length:") {
            length = said.trim().parse()?;
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(serde_json::from_slice(&body)?)
}
