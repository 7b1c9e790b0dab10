//! The tables in docs/sources that say what each source answers to which fault. Each row is a test: it is named here, and it names the word
//! that the row promises. No source can make an error that its table does not have, and no table has a word that its source cannot make.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::fences::{pages, root};
use super::none;
use crate::rules;

/// Where each source stands, and the tests that are each row.
const LIST: &str = include_str!("../../data/faults.yaml");

/// One table.
#[derive(Debug, Deserialize)]
struct Table {
    /// Its page, in docs/sources.
    page: String,
    sources: Vec<String>,
    /// Other pages whose rows hold for these sources, too.
    #[serde(default)]
    also: Vec<String>,
    rows: Vec<Tested>,
}

/// A row, by its beginning, and the tests that it is.
#[derive(Debug, Deserialize)]
struct Tested {
    begins: String,
    tests: Vec<String>,
}

/// Errors that no table promises: a bug of ours, and what a peer of lineage fails with, which the log alone is told.
const ASIDE: &[(&str, &str)] = &[("", "InternalError"), ("lineage", "SourceFailed")];

/// A row of a table: what happens, and what is answered.
struct Row<'a> {
    what: &'a str,
    answer: &'a str,
}

/// The rows of the table of faults of a page.
fn rows(page: &str) -> Vec<Row<'_>> {
    let table = page.lines().skip_while(|line| !is_header(line)).skip(2);
    table
        .map_while(|line| {
            let (what, answer) = line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | ")?;
            Some(Row { what, answer })
        })
        .collect()
}

/// The words that rows promise.
fn promises<'a>(rows: &[Row<'a>]) -> BTreeSet<&'a str> {
    rows.iter().flat_map(|row| words(row.answer)).collect()
}

/// Does a table of faults begin here?
fn is_header(line: &str) -> bool {
    line.starts_with("| what ") && line.ends_with(" | answer |")
}

/// The words of conditions in a text: alone in backticks, in camel case.
fn words(text: &str) -> BTreeSet<&str> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.filter(|word| is_word(word)).collect()
}

fn is_word(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_uppercase())
        && word.chars().all(|c| c.is_ascii_alphabetic())
        && word.chars().any(|c| c.is_ascii_lowercase())
}

/// The code of a path, file or folder, without the tests at its foot.
fn code(path: &str) -> String {
    if path.rsplit_once('.').is_some_and(|(_, end)| end == "rs") {
        let text = std::fs::read_to_string(root().join(path)).unwrap_or_default();
        return text.split("\n#[cfg(test)]\n").next().unwrap_or_default().to_owned();
    }
    let all = rules::sources(path);
    let all = all.iter().map(|it| it.text.split("\n#[cfg(test)]\n").next().unwrap_or_default());
    all.collect::<Vec<_>>().join("\n")
}

/// The words that this code makes errors with: a variant of an error, or a word of its own as the watch has them.
fn made(code: &str) -> BTreeSet<&str> {
    let variants = code.match_indices("Error::").filter_map(|(at, prefix)| {
        let before = code[..at].chars().next_back();
        let rest = &code[at + prefix.len()..];
        let end = rest.find(|c: char| !c.is_ascii_alphabetic())?;
        // Another library's error has another name before it; a constructor is in lower case; `matches!` asks and makes nothing.
        let is_ours = !before.is_some_and(|c| c.is_alphanumeric() || c == ':' || c == '_');
        let is_pattern = rest[end..].starts_with(" { .. }");
        (is_ours && !is_pattern && is_word(&rest[..end])).then_some(&rest[..end])
    });
    let known = KNOWN.iter().copied().filter(|word| code.contains(&format!("\"{word}\"")));
    variants.chain(known).collect()
}

/// The words of `cpu` and `memory`, which are no variants.
const KNOWN: &[&str] = &[
    "MetricsNotServed",
    "MetricsUnavailable",
    "NoMetrics",
    "NoPods",
    "NoRequest",
    "NoSelector",
    "AccessDenied",
    "Timeout",
];

/// The body of a function of a test file.
fn body<'a>(file: &'a str, name: &str) -> Option<&'a str> {
    let start = [format!("fn {name}("), format!("fn {name}<")];
    let start = start.iter().find_map(|start| file.find(start.as_str()))?;
    let rest = &file[start..];
    Some(&rest[..rest.find("\n}\n").unwrap_or(rest.len())])
}

/// What a test says, with what it calls; or why there is none.
fn told(test: &str) -> Result<String, String> {
    let (path, name) = test.split_once("::").ok_or("names no test")?;
    let (name, helper) = name.split_once('+').unwrap_or((name, ""));
    let file = std::fs::read_to_string(root().join("tests").join(path))
        .map_err(|error| format!("tests/{path}: {error}"))?;
    let is_test = file
        .split_once(&format!("fn {name}("))
        .is_some_and(|(before, _)| before.lines().rev().take(3).any(|line| line.contains("test")));
    let own = body(&file, name).filter(|_| is_test).ok_or(format!("{test} is no test"))?;
    if helper.is_empty() {
        return Ok(own.to_owned());
    }
    let is_called = own.contains(&format!("{helper}("));
    let more =
        body(&file, helper).filter(|_| is_called).ok_or(format!("{test} calls no {helper}"))?;
    Ok(format!("{own}\n{more}"))
}

/// The text of a page in docs/sources.
fn page(name: &str) -> String {
    let path = root().join(format!("docs/sources/{name}.md"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What is wrong with one table, which stands on a page of this text.
fn faults(table: &Table, text: &str) -> Vec<String> {
    let rows = rows(text);
    let mut faults = Vec::new();
    for Tested { begins, tests } in &table.rows {
        let Some(row) = rows.iter().find(|row| row.what.starts_with(begins)) else {
            faults.push(format!("no row begins with {begins:?}"));
            continue;
        };
        let (said, none): (Vec<_>, Vec<_>) =
            tests.iter().map(|test| told(test)).partition(Result::is_ok);
        let said = said.into_iter().flatten().collect::<Vec<_>>().join("\n");
        let none = none.into_iter().filter_map(Result::err);
        faults.extend(none.map(|fault| format!("{begins:?}: {fault}")));
        let is_named = |word: &&str| {
            // A story of decide prints its reasons without quotes.
            said.contains(&format!("\"{word}\"")) || *word == ELSEWHERE && said.contains(*word)
        };
        let unnamed = words(row.answer).into_iter().filter(|word| !is_named(word));
        faults.extend(unnamed.map(|word| format!("{begins:?}: no test names {word}")));
        if row.answer.starts_with("partial") && !said.contains("Partial") {
            faults.push(format!("{begins:?}: no test names Partial"));
        }
    }
    let is_tested = |row: &Row<'_>| table.rows.iter().any(|it| row.what.starts_with(&it.begins));
    let untested = rows.iter().filter(|row| !is_tested(row));
    faults.extend(untested.map(|row| format!("no test is {:?}", row.what)));
    let code: String = table.sources.iter().map(|path| code(path)).collect();
    let is_aside = |word: &str| {
        ASIDE.iter().any(|(of, it)| *it == word && (of.is_empty() || *of == table.page))
    };
    let made: BTreeSet<&str> = made(&code).into_iter().filter(|word| !is_aside(word)).collect();
    let mut promised = promises(&rows);
    promised.remove(ELSEWHERE);
    let idle = promised.difference(&made);
    faults.extend(idle.map(|word| format!("its source makes no {word}")));
    let also: Vec<String> = table.also.iter().map(|name| page(name)).collect();
    let also: BTreeSet<&str> = also.iter().flat_map(|text| promises(&self::rows(text))).collect();
    let unsaid = made.difference(&promised).filter(|word| !also.contains(*word));
    faults.extend(unsaid.map(|word| format!("no row has {word}, which its source makes")));
    faults.into_iter().map(|fault| format!("{}: {fault}", table.page)).collect()
}

/// A reason of `decide`, which no source makes.
const ELSEWHERE: &str = "OffsetsReset";

#[test]
fn every_fault_of_every_source_is_a_row_and_a_test() {
    let list: Vec<Table> = serde_saphyr::from_str(LIST).unwrap();
    none(list.iter().flat_map(|table| faults(table, &page(&table.page))));
    let pages = pages().into_iter().filter(|page| page.path.starts_with("docs/sources"));
    none(pages.filter_map(|page| {
        let tables = page.text.lines().filter(|line| is_header(line)).count();
        let name = page.path.strip_prefix("docs/sources/").and_then(|it| it.strip_suffix(".md"));
        let tested = list.iter().filter(|table| Some(&*table.page) == name).count();
        let expected = usize::from(name.is_some_and(|name| name != UNFAILING));
        (tables != expected || tested != expected)
            .then(|| format!("{} has {tables} tables of faults, {tested} are tested", page.path))
    }));
}

/// The page of the one source that asks nobody: it counts pods which the watch has.
const UNFAILING: &str = "workload";

#[test]
fn a_row_without_its_test_and_a_word_without_its_row_are_noticed() {
    const TEST: &str = "house/observe/redis.rs::every_fault_has_its_word";
    let found = |source: &str, tested: &[(&str, &str)], rows: &str| {
        let tested = tested.iter().map(|(begins, test)| Tested {
            begins: (*begins).to_owned(),
            tests: vec![(*test).to_owned()],
        });
        let (page, sources) = ("X".to_owned(), vec![source.to_owned()]);
        let table = Table { page, sources, also: Vec::new(), rows: tested.collect() };
        let page = format!("# X\n\n| what X says | answer |\n| --- | --- |\n{rows}\n");
        faults(&table, &page).join("; ")
    };
    let (mute, row) = ("src/observe/dial.rs", "| no answer | `Timeout` |\n");
    let tested = &[("no answer", TEST)];
    assert_eq!(
        found("src/observe/web.rs", tested, "").split("; ").next().unwrap(),
        "X: no row begins with \"no answer\""
    );
    assert_eq!(found(mute, tested, row), "X: its source makes no Timeout");
    assert!(found(mute, &[], row).contains("X: no test is \"no answer\""));
    let gone = &[("no answer", "house/observe/redis.rs::gone")];
    assert!(found(mute, gone, row).contains("redis.rs::gone is no test"));
    let other = "| no answer | `StaleSample` |\n";
    assert!(found(mute, tested, other).contains("no test names StaleSample"));
    assert!(found("src/observe/redis", &[], "").contains("no row has NotFound"));
}
