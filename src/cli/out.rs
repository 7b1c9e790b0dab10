//! The one place that prints. A reader that has gone away (`penstock crds | head`) is no error.

use std::io::{self, Write};

use anyhow::Context;

/// Prints text as it is.
pub(super) fn text(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write to standard output"),
    }
}

/// Prints a value as JSON.
pub(super) fn json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    let mut printed = serde_json::to_string_pretty(value).context("cannot print JSON")?;
    printed.push('\n');
    text(&printed)
}

/// Says a line on standard error, where nobody parses it.
pub(super) fn aside(line: &str) {
    let mut out = io::stderr().lock();
    // Who cannot be told cannot be told so either.
    let _gone = writeln!(out, "{line}");
}
