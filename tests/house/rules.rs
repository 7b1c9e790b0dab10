//! The house's own rules, read off the sources as plain text: which room may import which, what decide never does, how files begin
//! and what they are never called.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What each room may import, besides itself. `clock` is everyone's but decide's; `tasks` is where tasks are joined.
const DOORS: &[(&str, &[&str])] = &[
    ("clock", &[]),
    ("tasks", &[]),
    ("proto", &[]),
    ("decide", &[]),
    ("crd", &["decide", "observe"]),
    ("spans", &["decide"]),
    ("watch", &["crd", "decide", "observe", "clock", "tasks"]),
    ("observe", &["decide", "proto", "clock", "tasks"]),
    ("act", &["decide", "proto", "clock", "spans", "tasks"]),
    ("report", &["decide", "act", "crd", "clock", "tasks"]),
    ("answer", &["decide", "report", "observe", "proto", "clock", "tasks"]),
    (
        "daemon",
        &[
            "crd", "watch", "observe", "decide", "act", "report", "answer", "clock", "spans",
            "tasks",
        ],
    ),
    ("simulate", &["decide", "crd"]),
    // It starts the real daemon, and so the stores that the daemon is given.
    ("demo", &["crd", "decide", "daemon", "watch", "clock", "tasks"]),
];

/// What decide never touches: it neither speaks, waits, fails, guesses the time nor draws lots.
const IMPURE: &[&str] = &[
    "async ",
    ".await",
    "HashMap",
    "HashSet",
    "Instant",
    "SystemTime",
    "Timestamp::now",
    "Zoned::now",
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::process",
    "std::sync::Mutex",
    "std::sync::RwLock",
    "std::thread",
    "println!",
    "eprintln!",
    "tracing",
    "tokio",
    "kube",
    "rand::",
    "static mut",
    "LazyLock",
    "OnceLock",
    "Cell<",
    "Atomic",
    "thread_local!",
    "unwrap()",
    ".expect(",
    "panic!(",
    "unreachable!(",
    "todo!(",
];

/// Names of files in which leftovers gather.
const LEFTOVERS: &[&str] = &[
    "util", "utils", "common", "helper", "helpers", "misc", "manager", "handler", "service",
    "shared", "types",
];

pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

impl Source {
    /// The room it is in: the folder or file under `src`.
    fn room(&self) -> String {
        let mut parts = self.path.strip_prefix(root()).unwrap().components();
        assert_eq!(parts.next().unwrap().as_os_str(), "src");
        let first = parts.next().unwrap().as_os_str().to_str().unwrap();
        first.trim_end_matches(".rs").to_owned()
    }

    /// Its lines, numbered from 1, without comments and without the tests at its foot.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate().map(|(at, line)| (at + 1, line));
        let body = lines.take_while(|(_, line)| *line != "#[cfg(test)]");
        body.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn sources(folder: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push(Source { path, text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// The rooms that a line names.
fn rooms_named(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("crate::").filter_map(|(at, prefix)| {
        // `$crate::` in a macro and `other_crate::` are no import of ours.
        let before = line[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$') {
            return None;
        }
        let rest = &line[at + prefix.len()..];
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        Some(&rest[..end])
    })
}

#[test]
fn rooms_import_only_what_they_may() {
    let doors: BTreeMap<_, _> = DOORS.iter().copied().collect();
    let mut broken = Vec::new();
    let mut crossings = 0;
    for source in sources("src") {
        let room = source.room();
        if ["lib", "main", "cli"].contains(&room.as_str()) {
            continue;
        }
        let Some(allowed) = doors.get(room.as_str()) else {
            panic!(
                "{}: no room is called `{room}`; the list of rooms is in this file",
                source.path.display()
            );
        };
        for (at, line) in source.code() {
            for named in
                rooms_named(line).filter(|named| doors.contains_key(named) || *named == "cli")
            {
                crossings += 1;
                if named != room && !allowed.contains(&named) {
                    broken.push(format!(
                        "{}:{at}: {room} may not import {named}",
                        source.path.display()
                    ));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    assert!(50 < crossings, "only {crossings} imports were found: is this test reading anything?");
}

#[test]
fn decide_stays_pure() {
    let mut broken = Vec::new();
    for source in sources("src/decide") {
        for (at, line) in source.code() {
            let place = || format!("{}:{at}", source.path.display());
            broken.extend(
                IMPURE
                    .iter()
                    .filter(|word| line.contains(**word))
                    .map(|word| format!("{}: {word}", place())),
            );
            let Some(import) = line.trim_start().strip_prefix("use ") else { continue };
            let head = import.split([':', ';', ' ']).next().unwrap();
            let is_own = source.text.contains(&format!("mod {head};"));
            // Beside time and records only two languages that people write, both without a world of their own: CEL and cron.
            if !["std", "serde", "jiff", "cel", "croner", "super", "self"].contains(&head)
                && !is_own
            {
                broken.push(format!("{}: imports {head}", place()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_file_begins_with_a_sentence_on_what_it_is() {
    let folders = ["src", "tests", "benches"];
    let mut count = 0;
    for source in folders.into_iter().flat_map(sources) {
        count += 1;
        let first = source.text.lines().next().unwrap_or_default();
        let text = first.strip_prefix("//! ").unwrap_or_default();
        assert!(20 <= text.len(), "{}: begins with {first:?}", source.path.display());
    }
    assert!(100 < count, "only {count} files were found");
}

#[test]
fn no_file_is_named_for_leftovers_or_longer_than_500_lines() {
    for source in sources("src") {
        let name = source.path.file_stem().unwrap().to_str().unwrap();
        assert!(!LEFTOVERS.contains(&name), "{}: give it a room", source.path.display());
        let lines = source.text.lines().count();
        assert!(lines <= 500, "{}: {lines} lines; split it by meaning", source.path.display());
    }
}
