//! How a benchmark ends: well, or with what it missed, or because it could not run. Called by each one's `main`.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::process::ExitCode;

use anyhow::Result;

/// Says which targets were missed, a line for each, or why the benchmark could not run.
pub(crate) fn of(outcome: Result<Vec<String>>) -> ExitCode {
    match outcome {
        Ok(missed) if missed.is_empty() => ExitCode::SUCCESS,
        Ok(missed) => {
            println!();
            for miss in missed {
                println!("MISSED  {miss}");
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("the benchmark could not run: {error:#}");
            ExitCode::FAILURE
        }
    }
}
