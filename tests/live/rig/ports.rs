//! Free ports on loopback, each promised to one server for as long as this process lives. Called by the servers of the rig.
//!
//! They lie below the range from which the kernel takes the ports of outgoing connections: a server that is restarted must
//! get its port back, and a client that keeps asking for a port of that range can end up connected to itself.

use std::fs::{self, File};
use std::net::TcpListener;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};

const FIRST: u16 = 15_000;

/// A port on 127.0.0.1 where nothing listens, and that no other process of the rig will take.
pub(crate) fn free() -> Result<u16> {
    static TAKEN: Mutex<Vec<File>> = Mutex::new(Vec::new());
    let claims = std::env::temp_dir().join("penstock-rig-ports");
    fs::create_dir_all(&claims).with_context(|| format!("create {}", claims.display()))?;
    for _ in 0..1000 {
        let port = fastrand::u16(FIRST..end()?);
        // The lock is the claim: it goes when the process goes. The file stays, for it may be another's claim by then.
        let claim = File::create(claims.join(port.to_string())).context("claim a port")?;
        if claim.try_lock().is_err() || TcpListener::bind(("127.0.0.1", port)).is_err() {
            continue;
        }
        TAKEN.lock().unwrap_or_else(PoisonError::into_inner).push(claim);
        return Ok(port);
    }
    bail!("found no free port between {FIRST} and {}", end()?)
}

/// Where the kernel's own range begins.
fn end() -> Result<u16> {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .context("read the kernel's port range")?;
    let first = range
        .split_whitespace()
        .next()
        .and_then(|port| port.parse().ok())
        .context("understand the kernel's port range")?;
    anyhow::ensure!(
        first > FIRST + 1000,
        "the kernel's own ports begin at {first}, which leaves none for servers"
    );
    Ok(first)
}
