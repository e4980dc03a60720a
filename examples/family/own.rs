//! The parts that the examples share whose self-test checks their output.

use std::error::Error;
use std::process::Command;
use std::time::Duration;

pub type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// The command-line argument after `--NAME`.
pub fn option(name: &str) -> Option<String> {
    let mut arguments = std::env::args();
    arguments.find(|argument| argument.strip_prefix("--") == Some(name))?;
    arguments.next()
}

/// The length of a second, which `--second MILLISECONDS` shortens.
#[allow(dead_code, reason = "not every example takes its time")]
pub fn second() -> Outcome<Duration> {
    let milliseconds = option("second").map_or(Ok(1000), |number| number.parse())?;
    Ok(Duration::from_millis(milliseconds))
}

/// With `--self-test`, runs this program again with `arguments` instead, and returns its output.
#[allow(dead_code, reason = "not every example is checked by what it prints")]
pub fn self_test(arguments: &[&str]) -> Outcome<Option<String>> {
    if !std::env::args().any(|argument| argument == "--self-test") {
        return Ok(None);
    }
    let output = Command::new(std::env::current_exe()?).args(arguments).output()?;
    let text = String::from_utf8(output.stdout)?;
    print!("{text}");
    if !output.status.success() {
        return Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(Some(text))
}
