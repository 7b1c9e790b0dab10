//! AMQP 0-9-1 as far as asking for the depth of a queue needs it: frames, and the methods of a connection, a channel and a passive
//! declaration. Called by `line.rs`, which says them in turn. Nothing read here is trusted: lengths are checked, and no frame is longer
//! than was agreed on.
//!
//! Written by hand because the clients at hand do not fit: one takes a thread for each connection, the other panics at frames that it
//! does not expect, and neither asks several questions at once. The specification is `amqp0-9-1.pdf` of the AMQP working group.

use tokio::io::{AsyncRead, AsyncReadExt};

/// What a client says first.
pub(super) const HEADER: &[u8; 8] = b"AMQP\x00\x00\x09\x01";
/// The longest frame that we read, and agree to.
pub(super) const LONGEST: u32 = 128 * 1024;
/// The shortest that a server may insist on.
pub(super) const SHORTEST: u32 = 4096;

const METHOD: u8 = 1;
const HEARTBEAT: u8 = 8;
const END: u8 = 0xCE;
/// Bits of a declaration: it must be there.
const PASSIVE: u8 = 1;

/// What a server may say that we understand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// How one may log in, separated by blanks.
    Start { mechanisms: String },
    /// What it can bear.
    Tune { channels: u16, frame: u32 },
    /// The virtual host is open.
    Opened,
    /// The channel is open.
    ChannelOpened,
    /// A queue is there, and so many messages in it are ready.
    Declared { queue: String, messages: u32 },
    /// It closes the channel, and why.
    ChannelClosed { code: u16, text: String },
    /// It closes the connection, and why.
    Closed { code: u16, text: String },
    /// It agrees to close.
    CloseAgreed,
    /// A sign of life.
    Alive,
}

/// Why nothing was understood.
#[derive(Debug)]
pub(super) enum Fault {
    /// The line is cut.
    Line(std::io::Error),
    /// It is no AMQP, or none that we know.
    Words(&'static str),
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        Self::Line(error)
    }
}

/// Reads one frame.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Said, Fault> {
    let kind = stream.read_u8().await?;
    if kind == b'A' {
        return Err(Fault::Words("it speaks another version of AMQP than 0-9-1"));
    }
    if kind != METHOD && kind != HEARTBEAT {
        return Err(Fault::Words("it does not speak AMQP 0-9-1; hint: is this the AMQP port?"));
    }
    stream.read_u16().await?;
    let size = stream.read_u32().await?;
    if LONGEST < size {
        return Err(Fault::Words("it sends a frame that is longer than was agreed on"));
    }
    let mut payload = vec![0; usize::try_from(size).unwrap_or_default()];
    stream.read_exact(&mut payload).await?;
    if stream.read_u8().await? != END {
        return Err(Fault::Words("it sends a frame without an end"));
    }
    if kind == HEARTBEAT {
        return Ok(Said::Alive);
    }
    method(&payload).ok_or(Fault::Words("it sends a method that was not expected"))
}

/// Understands a method.
fn method(payload: &[u8]) -> Option<Said> {
    let mut rest = Rest(payload);
    let said = match (rest.short()?, rest.short()?) {
        (10, 10) => {
            // Versions, then what the server tells of itself.
            rest.short()?;
            rest.long_text()?;
            Said::Start { mechanisms: text(rest.long_text()?) }
        }
        (10, 30) => Said::Tune { channels: rest.short()?, frame: rest.long()? },
        (10, 41) => Said::Opened,
        (10, 50) => Said::Closed { code: rest.short()?, text: text(rest.short_text()?) },
        (10, 51) => Said::CloseAgreed,
        (20, 11) => Said::ChannelOpened,
        (20, 40) => Said::ChannelClosed { code: rest.short()?, text: text(rest.short_text()?) },
        (50, 11) => Said::Declared {
            queue: String::from_utf8(rest.short_text()?.to_vec()).ok()?,
            messages: rest.long()?,
        },
        _ => return None,
    };
    Some(said)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What is left of a payload.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn short(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_be_bytes)
    }

    fn long(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_be_bytes)
    }

    fn short_text(&mut self) -> Option<&'a [u8]> {
        let [length] = *self.take(1)? else { return None };
        self.take(length.into())
    }

    fn long_text(&mut self) -> Option<&'a [u8]> {
        let length = self.long()?;
        self.take(usize::try_from(length).ok()?)
    }
}

/// Frames to send, one after the other.
#[derive(Default)]
pub(super) struct Words(pub(super) Vec<u8>);

impl Words {
    /// Logs in. The server then says why it closes when it refuses.
    pub(super) fn start_ok(&mut self, mechanism: &str, response: &[u8]) {
        let mut properties = Vec::new();
        for (name, value) in [("product", "penstock"), ("version", env!("CARGO_PKG_VERSION"))] {
            put_short_text(&mut properties, name);
            properties.push(b'S');
            put_long_text(&mut properties, value.as_bytes());
        }
        let mut capabilities = Vec::new();
        put_short_text(&mut capabilities, "authentication_failure_close");
        capabilities.extend(b"t\x01");
        put_short_text(&mut properties, "capabilities");
        properties.push(b'F');
        put_long_text(&mut properties, &capabilities);
        self.frame(0, (10, 11), |out| {
            put_long_text(out, &properties);
            put_short_text(out, mechanism);
            put_long_text(out, response);
            put_short_text(out, "en_US");
        });
    }

    /// Agrees to what the server can bear; without heartbeats, since nothing is said between two visits.
    pub(super) fn tune_ok(&mut self, channels: u16, frame: u32) {
        self.frame(0, (10, 31), |out| {
            out.extend(channels.to_be_bytes());
            out.extend(frame.to_be_bytes());
            out.extend(0_u16.to_be_bytes());
        });
    }

    /// Opens a virtual host.
    pub(super) fn open(&mut self, vhost: &str) {
        self.frame(0, (10, 40), |out| {
            put_short_text(out, vhost);
            out.extend([0, 0]);
        });
    }

    /// Says goodbye.
    pub(super) fn close(&mut self) {
        self.frame(0, (10, 50), |out| {
            out.extend(200_u16.to_be_bytes());
            put_short_text(out, "bye");
            out.extend([0; 4]);
        });
    }

    /// Opens the one channel.
    pub(super) fn open_channel(&mut self) {
        self.frame(1, (20, 10), |out| out.push(0));
    }

    /// Agrees that the channel is closed.
    pub(super) fn channel_close_ok(&mut self) {
        self.frame(1, (20, 41), |_| {});
    }

    /// Asks whether a queue is there, and what waits in it.
    pub(super) fn declare(&mut self, queue: &str) {
        self.frame(1, (50, 10), |out| {
            out.extend([0, 0]);
            put_short_text(out, queue);
            out.push(PASSIVE);
            out.extend([0; 4]);
        });
    }

    fn frame(&mut self, channel: u16, method: (u16, u16), write: impl FnOnce(&mut Vec<u8>)) {
        let mut payload = Vec::new();
        payload.extend(method.0.to_be_bytes());
        payload.extend(method.1.to_be_bytes());
        write(&mut payload);
        self.0.push(METHOD);
        self.0.extend(channel.to_be_bytes());
        put_long_text(&mut self.0, &payload);
        self.0.push(END);
    }
}

/// At most 255 bytes: names were checked when they were read, and what is longer is cut off.
fn put_short_text(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let bytes = bytes.get(..255).unwrap_or(bytes);
    out.push(u8::try_from(bytes.len()).unwrap_or(u8::MAX));
    out.extend(bytes);
}

fn put_long_text(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(u32::try_from(bytes.len()).unwrap_or(0).to_be_bytes());
    out.extend(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(class: u16, method: u16, arguments: &[u8]) -> Vec<u8> {
        let mut words = Words::default();
        words.frame(1, (class, method), |out| out.extend(arguments));
        words.0
    }

    async fn heard(mut bytes: &[u8]) -> Result<Said, Fault> {
        read(&mut bytes).await
    }

    #[tokio::test]
    async fn what_is_understood_is_what_was_said() {
        let declared = frame(50, 11, b"\x04todo\x00\x00\x01\x02\x00\x00\x00\x07");
        let said = heard(&declared).await.unwrap();
        assert_eq!(said, Said::Declared { queue: "todo".to_owned(), messages: 258 });
        let closed = frame(20, 40, b"\x01\x94\x09not found\x00\x32\x00\x0a");
        let said = heard(&closed).await.unwrap();
        assert_eq!(said, Said::ChannelClosed { code: 404, text: "not found".to_owned() });
        let start =
            frame(10, 10, b"\x00\x09\x00\x00\x00\x02ab\x00\x00\x00\x05PLAIN\x00\x00\x00\x00");
        let said = heard(&start).await.unwrap();
        assert_eq!(said, Said::Start { mechanisms: "PLAIN".to_owned() });
    }

    #[tokio::test]
    async fn nonsense_is_an_error_wherever_it_is_cut() {
        let good = frame(50, 11, b"\x04todo\x00\x00\x01\x02\x00\x00\x00\x07");
        for end in 0..good.len() {
            assert!(heard(&good[..end]).await.is_err(), "cut at {end}");
        }
        for at in 0..good.len() {
            for byte in [0x00, 0x7F, 0xFF] {
                let mut bad = good.clone();
                bad[at] = byte;
                // It may be another answer; it must not be a panic or a long wait.
                drop(heard(&bad).await);
            }
        }
        let mut long = vec![METHOD, 0, 1];
        long.extend(u32::MAX.to_be_bytes());
        assert!(matches!(heard(&long).await, Err(Fault::Words(_))));
        for strange in [&b"HTTP/1.1 400 Bad Request"[..], b"AMQP\x00\x00\x09\x02", b"SSH-2.0"] {
            assert!(matches!(heard(strange).await, Err(Fault::Words(_))));
        }
    }
}
