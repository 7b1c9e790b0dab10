//! Compiles `proto/` into Rust, without `protoc`: protox reads the files, prost and tonic write the code that `src/proto.rs` takes in.
//! And has the loader's work packed where it can be.

use std::env;
use std::error::Error;
use std::io::Write as _;
use std::process::Command;

/// The first glibc whose loader reads packed relocations.
const PACKS: (u32, u32) = (2, 36);

fn main() -> Result<(), Box<dyn Error>> {
    let mut to_cargo = std::io::stdout();
    writeln!(to_cargo, "cargo::rerun-if-changed=proto")?;
    if can_pack() {
        // Unpacked they are a tenth of what is resident of a small daemon: three megabytes, each read once, at start.
        writeln!(to_cargo, "cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs")?;
    }
    let files = protox::compile(["externalscaler.proto"], ["proto"])?;
    tonic_prost_build::configure().btree_map(".").compile_fds(files)?;
    Ok(())
}

/// Is it built for a machine like this one, with a glibc that is young enough?
#[expect(clippy::disallowed_methods, reason = "how cargo tells a build script what is built")]
fn can_pack() -> bool {
    let (host, target) = (env::var("HOST"), env::var("TARGET"));
    let is_gnu = target.as_ref().is_ok_and(|target| target.ends_with("linux-gnu"));
    is_gnu && host == target && glibc().is_some_and(|version| PACKS <= version)
}

/// Of `glibc 2.36`, the numbers.
fn glibc() -> Option<(u32, u32)> {
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (major, minor) = text.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.split('.').next()?.parse().ok()?))
}
