//! Compiles `proto/` into Rust, without `protoc`: protox reads the files, prost and tonic write the code that `src/proto.rs` takes in.

use std::error::Error;
use std::io::Write as _;

fn main() -> Result<(), Box<dyn Error>> {
    writeln!(std::io::stdout(), "cargo::rerun-if-changed=proto")?;
    let files = protox::compile(["externalscaler.proto"], ["proto"])?;
    tonic_prost_build::configure().btree_map(".").compile_fds(files)?;
    Ok(())
}
