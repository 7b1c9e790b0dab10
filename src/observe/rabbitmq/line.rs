//! One connection to one virtual host of a RabbitMQ: logged in, with one channel, on which many queues are asked for at once. Called by
//! `amqp.rs`, which keeps the lines; how the words are spelled is left to `wire.rs`.

use std::sync::Arc;

use tokio::io::{AsyncWriteExt, BufStream};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use super::wire::{Fault, HEADER, LONGEST, SHORTEST, Said, Words, read};
use crate::observe::dial::{Bytes, dial};
use crate::observe::{Error, fault, figure};

/// So many queues are asked for before the first answer is waited for. What stands behind an unknown queue is asked for again.
const AT_ONCE: usize = 64;

/// How to log in.
#[derive(Clone)]
pub(super) struct Login {
    /// Name and password; without them by certificate where the server takes that, else as `guest`.
    pub(super) pair: Option<(String, String)>,
    /// Do we show a certificate?
    pub(super) has_certificate: bool,
}

/// Where a line leads.
#[derive(Clone)]
pub(super) struct Place {
    /// `host:port`.
    pub(super) host: String,
    /// How errors call it.
    pub(super) at: Arc<str>,
    pub(super) tls: Option<TlsConnector>,
    pub(super) login: Login,
}

/// A line to a virtual host.
pub(super) struct Line {
    stream: BufStream<Box<dyn Bytes>>,
    at: Arc<str>,
}

impl Place {
    /// Calls and logs in, without opening anything.
    async fn call(&self) -> Result<(Line, u16, u32), Error> {
        let stream = dial(&self.host, self.tls.as_ref()).await;
        let stream = stream.map_err(|error| fault::transport(&self.at, &error))?;
        let mut line = Line { stream: BufStream::new(stream), at: Arc::clone(&self.at) };
        line.send(HEADER).await?;
        let said = line.hear().await?;
        let Said::Start { mechanisms } = &said else { return Err(line.unexpected(&said)) };
        let is_offered = |name: &str| mechanisms.split(' ').any(|mechanism| mechanism == name);
        let plain = |name: &str, password: &str| format!("\0{name}\0{password}");
        let (mechanism, response) = match &self.login.pair {
            None if self.login.has_certificate && is_offered("EXTERNAL") => {
                ("EXTERNAL", String::new())
            }
            None => ("PLAIN", plain("guest", "guest")),
            Some((name, password)) => ("PLAIN", plain(name, password)),
        };
        if !is_offered(mechanism) {
            return Err(Error::AuthenticationFailed {
                at: Arc::clone(&self.at),
                detail: format!("it takes {} and not {mechanism}", figure::line(mechanisms)),
            });
        }
        let mut words = Words::default();
        words.start_ok(mechanism, response.as_bytes());
        line.send(&words.0).await?;
        match line.hear().await {
            Ok(Said::Tune { channels, frame }) => Ok((line, channels, frame)),
            Ok(Said::Closed { text, .. }) => Err(Error::AuthenticationFailed {
                at: Arc::clone(&self.at),
                detail: figure::line(&text),
            }),
            // What says nothing more and hangs up did not like the login, either.
            Err(Error::Unreachable { .. }) => Err(Error::AuthenticationFailed {
                at: Arc::clone(&self.at),
                detail: "it hung up at the login".to_owned(),
            }),
            Ok(other) => Err(line.unexpected(&other)),
            Err(error) => Err(error),
        }
    }

    /// Is the login good?
    pub(super) async fn greet(&self, deadline: Instant) -> Result<(), Error> {
        let (mut line, channels, frame) = self.within(deadline, self.call()).await?;
        let mut words = Words::default();
        words.tune_ok(channels, agreed(frame));
        words.close();
        // It has said what we wanted to hear.
        self.within(deadline, line.send(&words.0)).await
    }

    /// A line to a virtual host.
    pub(super) async fn open(&self, vhost: &str, deadline: Instant) -> Result<Line, Error> {
        self.within(deadline, async {
            let (mut line, channels, frame) = self.call().await?;
            let mut words = Words::default();
            words.tune_ok(channels, agreed(frame));
            words.open(vhost);
            words.open_channel();
            line.send(&words.0).await?;
            let said = line.hear().await?;
            if let Said::Closed { code, text } = &said {
                return Err(self.shut(vhost, *code, text));
            }
            if said != Said::Opened {
                return Err(line.unexpected(&said));
            }
            line.hear_channel().await?;
            Ok(line)
        })
        .await
    }

    /// The virtual host was not opened.
    fn shut(&self, vhost: &str, code: u16, text: &str) -> Error {
        let at = Arc::clone(&self.at);
        let what = format!("virtual host {vhost}");
        match code {
            530 if text.contains("not found") => Error::NotFound { at, what },
            402 | 403 | 530 => Error::AccessDenied { at, what, detail: figure::line(text) },
            _ => Error::SourceFailed { at, about: what, detail: figure::line(text) },
        }
    }

    async fn within<T>(
        &self,
        deadline: Instant,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        tokio::time::timeout_at(deadline, work).await.unwrap_or_else(|_| Err(late(&self.at)))
    }
}

impl Line {
    /// What is ready in each queue, in the order asked. After an error of the connection the line is of no more use, and whatever has
    /// not been answered has that error.
    pub(super) async fn depths(
        &mut self,
        vhost: &str,
        queues: &[&str],
        deadline: Instant,
    ) -> (Vec<Result<u32, Error>>, bool) {
        let mut answers = Vec::with_capacity(queues.len());
        let work = self.ask_all(vhost, queues, &mut answers);
        let ended = match tokio::time::timeout_at(deadline, work).await {
            Ok(ended) => ended,
            Err(_) => Err(late(&self.at)),
        };
        let is_good = ended.is_ok();
        if let Err(error) = ended {
            answers.resize(queues.len(), Err(error));
        }
        (answers, is_good)
    }

    async fn ask_all(
        &mut self,
        vhost: &str,
        queues: &[&str],
        answers: &mut Vec<Result<u32, Error>>,
    ) -> Result<(), Error> {
        while answers.len() < queues.len() {
            let batch = queues.iter().skip(answers.len()).take(AT_ONCE);
            let mut words = Words::default();
            batch.clone().for_each(|queue| words.declare(queue));
            self.send(&words.0).await?;
            for queue in batch {
                let said = self.hear().await?;
                if let Said::ChannelClosed { code, text } = &said {
                    answers.push(Err(self.refused(vhost, queue, *code, text)));
                    self.open_again().await?;
                    // Whatever was asked behind it was not heard.
                    break;
                }
                let Said::Declared { queue: named, messages } = &said else {
                    return Err(self.unexpected(&said));
                };
                if named != queue {
                    return Err(self.unexpected(&said));
                }
                answers.push(Ok(*messages));
            }
        }
        Ok(())
    }

    /// After a refusal the server has closed the channel.
    async fn open_again(&mut self) -> Result<(), Error> {
        let mut words = Words::default();
        words.channel_close_ok();
        words.open_channel();
        self.send(&words.0).await?;
        self.hear_channel().await
    }

    /// The channel is open.
    async fn hear_channel(&mut self) -> Result<(), Error> {
        let said = self.hear().await?;
        if said == Said::ChannelOpened { Ok(()) } else { Err(self.unexpected(&said)) }
    }

    fn refused(&self, vhost: &str, queue: &str, code: u16, text: &str) -> Error {
        let at = Arc::clone(&self.at);
        let what = super::title(vhost, queue);
        match code {
            // There is one, but the node that holds it is away: nobody must create it.
            404 if text.contains("down or inaccessible") => {
                Error::SourceFailed { at, about: what, detail: figure::line(text) }
            }
            404 => Error::NotFound { at, what },
            403 | 405 => Error::AccessDenied { at, what, detail: figure::line(text) },
            _ => Error::SourceFailed { at, about: what, detail: figure::line(text) },
        }
    }

    /// Says goodbye, if that can be said at once.
    pub(super) async fn close(mut self, deadline: Instant) {
        let mut words = Words::default();
        words.close();
        let goodbye = async {
            self.send(&words.0).await?;
            self.hear().await
        };
        drop(tokio::time::timeout_at(deadline, goodbye).await);
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let sent = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        sent.await.map_err(|error| fault::transport(&self.at, &error))
    }

    async fn hear(&mut self) -> Result<Said, Error> {
        loop {
            match read(&mut self.stream).await {
                Ok(Said::Alive) => {}
                Ok(said) => return Ok(said),
                Err(Fault::Line(error)) => return Err(fault::transport(&self.at, &error)),
                Err(Fault::Words(detail)) => return Err(self.failed(detail.to_owned())),
            }
        }
    }

    /// It said something else than what is said at this point.
    fn unexpected(&self, said: &Said) -> Error {
        // It is about to go, or somebody shows us out.
        if let Said::Closed { text, .. } = said {
            return Error::Unreachable { at: Arc::clone(&self.at), detail: figure::line(text) };
        }
        self.failed("it says something else than what was asked".to_owned())
    }

    fn failed(&self, detail: String) -> Error {
        let about = "the question".to_owned();
        Error::SourceFailed { at: Arc::clone(&self.at), about, detail }
    }
}

/// What we agree to of what a server can bear; 0 is anything.
fn agreed(frame: u32) -> u32 {
    if frame == 0 { LONGEST } else { frame.clamp(SHORTEST, LONGEST) }
}

fn late(at: &Arc<str>) -> Error {
    Error::Timeout { at: Arc::clone(at), detail: "waited for its answer".to_owned() }
}
