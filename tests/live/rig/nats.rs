//! A NATS with `JetStream`, alone on loopback. Started by the tests of that source.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use async_nats::{Client, ConnectOptions};
use serde_json::{Value, json};

use super::process::{Process, Program};
use super::{folder, ports, tool};

const START: Duration = Duration::from_secs(90);
/// Who may do all, and how he logs in.
pub(crate) const ADMIN: (&str, &str) = ("admin", "adm1n");

/// A running NATS.
pub(crate) struct Nats {
    pub(crate) port: u16,
    process: Process,
}

impl Nats {
    /// Starts it with more lines of configuration, and waits until it answers. `users` are further ones besides the admin.
    pub(crate) async fn start(more: &str, users: &[&str]) -> Result<Self> {
        let folder = folder::fresh("nats")?;
        let port = ports::free()?;
        let users: Vec<String> = users.iter().map(|user| format!(", {user}")).collect();
        let config = format!(
            "listen: 127.0.0.1:{port}\nserver_name: one\njetstream {{store_dir: {:?}}}\n\
             authorization {{users: [{{user: {}, password: {}}}{}]}}\n{more}\n",
            folder.join("data").display().to_string(),
            ADMIN.0,
            ADMIN.1,
            users.concat()
        );
        let file = folder.join("nats.conf");
        fs::write(&file, config).context("write nats.conf")?;
        let program = Program::new(tool("nats/nats-server")?)
            .args(["-c".to_owned(), file.display().to_string()]);
        let nats = Self { port, process: Process::start("nats", program, &folder)? };
        nats.ready().await?;
        Ok(nats)
    }

    /// Waits until somebody listens.
    pub(crate) async fn ready(&self) -> Result<()> {
        let ready = async || {
            tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.context("connect")?;
            Ok(())
        };
        self.process.ready(START, ready).await
    }

    /// A client of the admin's, in plain text.
    pub(crate) async fn client(&self) -> Result<Client> {
        let options = ConnectOptions::with_user_and_password(ADMIN.0.into(), ADMIN.1.into());
        options.connect(format!("nats://127.0.0.1:{}", self.port)).await.context("connect to nats")
    }

    pub(crate) fn process(&self) -> &Process {
        &self.process
    }
}

/// Asks `JetStream` for something; an error when it says one.
pub(crate) async fn ask(client: &Client, what: &str, body: Value) -> Result<Value> {
    let said = client.request(format!("$JS.API.{what}"), body.to_string().into()).await?;
    let said: Value = serde_json::from_slice(&said.payload)?;
    ensure!(said["error"].is_null(), "{what}: {said}");
    Ok(said)
}

/// Makes a stream of the subjects below its name.
pub(crate) async fn stream(client: &Client, name: &str) -> Result<()> {
    let body = json!({"name": name, "subjects": [format!("{name}.>")], "storage": "memory"});
    ask(client, &format!("STREAM.CREATE.{name}"), body).await.map(drop)
}

/// Makes a durable consumer that pulls; `more` is merged into its configuration.
pub(crate) async fn consumer(client: &Client, stream: &str, name: &str, more: Value) -> Result<()> {
    let mut config =
        json!({"durable_name": name, "ack_policy": "explicit", "max_ack_pending": 10_000});
    if let (Value::Object(config), Value::Object(more)) = (&mut config, more) {
        config.extend(more);
    }
    let body = json!({"stream_name": stream, "config": config});
    ask(client, &format!("CONSUMER.DURABLE.CREATE.{stream}.{name}"), body).await.map(drop)
}

/// Sends so many messages to a subject of a stream, and waits until all are kept.
pub(crate) async fn send(client: &Client, subject: &str, count: usize) -> Result<()> {
    for number in 0..count {
        let kept = client.request(subject.to_owned(), number.to_string().into()).await?;
        let kept: Value = serde_json::from_slice(&kept.payload)?;
        ensure!(kept["error"].is_null(), "{kept}");
    }
    Ok(())
}

/// Sends so many messages at once, and waits until the server has them.
pub(crate) async fn publish(client: &Client, subject: &str, count: usize) -> Result<()> {
    for number in 0..count {
        client.publish(subject.to_owned(), number.to_string().into()).await?;
    }
    client.flush().await.context("flush")
}

/// Takes at most so many messages for a consumer, without acknowledging them: the subjects to do that at.
pub(crate) async fn take(
    client: &Client,
    stream: &str,
    consumer: &str,
    most: usize,
) -> Result<Vec<String>> {
    use futures::StreamExt;
    let inbox = client.new_inbox();
    let mut taken = client.subscribe(inbox.clone()).await?;
    let body = json!({"batch": most, "no_wait": true}).to_string();
    let next = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}");
    client.publish_with_reply(next, inbox, body.into()).await?;
    let mut replies = Vec::new();
    while replies.len() < most {
        let message = tokio::time::timeout(Duration::from_secs(5), taken.next()).await;
        let Some(message) = message.context("no message in time")? else { break };
        // A status instead of a message: there are no more.
        if message.status.is_some() {
            break;
        }
        replies.extend(message.reply.map(|reply| reply.to_string()));
    }
    Ok(replies)
}

/// Acknowledges a message.
pub(crate) async fn acknowledge(client: &Client, reply: String) -> Result<()> {
    client.publish(reply, "+ACK".into()).await.context("acknowledge")
}
