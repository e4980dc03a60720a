//! Every package that a step installs is in the table of scripts/packages, with its name on Fedora too.

use std::fs;
use std::path::Path;
use std::process::Command;

/// The scripts that call `need` or `debian_rust`.
const SCRIPTS: [&str; 7] = [
    ".ci/run",
    "scripts/common.sh",
    "scripts/kernels.sh",
    "scripts/long",
    "scripts/msrv",
    "scripts/no-std",
    "scripts/portability",
];

/// The package names after each `need` of a script. A name in double quotes consists of variables.
fn needed(script: &str) -> Vec<String> {
    let calls = script.lines().filter_map(|line| line.trim_start().strip_prefix("need "));
    let words = calls.flat_map(|call| call.split([';', '|', '#', '&']).next().unwrap_or_default().split_whitespace());
    words.filter(|word| !word.starts_with('"')).map(str::to_owned).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_package_that_a_step_installs_is_in_the_table() {
    let table = fs::read_to_string(root().join("scripts/packages")).expect("the table");
    let lines: Vec<_> = table.lines().filter(|line| !line.starts_with('#')).collect();
    let known: Vec<_> = lines.iter().filter_map(|line| line.split_once(' ')).map(|(debian, _)| debian).collect();
    assert_eq!(known.len(), lines.len(), "each line has a name on Fedora, or `-`");
    assert!(known.is_sorted(), "in the order of the names");
    let mut seen = 0;
    for script in SCRIPTS {
        let text = fs::read_to_string(root().join(script)).expect(script);
        for name in needed(&text) {
            assert!(known.contains(&name.as_str()), "{script} installs {name}, which scripts/packages does not list");
            seen += 1;
        }
    }
    assert!(seen > 15, "the calls are found: {seen}");
}

/// The output of a shell that has sourced scripts/common.sh, and whether it succeeded.
fn shell(line: &str) -> (String, bool) {
    let script = format!("source scripts/common.sh; {line}");
    let output = Command::new("bash").args(["-c", &script, "tests"]).current_dir(root()).output().expect("bash");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (text.trim().to_owned(), output.status.success())
}

#[test]
fn names_of_fedora_come_from_the_table() {
    assert_eq!(shell("on_fedora iproute2"), ("iproute".into(), true));
    assert_eq!(shell("on_fedora build-essential"), ("gcc gcc-c++ make".into(), true));
    let (text, done) = shell("on_fedora musl-tools");
    assert!(!done && text.contains("Fedora has no musl-tools"), "{text}");
    let (text, done) = shell("on_fedora nonsense");
    assert!(!done && text.contains("add its line"), "{text}");
}
