//! The fenced blocks of all pages.

use super::pages;

/// A fenced block.
pub(super) struct Block {
    /// The page's path from the root of the repository.
    pub(super) page: String,
    /// Line of its fence, from 1.
    pub(super) line: usize,
    pub(super) language: String,
    /// What stands in it, without the indentation of the fence.
    pub(super) text: String,
}

impl Block {
    pub(super) fn place(&self) -> String {
        format!("{}:{}", self.page, self.line)
    }

    /// What its first line says it is, where that is a comment.
    pub(super) fn heading(&self) -> Option<&str> {
        self.text.lines().next()?.strip_prefix("# ")
    }
}

/// All of them.
pub(super) fn blocks() -> Vec<Block> {
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
