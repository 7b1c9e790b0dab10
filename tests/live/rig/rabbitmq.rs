//! A RabbitMQ of Debian's, alone on loopback, with its management API, in plain text and TLS. Started by the tests of that source.

use std::fs;
use std::path::Path;
use std::time::Duration;

use amqprs::channel::{BasicPublishArguments, Channel, QueueDeclareArguments};
use amqprs::connection::{Connection, OpenConnectionArguments};
use amqprs::{BasicProperties, FieldTable};
use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::certs::Authority;
use super::process::{Process, Program};
use super::{folder, ports, tool};

/// It takes its time.
const START: Duration = Duration::from_secs(90);
/// Who may do all, and how he logs in.
pub(crate) const ADMIN: (&str, &str) = ("admin", "adm1n");
/// Who may only look, as Penstock should.
pub(crate) const READER: (&str, &str) = ("penstock", "s3cret");

/// A running RabbitMQ.
pub(crate) struct RabbitMq {
    pub(crate) amqp: u16,
    pub(crate) amqps: u16,
    pub(crate) management: u16,
    pub(crate) management_tls: u16,
    /// Who signed its certificates; it asks clients for theirs.
    pub(crate) authority: Authority,
    process: Process,
    _names: Process,
}

impl RabbitMq {
    /// Starts it, and waits until it answers.
    pub(crate) async fn start() -> Result<Self> {
        let folder = folder::fresh("rabbitmq")?;
        let authority = Authority::new("rabbits")?;
        let (amqp, amqps) = (ports::free()?, ports::free()?);
        let (management, management_tls) = (ports::free()?, ports::free()?);
        let (names, distribution) = (ports::free()?, ports::free()?);
        fs::write(folder.join("ca.crt"), authority.certificate())?;
        let (certificate, key) = authority.server("rabbitmq")?.write(&folder, "server")?;
        let tls = |prefix: &str, verify: &str| {
            format!(
                "{prefix}.cacertfile = {}\n{prefix}.certfile = {}\n{prefix}.keyfile = {}\n{prefix}.verify = {verify}\n",
                folder.join("ca.crt").display(),
                certificate.display(),
                key.display()
            )
        };
        let config = format!(
            "listeners.tcp.1 = 127.0.0.1:{amqp}\nlisteners.ssl.1 = 127.0.0.1:{amqps}\n{}\
             ssl_options.fail_if_no_peer_cert = true\n\
             management.tcp.port = {management}\nmanagement.tcp.ip = 127.0.0.1\n\
             management.ssl.port = {management_tls}\nmanagement.ssl.ip = 127.0.0.1\n{}\
             management.ssl.fail_if_no_peer_cert = true\n\
             default_user = {}\ndefault_pass = {}\nloopback_users = none\n\
             log.file = false\nlog.console = true\nlog.console.level = warning\n",
            tls("ssl_options", "verify_peer"),
            tls("management.ssl", "verify_peer"),
            ADMIN.0,
            ADMIN.1
        );
        fs::write(folder.join("rabbitmq.conf"), config).context("write rabbitmq.conf")?;
        fs::write(folder.join("plugins"), "[rabbitmq_management].\n").context("write plugins")?;
        // The daemon that knows Erlang's nodes is ours, too: started by the server it would outlive the test.
        let epmd = erlang("epmd", &folder, names)?.args(["-address", "127.0.0.1"]);
        let names_daemon = Process::start("epmd", epmd, &folder)?;
        let server = tool("debian/usr/lib/rabbitmq/bin/rabbitmq-server")?;
        let program = surrounded(Program::new(server), &folder, names)?
            .env("RABBITMQ_NODENAME", format!("rabbit{amqp}@localhost"))
            .env("RABBITMQ_DIST_PORT", distribution.to_string())
            .env("RABBITMQ_CONFIG_FILE", folder.join("rabbitmq.conf").display().to_string())
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", folder.join("plugins").display().to_string())
            .env("RABBITMQ_MNESIA_BASE", folder.join("data").display().to_string())
            .env("RABBITMQ_LOG_BASE", folder.display().to_string())
            // Then it becomes the server itself, not a shell that waits for it.
            .env("RUNNING_UNDER_SYSTEMD", "true")
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "+S 1:1 +sbwt none");
        let process = Process::start("rabbitmq", program, &folder)?;
        let rabbit = Self {
            amqp,
            amqps,
            management,
            management_tls,
            authority,
            process,
            _names: names_daemon,
        };
        rabbit.ready().await?;
        let reader = json!({"password": READER.1, "tags": "monitoring"});
        rabbit.put(&format!("/api/users/{}", READER.0), reader).await?;
        rabbit.allow("%2F").await?;
        Ok(rabbit)
    }

    /// Waits until it answers.
    pub(crate) async fn ready(&self) -> Result<()> {
        let ready = async || {
            let (code, body) = self.request("GET", "/api/health/checks/alarms", "").await?;
            ensure!(code == 200, "it answers {code}: {body}");
            // The management API answers before the port of AMQP is open.
            let amqp = tokio::net::TcpStream::connect(("127.0.0.1", self.amqp)).await;
            amqp.map(drop).context("its port of AMQP")
        };
        self.process.ready(START, ready).await
    }

    /// Lets the reader look into a virtual host, and no more.
    pub(crate) async fn allow(&self, vhost: &str) -> Result<()> {
        let rights = json!({"configure": "", "write": "", "read": ".*"});
        self.put(&format!("/api/permissions/{vhost}/{}", READER.0), rights).await
    }

    /// Asks the management API for a change.
    pub(crate) async fn put(&self, path: &str, body: Value) -> Result<()> {
        let (code, said) = self.request("PUT", path, &body.to_string()).await?;
        ensure!(code < 300, "PUT {path}: {code} {said}");
        Ok(())
    }

    /// Deletes what is there.
    pub(crate) async fn delete(&self, path: &str) -> Result<()> {
        let (code, said) = self.request("DELETE", path, "").await?;
        ensure!(code < 300, "DELETE {path}: {code} {said}");
        Ok(())
    }

    async fn request(&self, method: &str, path: &str, body: &str) -> Result<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.management)).await?;
        let login = STANDARD.encode(format!("{}:{}", ADMIN.0, ADMIN.1));
        let request = format!(
            "{method} {path} HTTP/1.0\r\nHost: localhost\r\nAuthorization: Basic {login}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let code = answer.split_whitespace().nth(1).and_then(|code| code.parse().ok());
        Ok((code.context("no status")?, answer))
    }

    /// A channel of the admin's in a virtual host, as its clients have one. Both ends go together.
    pub(crate) async fn channel(&self, vhost: &str) -> Result<(Connection, Channel)> {
        let mut arguments = OpenConnectionArguments::new("127.0.0.1", self.amqp, ADMIN.0, ADMIN.1);
        arguments.virtual_host(vhost);
        let connection = Connection::open(&arguments).await.context("connect to rabbitmq")?;
        let channel = connection.open_channel(None).await.context("open a channel")?;
        Ok((connection, channel))
    }

    /// Makes a queue of a kind: classic, quorum or stream.
    pub(crate) async fn queue(&self, vhost: &str, queue: &str, kind: &str) -> Result<()> {
        let (connection, channel) = self.channel(vhost).await?;
        let mut arguments = FieldTable::new();
        arguments.insert("x-queue-type".try_into()?, kind.to_owned().into());
        let mut declare = QueueDeclareArguments::durable_client_named(queue);
        declare.arguments(arguments);
        channel.queue_declare(declare).await.with_context(|| format!("make queue {queue}"))?;
        connection.close().await.context("close")
    }

    /// Sends so many messages to a queue.
    pub(crate) async fn send(&self, vhost: &str, queue: &str, count: usize) -> Result<()> {
        let (connection, channel) = self.channel(vhost).await?;
        for number in 0..count {
            let to = BasicPublishArguments::new("", queue);
            let message = number.to_string().into_bytes();
            channel.basic_publish(BasicProperties::default(), message, to).await?;
        }
        // What was sent is there when the server has closed the channel.
        channel.close().await.context("close the channel")?;
        connection.close().await.context("close")
    }

    pub(crate) fn process(&self) -> &Process {
        &self.process
    }
}

/// A program of Erlang's.
fn erlang(name: &str, folder: &Path, names: u16) -> Result<Program> {
    let path = tool("debian/usr/lib/erlang/bin")?.join(name);
    surrounded(Program::new(path), folder, names)
}

/// What Erlang wants to find around it.
fn surrounded(program: Program, folder: &Path, names: u16) -> Result<Program> {
    let erlang = tool("debian/usr/lib/erlang/bin")?;
    Ok(program
        .env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", erlang.display()))
        .env("HOME", folder.display().to_string())
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        .env("ERL_EPMD_PORT", names.to_string()))
}
