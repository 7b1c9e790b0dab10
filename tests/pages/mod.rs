//! The pages that people are given to read, and the fenced blocks in them. The fast tier judges what they say, the live tier follows it.

// Two crates use it, and neither all of it.
#![allow(dead_code, clippy::allow_attributes, reason = "neither tier uses all of it")]

pub(crate) mod followed;

use std::fs;
use std::path::{Path, PathBuf};

/// A page: its path from the root of the repository, and its text.
pub(crate) struct Written {
    pub(crate) path: String,
    pub(crate) text: String,
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every page that people are given to read.
pub(crate) fn pages() -> Vec<Written> {
    let mut paths: Vec<PathBuf> =
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "charts/penstock/README.md"]
            .map(|path| root().join(path))
            .into();
    let mut folders = vec![root().join("docs"), root().join("deploy")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "md") {
                paths.push(path);
            }
        }
    }
    paths.sort();
    let pages: Vec<_> = paths
        .into_iter()
        .map(|path| Written {
            text: fs::read_to_string(&path).unwrap(),
            path: path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned(),
        })
        .collect();
    assert!(50 < pages.len(), "only {} pages were found", pages.len());
    pages
}

/// A fenced block.
pub(crate) struct Block {
    /// The page's path from the root of the repository.
    pub(crate) page: String,
    /// Line of its fence, from 1.
    pub(crate) line: usize,
    pub(crate) language: String,
    /// What stands in it, without the indentation of the fence.
    pub(crate) text: String,
}

impl Block {
    pub(crate) fn place(&self) -> String {
        format!("{}:{}", self.page, self.line)
    }

    /// What its first line says it is, where that is a comment.
    pub(crate) fn heading(&self) -> Option<&str> {
        self.text.lines().next()?.strip_prefix("# ")
    }
}

/// All of them.
pub(crate) fn blocks() -> Vec<Block> {
    pages().iter().flat_map(|page| of(&page.path, &page.text)).collect()
}

fn of(page: &str, text: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut open: Option<(Block, usize)> = None;
    for (at, line) in text.lines().enumerate() {
        let bare = line.trim_start();
        match (bare.strip_prefix("```"), &mut open) {
            (Some(language), None) => {
                let (page, language) = (page.to_owned(), language.trim().to_owned());
                let block = Block { page, line: at + 1, language, text: String::new() };
                open = Some((block, line.len() - bare.len()));
            }
            (Some(_), Some(_)) => found.extend(open.take().map(|(block, _)| block)),
            (None, Some((block, indent))) => {
                block.text.push_str(line.get(*indent..).unwrap_or_default());
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "{page}: a block is not closed");
    found
}

/// The commands of a script, or of a session those after the prompt: line from 0, and text with its continuations joined. A quote may go on over
/// several lines; one that is never closed ends the last of them.
pub(crate) fn script(text: &str, prompt: &str) -> Vec<(usize, String)> {
    let mut commands = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (at, line) in text.lines().enumerate() {
        let Some(line) = line.strip_prefix(prompt).filter(|line| !line.trim().is_empty()) else {
            continue;
        };
        let (at, mut text) = open.take().unwrap_or((at, String::new()));
        text.push_str(line);
        if let Some(more) = text.strip_suffix('\\') {
            text.truncate(more.len());
            open = Some((at, text));
        } else if shlex::split(&text).is_some() {
            commands.push((at, text));
        } else {
            text.push('\n');
            open = Some((at, text));
        }
    }
    commands.extend(open);
    commands
}
