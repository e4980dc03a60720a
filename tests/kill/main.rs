//! Death from outside, by `examples/storm` in its short form. This test has no engine of its own.

use std::path::Path;
use std::process::{Command, Stdio};

fn storm(arguments: &[&str]) -> (bool, String) {
    let mut program = std::env::current_exe().unwrap();
    program.pop();
    program.set_file_name("examples");
    program.push("storm");
    build(&program);
    let output = Command::new(&program).args(arguments).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.success(), said + &String::from_utf8_lossy(&output.stderr))
}

/// Builds the program if needed: `cargo test` has built it, `cargo test --test kill` alone has not.
fn build(program: &Path) {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        if !program.exists() {
            let cargo = std::env::var_os("CARGO").expect("tests are run by cargo");
            let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
            let built =
                Command::new(cargo).args(["build", "--example", "storm", "--profile", profile]).status().unwrap();
            assert!(built.success() && program.exists(), "{} was not built", program.display());
        }
    });
}

/// The number after `word=` in the storm's line.
fn count(line: &str, word: &str) -> u32 {
    let at = line.find(&format!("{word}=")).unwrap_or_else(|| panic!("no {word} in {line:?}"));
    let digits = line[at + word.len() + 1..].chars().take_while(char::is_ascii_digit);
    digits.collect::<String>().parse().unwrap()
}

/// A quarter of `usual` on an emulated machine, where each death takes seconds, and so do a thousand single steps.
fn fitting(usual: u32) -> u32 {
    if std::env::var_os("OSSATURE_TEST_SLOWNESS").is_some() { usual / 4 } else { usual }
}

fn survives_random_instants(primitive: &str) {
    let kills = fitting(200);
    let (good, said) = storm(&[primitive, "--kills", &kills.to_string(), "--seed", "7"]);
    assert!(good, "{said}");
    assert!(said.starts_with(&format!("{primitive}: kills=")), "{said}");
    assert!(count(&said, "kills") >= kills && count(&said, "died-inside") >= kills / 10, "{said}");
    assert!(said.contains(" hangs=0 broken=0 leaked=0 seconds="), "{said}");
}

fn survives_a_kill_after_any_instruction(primitive: &str, most: u32) {
    let most = fitting(most);
    let (good, said) = storm(&[primitive, "--step", "--most", &most.to_string()]);
    assert!(good, "{said}");
    // Through four scenes at least; fewer would mean that one was not played.
    assert!(count(&said, "steps") >= 3 * most, "{said}");
    assert!(said.contains(" hangs=0 broken=0 leaked=0"), "{said}");
}

#[test]
fn lock_survives_kills_at_random_instants() {
    survives_random_instants("lock");
}

#[test]
fn lock_survives_a_kill_after_every_instruction() {
    survives_a_kill_after_any_instruction("lock", 60);
}

#[test]
fn rlock_survives_kills() {
    survives_random_instants("rlock");
    survives_a_kill_after_any_instruction("rlock", 20);
}

#[test]
fn rwlock_survives_kills() {
    survives_random_instants("rwlock");
    survives_a_kill_after_any_instruction("rwlock", 40);
}

#[test]
fn event_survives_kills() {
    survives_random_instants("event");
    survives_a_kill_after_any_instruction("event", 20);
}

#[test]
fn semaphore_survives_kills() {
    survives_random_instants("semaphore");
    survives_a_kill_after_any_instruction("semaphore", 20);
}

#[test]
fn permit_survives_kills() {
    survives_random_instants("permit");
    survives_a_kill_after_any_instruction("permit", 53);
}

#[test]
fn condition_survives_kills() {
    survives_random_instants("condition");
    survives_a_kill_after_any_instruction("condition", 20);
}

#[test]
fn barrier_survives_kills() {
    survives_random_instants("barrier");
    survives_a_kill_after_any_instruction("barrier", 20);
}

#[test]
fn connection_survives_kills() {
    survives_random_instants("connection");
}

#[test]
fn queue_survives_kills() {
    survives_random_instants("queue");
}

#[test]
fn process_survives_kills() {
    survives_random_instants("process");
}

#[test]
fn pool_survives_kills_of_workers_and_supervisors() {
    survives_random_instants("pool");
}

#[test]
fn wrong_words_are_told_with_the_right_ones() {
    for (arguments, part) in [
        (&["locc"][..], "use one of lock"),
        (&[], "which storm?"),
        (&["lock", "--kills", "many"], "needs a number, not \"many\""),
        (&["lock", "--kills"], "needs a number"),
        (&["lock", "--kills", "0"], "at least"),
        (&["lock", "--spin"], "unknown option --spin"),
        (&["connection", "--step"], "connection has no steps"),
    ] {
        let (good, said) = storm(arguments);
        assert!(!good && said.contains(part), "{arguments:?}: {said}");
    }
}
