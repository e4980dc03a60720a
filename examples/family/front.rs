//! The front end of the small examples: `--help`, a message about unknown options, and errors as text.

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

/// Prints `usage` for `--help`, and otherwise runs `program`. An error becomes the line `NAME: TEXT` on standard error
/// and the exit code 1. An option that `usage` does not name becomes the exit code 2.
pub fn run<E: Display>(usage: &str, program: impl FnOnce() -> Result<(), E>) -> ExitCode {
    let name = usage.split_whitespace().nth(1).unwrap_or_default();
    let options: Vec<String> = std::env::args().skip(1).filter(|argument| argument.starts_with('-')).collect();
    if options.iter().any(|option| option == "--help" || option == "-h") {
        return match writeln!(std::io::stdout(), "{usage}") {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    let known = |option: &str| usage.split(|c: char| c.is_whitespace() || "[]|".contains(c)).any(|word| word == option);
    if let Some(option) = options.iter().find(|option| !known(option)) {
        eprintln!("{name}: unknown option {option}\n{usage}");
        return ExitCode::from(2);
    }
    match program() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}
