//! `penstock man`: the manual page of penstock, or of one of its commands.

use anyhow::Context;
use clap::{Args, CommandFactory};
use clap_mangen::Man as Page;

use super::{Failure, Penstock, out};

/// The arguments of `penstock man`.
#[derive(Debug, Args)]
pub(super) struct Man {
    /// Of which command; penstock itself when left out
    command: Option<String>,
}

impl Man {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut all = Penstock::command();
        all.build();
        let page = match self.command.as_deref() {
            None => all,
            Some(name) => all.find_subcommand(name).cloned().ok_or_else(|| {
                Failure::Misuse(format!("there is no command {name:?}; hint: see penstock --help"))
            })?,
        };
        let mut text = Vec::new();
        Page::new(page).render(&mut text).context("cannot write the manual page")?;
        Ok(out::text(&String::from_utf8_lossy(&text))?)
    }
}
