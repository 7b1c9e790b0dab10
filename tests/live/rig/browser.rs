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

const START: Duration = Duration::from_secs(30);
/// How long a command may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A browser with one page.
pub(crate) struct Browser {
    socket: WebSocketStream<TcpStream>,
    number: u64,
    /// Where the page asked.
    pub(crate) requests: Vec<String>,
    /// What went wrong in it: exceptions, errors on the console, refused requests.
    pub(crate) errors: Vec<String>,
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
        let mut browser =
            Self { socket, number: 0, requests: Vec::new(), errors: Vec::new(), _process: process };
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

    async fn command(&mut self, method: &str, parameters: Value) -> Result<Value> {
        self.number += 1;
        let number = self.number;
        let sent = json!({"id": number, "method": method, "params": parameters}).to_string();
        self.socket.send(Message::text(sent)).await?;
        let answered = tokio::time::timeout(PATIENCE, async {
            loop {
                let message = self.socket.next().await.context("chromium hung up")??;
                let Message::Text(text) = message else { continue };
                let mut said: Value = serde_json::from_str(&text)?;
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
