//! The links between pages, and the names that headings have in links.

use std::path::{Component, Path, PathBuf};

use super::fences::{Written, root};

/// A link of a page to a file of this repository or to a heading.
pub(super) struct Link {
    from: String,
    /// As it is written.
    pub(super) to: String,
}

/// The links of a page that do not lead to another host.
pub(super) fn of(page: &Written) -> Vec<Link> {
    let targets = prose(&page.text).flat_map(|line| {
        // What is quoted is no link.
        let line: String = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
        line.match_indices("](")
            .filter_map(|(at, _)| line[at + 2..].split_once(')'))
            .map(|(target, _)| target.to_owned())
            .collect::<Vec<_>>()
    });
    let is_here = |to: &String| !to.contains("://") && !to.starts_with("mailto:");
    targets.filter(is_here).map(|to| Link { from: page.path.clone(), to }).collect()
}

/// The lines of a page outside of its blocks.
pub(super) fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut is_inside = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        is_inside ^= is_fence;
        !is_inside && !is_fence
    })
}

impl Link {
    /// What is wrong with it.
    pub(super) fn fault(&self, pages: &[Written]) -> Option<String> {
        let (path, heading) = self.to.split_once('#').unwrap_or((&self.to, ""));
        let path = if path.is_empty() {
            PathBuf::from(&self.from)
        } else {
            straight(&Path::new(&self.from).parent().unwrap().join(path))
        };
        if !root().join(&path).exists() {
            return Some(format!("{}: {} is not there", self.from, self.to));
        }
        let page = pages.iter().find(|page| Path::new(&page.path) == path);
        let is_there = heading.is_empty()
            || page.is_some_and(|page| headings(&page.text).any(|it| it == heading));
        (!is_there).then(|| format!("{}: {} names no heading", self.from, self.to))
    }
}

/// Without `..`.
fn straight(path: &Path) -> PathBuf {
    let mut straight = PathBuf::new();
    for part in path.components() {
        if part == Component::ParentDir {
            straight.pop();
        } else {
            straight.push(part);
        }
    }
    straight
}

fn headings(text: &str) -> impl Iterator<Item = String> {
    prose(text).filter_map(|line| {
        let bare = line.trim_start_matches('#');
        (bare.len() < line.len()).then(|| slug(bare.trim()))
    })
}

/// How links name a heading, by the rule of the usual forges.
pub(super) fn slug(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}
