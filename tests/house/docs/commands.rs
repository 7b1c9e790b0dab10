//! The commands of the pages: read as a shell would read them, and held against the program, the chart, the Makefile and the files that are
//! there. What needs no cluster is run.

use std::fs;
use std::path::Path;
use std::process;
use std::sync::LazyLock;

use clap::error::ErrorKind;

use super::fences::{Block, blocks, pages, root, script};
use super::{found, links, values};

/// Programs that are not ours to check.
const OTHERS: &[&str] =
    &["docker", "git", "kind", "skopeo", "curl", "ln", "chmod", "rabbitmqctl", "rabbitmq-plugins"];
const HELM: &[&str] = &["install", "upgrade", "uninstall", "rollback", "test", "template"];
const HELM_FLAGS: &[&str] = &[
    "-n",
    "--create-namespace",
    "--set",
    "--install",
    "--reset-then-reuse-values",
    "--take-ownership",
    "--force-conflicts",
];
const KUBECTL: &[&str] = &[
    "annotate",
    "apply",
    "config",
    "create",
    "delete",
    "describe",
    "get",
    "label",
    "logs",
    "patch",
    "port-forward",
    "rollout",
    "scale",
    "set",
    "wait",
];

/// One command of a page.
pub(super) struct Command {
    page: String,
    line: usize,
    /// Its words; `None` when a quote is not closed.
    words: Option<Vec<String>>,
    /// As it is written.
    text: String,
    /// Files that blocks of the same page show, `NAME` and text.
    files: Vec<(String, String)>,
}

/// All commands of all pages.
pub(super) fn all() -> Vec<Command> {
    blocks().iter().flat_map(of).collect()
}

/// The commands of a block: all of a script, those at a prompt of a session.
pub(super) fn of(block: &Block) -> Vec<Command> {
    let prompt = match block.language.as_str() {
        "sh" => "",
        "console" => "$ ",
        _ => return Vec::new(),
    };
    let script = script(&block.text, prompt).into_iter();
    script
        .flat_map(|(at, text)| {
            let words = shlex::split(&text)
                .map_or_else(|| vec![None], |words| split(words).map(Some).collect::<Vec<_>>());
            words.into_iter().map(move |words| command(block, at, words, &text)).collect::<Vec<_>>()
        })
        .collect()
}

fn command(block: &Block, at: usize, words: Option<Vec<String>>, text: &str) -> Command {
    let files = blocks().into_iter().filter(|other| other.page == block.page);
    let files = files.filter_map(|other| {
        let name = other.heading()?.split(' ').next()?.to_owned();
        is_yaml(&name).then_some((name, other.text))
    });
    Command {
        page: block.page.clone(),
        line: block.line + 1 + at,
        words,
        text: text.trim().to_owned(),
        files: files.collect(),
    }
}

fn is_yaml(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|kind| kind == "yaml")
}

/// The commands of a line that is a pipe or a chain; where a file is written to is no word.
fn split(words: Vec<String>) -> impl Iterator<Item = Vec<String>> {
    let mut all = vec![Vec::new()];
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "|" | "&&" => all.push(Vec::new()),
            ">" => drop(words.next()),
            _ => all.last_mut().unwrap().push(word),
        }
    }
    all.into_iter().filter(|words| !words.is_empty())
}

impl Command {
    pub(super) fn page(&self) -> &str {
        &self.page
    }

    /// As it is written, all of its line.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// What is wrong with it.
    pub(super) fn fault(&self) -> Option<String> {
        let fault = match &self.words {
            Some(words) => self.judge(words),
            None => Some("a quote is not closed".to_owned()),
        };
        fault.map(|fault| format!("{}:{}: `{}`: {fault}", self.page, self.line, self.text))
    }

    fn judge(&self, words: &[String]) -> Option<String> {
        let (program, rest) = words.split_first()?;
        match program.as_str() {
            "penstock" => ours(words, false).or_else(|| self.missing_file(rest)),
            // Our plugin of it.
            "kubectl" if rest.first().is_some_and(|word| word == "penstock") => ours(rest, false),
            "kubectl" => kubectl(rest).or_else(|| self.missing(rest, &["-f", "-k"])),
            "helm" => helm(rest).or_else(|| {
                let named = rest.iter().filter(|word| word.starts_with("charts/"));
                named
                    .filter(|path| self.lacks(path))
                    .map(|path| format!("{path} is not there"))
                    .next()
            }),
            "make" => rest.iter().filter(|word| !word.contains('=')).find_map(|target| {
                let is_there = MAKEFILE.contains(&format!("\n{target}:"));
                (!is_there).then(|| format!("the Makefile has no {target}"))
            }),
            "cargo" => cargo(rest),
            program if OTHERS.contains(&program) || is_assignment(program) => None,
            program => Some(format!("what is {program}?")),
        }
    }

    /// A file that one of our own commands is given and that is nowhere.
    fn missing_file(&self, words: &[String]) -> Option<String> {
        let takes_files = words
            .first()
            .is_some_and(|word| ["validate", "simulate", "convert"].contains(&word.as_str()));
        let mut files = words.iter().skip(1).filter(|word| is_yaml(word));
        files
            .find(|path| takes_files && self.lacks(path))
            .map(|path| format!("{path} is not there"))
    }

    /// A file after one of these flags that is nowhere.
    fn missing(&self, words: &[String], flags: &[&str]) -> Option<String> {
        let named =
            words.windows(2).filter(|pair| flags.contains(&pair[0].as_str()) && pair[1] != "-");
        named
            .map(|pair| &pair[1])
            .find(|path| self.lacks(path))
            .map(|path| format!("{path} is not there"))
    }

    fn lacks(&self, path: &str) -> bool {
        self.files.iter().all(|(name, _)| name != path) && found(&self.page, path).is_none()
    }

    /// Runs it, if it needs no cluster and not long; it must succeed. Says whether it did.
    pub(super) fn runs(&self) -> bool {
        let Some([program, verb, rest @ ..]) = self.words.as_deref() else { return false };
        if program != "penstock"
            || !["validate", "convert", "crds", "completions", "man", "--version"]
                .contains(&verb.as_str())
        {
            return false;
        }
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in self.files.iter().filter(|(name, _)| !name.contains('/')) {
            fs::write(folder.path().join(name), text).unwrap();
        }
        // A folder is where something is written to, and that is not the repository.
        let here = |word: &String| {
            let file = found(&self.page, word).filter(|path| path.is_file());
            file.map_or_else(|| word.clone(), |path| path.display().to_string())
        };
        let output = process::Command::new(env!("CARGO_BIN_EXE_penstock"))
            .arg(verb)
            .args(rest.iter().map(here))
            .current_dir(folder.path())
            .output()
            .unwrap();
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(
            output.status.success(),
            "{}:{}: `{}`: {}{}",
            self.page,
            self.line,
            self.text,
            said(&output.stdout),
            said(&output.stderr)
        );
        true
    }
}

static MAKEFILE: LazyLock<String> =
    LazyLock::new(|| fs::read_to_string(root().join("Makefile")).unwrap());
static MANIFEST: LazyLock<String> =
    LazyLock::new(|| fs::read_to_string(root().join("Cargo.toml")).unwrap());

/// Does it give a variable of the shell its value?
fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| name.bytes().all(|it| it.is_ascii_uppercase()))
}

/// One of our own; `is_part` when it may lack what it needs.
fn ours(words: &[String], is_part: bool) -> Option<String> {
    let error = penstock::cli::grammar().try_get_matches_from(words).err()?;
    let is_lacking = matches!(
        error.kind(),
        ErrorKind::MissingRequiredArgument | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    );
    let is_lacking = is_lacking || error.to_string().contains("none was supplied");
    let is_help = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    let is_good = is_help || (is_part && is_lacking);
    (!is_good).then(|| error.to_string().lines().collect::<Vec<_>>().join(" "))
}

fn kubectl(words: &[String]) -> Option<String> {
    let flags_with_values = ["-n", "--namespace"];
    let mut at = 0;
    while flags_with_values.contains(&words.get(at)?.as_str()) {
        at += 2;
    }
    let verb = words.get(at)?;
    if !KUBECTL.contains(&verb.as_str()) {
        return Some(format!("kubectl is not known to {verb}"));
    }
    // Our own kinds by their right names.
    let kinds = penstock::crd::all();
    let names: Vec<String> = kinds
        .iter()
        .flat_map(|crd| {
            let names = &crd.spec.names;
            let own = [names.plural.clone(), names.singular.clone().unwrap_or_default()];
            own.into_iter().chain(names.short_names.iter().flatten().cloned())
        })
        .collect();
    let mut said = words
        .iter()
        .skip(at + 1)
        .filter(|word| word.starts_with("scale") || word.starts_with("spl"));
    let wrong = said
        .find(|word| !names.iter().any(|name| *name == word.split('/').next().unwrap_or_default()));
    wrong.map(|word| format!("there is no kind {word}"))
}

fn helm(words: &[String]) -> Option<String> {
    let verb = words.first()?;
    if !HELM.contains(&verb.as_str()) {
        return Some(format!("helm is not known to {verb}"));
    }
    let strange =
        words.iter().find(|word| word.starts_with('-') && !HELM_FLAGS.contains(&word.as_str()));
    if let Some(flag) = strange {
        return Some(format!("helm is not known to take {flag}"));
    }
    let takes_chart = ["install", "upgrade", "template"].contains(&verb.as_str());
    if takes_chart && !words.iter().any(|word| word.starts_with("charts/")) {
        return Some("names no chart".to_owned());
    }
    let sets = words.windows(2).filter(|pair| pair[0] == "--set");
    sets.flat_map(|pair| values::set_faults(&pair[1])).next()
}

fn cargo(words: &[String]) -> Option<String> {
    let verb = words.first()?;
    if !["run", "test", "bench", "install", "build"].contains(&verb.as_str()) {
        return Some(format!("cargo is not known to {verb}"));
    }
    if let Some(at) = words.iter().position(|word| word == "--").filter(|_| verb == "run") {
        let ours_is: Vec<String> =
            std::iter::once("penstock".to_owned()).chain(words[at + 1..].iter().cloned()).collect();
        return ours(&ours_is, false);
    }
    let named = words.windows(2).find(|pair| ["--bench", "--test"].contains(&pair[0].as_str()))?;
    let is_there = MANIFEST.contains(&format!("name = \"{}\"", named[1]));
    (!is_there).then(|| format!("Cargo.toml names no {}", named[1]))
}

/// Commands and flags that stand in `quotes` within a sentence and that the program does not have.
pub(super) fn in_sentences() -> Vec<String> {
    let grammar = penstock::cli::grammar();
    let mut flags: Vec<String> = HELM_FLAGS.iter().map(|flag| (*flag).to_owned()).collect();
    for command in grammar.get_subcommands() {
        flags.extend(
            command
                .get_arguments()
                .filter_map(|argument| Some(format!("--{}", argument.get_long()?))),
        );
    }
    let mut faults = Vec::new();
    let mut count = 0;
    for page in pages() {
        for line in links::prose(&page.text) {
            // Every other part is in quotes.
            for quoted in line.split('`').skip(1).step_by(2) {
                let words = shlex::split(quoted).unwrap_or_default();
                let fault = match words.first().map(String::as_str) {
                    Some("penstock") if !quoted.contains(['[', '…']) && words.len() > 1 => {
                        ours(&words, true)
                    }
                    Some(flag) if flag.starts_with("--") => {
                        let flag = flag.split('=').next().unwrap_or_default();
                        (!flags.iter().any(|known| known == flag) && !FOREIGN.contains(&flag))
                            .then(|| "no such flag".to_owned())
                    }
                    _ => continue,
                };
                count += 1;
                faults.extend(fault.map(|fault| format!("{}: `{quoted}`: {fault}", page.path)));
            }
        }
    }
    assert!(50 < count, "only {count} were found");
    faults
}

/// Flags of other programs that sentences speak of.
const FOREIGN: &[&str] = &["--server-side", "--queues"];
