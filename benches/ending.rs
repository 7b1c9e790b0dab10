//! How a benchmark on real servers ends: well, or with what it missed, or because it could not run. Called by each one's `main`.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::process::ExitCode;

use anyhow::Result;

/// Runs a benchmark that gives a line for each target it missed; says them.
pub(crate) fn run(bench: impl Future<Output = Result<Vec<String>>>) -> ExitCode {
    let outcome = tokio::runtime::Runtime::new()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(Box::pin(bench)));
    match outcome {
        Ok(missed) if missed.is_empty() => ExitCode::SUCCESS,
        Ok(missed) => {
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
