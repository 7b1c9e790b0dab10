//! `penstock man`: the manual page of penstock, or of one of its commands; or all of them, as files.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, CommandFactory};
use clap_mangen::Man as Page;

use super::{Failure, Penstock, out};

/// The arguments of `penstock man`.
#[derive(Debug, Args)]
pub(super) struct Man {
    /// Of which command; penstock itself when left out
    command: Option<String>,
    /// Write a file for each page into this folder instead of printing one: where `man` looks for section 1
    #[arg(long, value_name = "FOLDER", conflicts_with = "command")]
    dir: Option<PathBuf>,
}

impl Man {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut all = Penstock::command();
        all.build();
        if let Some(dir) = self.dir {
            std::fs::create_dir_all(&dir)
                .with_context(|| format!("cannot make the folder {}", dir.display()))?;
            let commands = all.get_subcommands().filter(|it| it.get_name() != "help").cloned();
            for page in commands.chain([all.clone()]).map(Page::new) {
                let path = dir.join(page.get_filename());
                std::fs::write(&path, rendered(&page)?)
                    .with_context(|| format!("cannot write {}", path.display()))?;
            }
            return Ok(());
        }
        let page = match self.command.as_deref() {
            None => all,
            Some(name) => all.find_subcommand(name).cloned().ok_or_else(|| {
                Failure::Misuse(format!("there is no command {name:?}; hint: see penstock --help"))
            })?,
        };
        Ok(out::text(&String::from_utf8_lossy(&rendered(&Page::new(page))?))?)
    }
}

fn rendered(page: &Page) -> anyhow::Result<Vec<u8>> {
    let mut text = Vec::new();
    page.render(&mut text).context("cannot write the manual page")?;
    Ok(text)
}
