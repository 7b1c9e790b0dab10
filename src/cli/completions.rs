//! `penstock completions`: the completion script of a shell; or, for kubectl, the script by which it asks what may come next, and the answer.

use std::fmt::Write as _;

use clap::builder::PossibleValue;
use clap::{Arg, Args, Command, CommandFactory, ValueEnum};
use clap_complete::Shell;

use super::{Failure, Penstock, out};

/// What kubectl runs, by its name, to complete a plugin: the words so far, the last of them unfinished.
const OF_KUBECTL: &str = "#!/bin/sh
# To be kept as kubectl_complete-penstock, executable, where PATH leads: kubectl asks it what may come after `kubectl penstock`.
exec penstock completions kubectl -- \"$@\"
";

/// The arguments of `penstock completions`.
#[derive(Debug, Args)]
pub(super) struct Completions {
    /// Which shell; or kubectl, for the script `kubectl_complete-penstock`
    shell: Asker,
    /// Of kubectl: the words so far, the last of them unfinished
    #[arg(last = true, value_name = "WORDS", hide = true)]
    words: Vec<String>,
}

/// Who completes.
#[derive(Debug, Clone)]
enum Asker {
    Shell(Shell),
    Kubectl,
}

impl ValueEnum for Asker {
    fn value_variants<'a>() -> &'a [Self] {
        &[
            Self::Shell(Shell::Bash),
            Self::Shell(Shell::Elvish),
            Self::Shell(Shell::Fish),
            Self::Shell(Shell::PowerShell),
            Self::Shell(Shell::Zsh),
            Self::Kubectl,
        ]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        match self {
            Self::Shell(shell) => shell.to_possible_value(),
            Self::Kubectl => Some(PossibleValue::new("kubectl")),
        }
    }
}

impl Completions {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut grammar = Penstock::command();
        let text = match self.shell {
            Asker::Shell(shell) => {
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut grammar, "penstock", &mut script);
                String::from_utf8_lossy(&script).into_owned()
            }
            Asker::Kubectl if self.words.is_empty() => OF_KUBECTL.to_owned(),
            Asker::Kubectl => {
                grammar.build();
                next(&grammar, &self.words)
            }
        };
        Ok(out::text(&text)?)
    }
}

/// What may come next, as kubectl reads it: a line for each word with what it is, and a last line that says whether files may come as well
/// (`:0`) or not (`:4`).
fn next(grammar: &Command, words: &[String]) -> String {
    let Some((unfinished, before)) = words.split_last() else { return ":4\n".to_owned() };
    let (mut command, mut open, mut place) = (grammar, None::<&Arg>, 0);
    for word in before {
        if open.take().is_some() {
            continue;
        }
        if word.starts_with('-') {
            open = command.get_arguments().find(|it| is_called(it, word)).filter(|it| takes(it));
        } else if let Some(found) = command.find_subcommand(word) {
            (command, place) = (found, 0);
        } else {
            place += 1;
        }
    }
    let mut said = Vec::new();
    let awaited = open.or_else(|| command.get_positionals().nth(place));
    if open.is_none() && unfinished.starts_with('-') {
        for argument in command.get_arguments().filter(|it| !it.is_hide_set()) {
            let name = argument.get_long().map(|long| format!("--{long}"));
            said.extend(name.map(|name| (name, argument.get_help().map(ToString::to_string))));
        }
    } else {
        if open.is_none() {
            let known = command.get_subcommands();
            said.extend(
                known.map(|it| (it.get_name().to_owned(), it.get_about().map(ToString::to_string))),
            );
        }
        let values = awaited.map(Arg::get_possible_values).unwrap_or_default();
        said.extend(
            values
                .iter()
                .map(|it| (it.get_name().to_owned(), it.get_help().map(ToString::to_string))),
        );
    }
    said.retain(|(word, _)| word.starts_with(unfinished));
    let mut text = String::new();
    for (word, what) in &said {
        let what = what.as_ref().map_or_else(String::new, |what| format!("\t{what}"));
        // Into a string, which never fails.
        let _ = writeln!(text, "{word}{what}");
    }
    let files = if said.is_empty() && awaited.is_some() { ":0" } else { ":4" };
    format!("{text}{files}\n")
}

fn is_called(argument: &Arg, word: &str) -> bool {
    let long = argument.get_long().is_some_and(|long| word.strip_prefix("--") == Some(long));
    let short = argument.get_short().map(|short| format!("-{short}"));
    long || short.is_some_and(|short| short == word)
}

fn takes(argument: &Arg) -> bool {
    argument.get_action().takes_values()
}
