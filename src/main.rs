//! The command `penstock`: runs the command line, prints an error chain once, returns an exit code.

use std::process::ExitCode;

use penstock::cli;

fn main() -> ExitCode {
    cli::run(std::env::args_os()).map_or_else(
        |failure| {
            cli::complain(&failure);
            failure.exit_code()
        },
        |()| ExitCode::SUCCESS,
    )
}
