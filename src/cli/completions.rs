//! `penstock completions`: the completion script of a shell.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Failure, Penstock, out};

/// The arguments of `penstock completions`.
#[derive(Debug, Args)]
pub(super) struct Completions {
    /// Which shell
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Penstock::command(), "penstock", &mut script);
        Ok(out::text(&String::from_utf8_lossy(&script))?)
    }
}
