//! `ElasticMQ`, a server that speaks SQS, alone on loopback; its queues are made by those who ask. Started by the tests of the SQS source. What it
//! does not do is look at signatures: whoever calls is let in.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::certs::write;
use super::process::{Process, Program};
use super::{folder, http, ports, tool};

const START: Duration = Duration::from_mins(1);

/// A server without queues; they are in memory, and gone when it is started again.
pub(crate) struct ElasticMq {
    pub(crate) port: u16,
    process: Process,
}

impl ElasticMq {
    /// Starts it, and waits until it answers.
    pub(crate) async fn start() -> Result<Self> {
        let folder = folder::fresh("elasticmq")?;
        let port = ports::free()?;
        let config = format!(
            "include classpath(\"application.conf\")\n\
             node-address {{ protocol = http, host = \"127.0.0.1\", port = {port}, context-path = \"\" }}\n\
             rest-sqs {{ enabled = true, bind-port = {port}, bind-hostname = \"127.0.0.1\", sqs-limits = strict }}\n\
             rest-stats {{ enabled = false }}\n"
        );
        let file = write(&folder, "elasticmq.conf", &config)?;
        let java = Program::new("java").in_folder(tool("elasticmq")?).arg("@java.args");
        let java = java.arg(format!("-Dconfig.file={}", file.display()));
        let process = Process::start("elasticmq", java.arg("org.elasticmq.server.Main"), &folder)?;
        let server = Self { port, process };
        server.ready().await?;
        Ok(server)
    }

    /// Waits until it answers.
    pub(crate) async fn ready(&self) -> Result<()> {
        let ready = async || self.ask("ListQueues", json!({})).await.map(drop);
        self.process.ready(START, ready).await
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Makes a queue whose received messages stay in flight for so many seconds; its URL.
    pub(crate) async fn queue(&self, name: &str, seconds: u32) -> Result<String> {
        let attributes = json!({"VisibilityTimeout": seconds.to_string()});
        let made =
            self.ask("CreateQueue", json!({"QueueName": name, "Attributes": attributes})).await?;
        Ok(made["QueueUrl"].as_str().context("no QueueUrl")?.to_owned())
    }

    /// Sends so many messages, to be received after so many seconds.
    pub(crate) async fn send(&self, url: &str, count: u32, delay: u32) -> Result<()> {
        for _ in 0..count {
            let message = json!({"QueueUrl": url, "MessageBody": "x", "DelaySeconds": delay});
            self.ask("SendMessage", message).await?;
        }
        Ok(())
    }

    /// Receives up to ten messages; what deletes them.
    pub(crate) async fn receive(&self, url: &str) -> Result<Vec<String>> {
        let wish = json!({"QueueUrl": url, "MaxNumberOfMessages": 10});
        let got = self.ask("ReceiveMessage", wish).await?;
        let messages = got["Messages"].as_array().cloned().unwrap_or_default();
        let handle = |it: &Value| it["ReceiptHandle"].as_str().map(str::to_owned);
        messages.iter().map(handle).collect::<Option<_>>().context("no ReceiptHandle")
    }

    /// Asks for an operation of the JSON protocol.
    pub(crate) async fn ask(&self, operation: &str, what: Value) -> Result<Value> {
        let target = format!("AmazonSQS.{operation}");
        let headers = [
            ("Content-Type", "application/x-amz-json-1.0"),
            ("X-Amz-Target", &target),
            ("Authorization", "AWS4-HMAC-SHA256 Credential=rig/20260101/x/sqs/aws4_request"),
        ];
        let (status, body) = http::post(self.port, "/", &headers, &what.to_string()).await?;
        anyhow::ensure!(status == 200, "{operation} answers {status}: {body}");
        Ok(serde_json::from_str(&body).unwrap_or_default())
    }

    pub(crate) fn process(&self) -> &Process {
        &self.process
    }
}
