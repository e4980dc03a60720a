//! The main example from outside: runs `examples/words` as a user does, and compares the result with a count made here
//! by other means.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use ossature::sys::tty::Pty;

/// The program beside the tests. `cargo test` builds it; `cargo test --test words` alone does not.
fn words() -> Command {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    Command::new(PROGRAM.get_or_init(|| {
        let mut path = std::env::current_exe().unwrap();
        path.pop();
        path.set_file_name("examples");
        path.push("words");
        if !path.exists() {
            let cargo = std::env::var_os("CARGO").expect("tests are run by cargo");
            let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
            let built =
                Command::new(cargo).args(["build", "--example", "words", "--profile", profile]).status().unwrap();
            assert!(built.success() && path.exists(), "{} was not built", path.display());
        }
        path
    }))
}

fn run(arguments: impl IntoIterator<Item: AsRef<OsStr>>) -> Output {
    words().args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn fed(arguments: &[&str], text: &[u8]) -> Output {
    let mut child =
        words().args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text).unwrap();
    child.wait_with_output().unwrap()
}

/// A directory of this test, removed at its end.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ossature-words-{}-{name}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The expected output except for the number of workers and the speed: the most common words and the sums.
fn expected(texts: &[&[u8]], top: usize) -> (Vec<u8>, String) {
    let mut counts = HashMap::<&[u8], u64>::new();
    for text in texts {
        for word in text.split(|&byte| byte == b' ' || (9..=13).contains(&byte)) {
            if !word.is_empty() {
                *counts.entry(word).or_default() += 1;
            }
        }
    }
    let mut sorted: Vec<_> = counts.iter().map(|(&word, &count)| (std::cmp::Reverse(count), word)).collect();
    sorted.sort();
    let mut lines = Vec::new();
    for (count, word) in sorted.iter().take(top) {
        write!(lines, "{} ", count.0).unwrap();
        lines.extend_from_slice(word);
        lines.push(b'\n');
    }
    let (words, bytes) = (counts.values().sum::<u64>(), texts.iter().map(|text| text.len()).sum::<usize>());
    (lines, format!("{words} words, {} distinct, {bytes} bytes, ", counts.len()))
}

#[track_caller]
fn check(output: &Output, texts: &[&[u8]], top: usize, workers: usize) {
    let (lines, sums) = expected(texts, top);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert!(output.stdout.starts_with(&lines), "{}", String::from_utf8_lossy(&output.stdout));
    let last = std::str::from_utf8(&output.stdout[lines.len()..]).expect("one line of ASCII");
    let rest = last.strip_prefix(&sums).unwrap_or_else(|| panic!("{last} is not {sums}"));
    let speed = rest.strip_prefix(&format!("{workers} workers, ")).and_then(|rest| rest.strip_suffix(" MiB/s\n"));
    let (whole, part) = speed.and_then(|speed| speed.split_once('.')).unwrap_or_else(|| panic!("{rest:?}"));
    assert!([whole, part].iter().all(|part| part.bytes().all(|byte| byte.is_ascii_digit()) && !part.is_empty()));
}

fn shipped() -> Vec<u8> {
    fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/words/text.txt")).unwrap()
}

#[test]
fn without_a_file_the_shipped_text_is_counted() {
    check(&run(["--workers", "2"]), &[&shipped()], 20, 2);
}

#[test]
fn files_are_counted_together_and_words_do_not_cross_them() {
    let place = Place::new("files");
    let long = shipped().repeat(20);
    let (first, empty, last) = (place.file("a", b"one two th"), place.file("b", b""), place.file("c", &long));
    for workers in [1, 2, 7] {
        let output = run([
            "--top".as_ref(),
            "50".as_ref(),
            "--workers".as_ref(),
            workers.to_string().as_ref(),
            first.as_os_str(),
            empty.as_os_str(),
            last.as_os_str(),
        ]);
        check(&output, &[b"one two th", b"", &long], 50, workers);
        assert!(output.stderr.is_empty(), "no bar in a pipe");
    }
}

#[test]
fn a_killed_worker_changes_nothing() {
    let place = Place::new("kill");
    let text = shipped().repeat(40);
    let file = place.file("text", &text);
    for workers in ["1", "2", "5"] {
        let output = run([OsStr::new("--kill"), "--workers".as_ref(), workers.as_ref(), file.as_os_str()]);
        check(&output, &[&text], 20, workers.parse().unwrap());
        assert!(String::from_utf8_lossy(&output.stderr).contains("was killed"), "{output:?}");
    }
}

#[test]
fn bytes_that_are_no_text_are_counted_as_they_are() {
    let text = b"\xff\xfe caf\xc3\xa9 \xff\xfe a\x00b a\x00b a\x00 \x1f\xa0 \x85 x\x0bx\x0cx\rx";
    check(&fed(&["--workers", "3", "-"], text), &[text], 20, 3);
}

#[test]
fn words_of_every_length_at_every_place_are_told_apart() {
    let mut text = Vec::new();
    for len in (1..150).chain([1000, 70_000, 200_000]) {
        for last in [b'a', b'b', b'\0'] {
            text.extend(std::iter::repeat_n(b'a', len - 1));
            text.extend([last, b' ']);
        }
    }
    check(&fed(&["--workers", "2", "--top", "1000", "-"], &text), &[&text], 1000, 2);
}

#[test]
fn many_distinct_words_are_counted() {
    let text: Vec<u8> = (0..200_000).flat_map(|number| format!("w{number}\n").into_bytes()).collect();
    check(&fed(&["--workers", "2", "-"], &text), &[&text], 20, 2);
}

#[test]
fn nothing_is_no_words() {
    check(&fed(&["--workers", "2", "-"], b""), &[b""], 20, 2);
    check(&fed(&["--workers", "2", "--kill", "-"], b" \n\t "), &[b" \n\t "], 20, 2);
}

#[test]
fn what_cannot_be_read_is_named_with_the_reason() {
    let place = Place::new("errors");
    let good = place.file("good", b"words");
    let missing = place.0.join("missing");
    let output = run([good.as_os_str(), missing.as_os_str(), place.0.as_os_str()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains(&format!("words: {}: No such file", missing.display())), "{errors}");
    assert!(errors.contains(&format!("words: {}: is a directory", place.0.display())), "{errors}");
    assert!(!errors.contains("good"), "{errors}");
}

#[test]
fn a_file_that_fails_to_be_read_is_an_error() {
    // Address 0 of a process is never mapped, and this file, unlike its length, says so.
    let output = run(["/proc/self/mem"]);
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8(output.stderr).unwrap();
    let cause = std::io::Error::from_raw_os_error(5); // EIO, in this libc's words
    assert!(errors.contains(&format!("words: /proc/self/mem: {cause}")), "{errors}");
}

#[test]
fn a_file_without_permission_is_an_error() {
    let place = Place::new("permission");
    let secret = place.file("secret", b"words");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).unwrap();
    // Root may read everything, so root runs a copy of the program as nobody.
    let program = place.0.join("words");
    // Another process copies the file. A child that another test starts meanwhile would inherit a descriptor of this
    // process, and a file that is open for writing cannot be run.
    assert!(Command::new("cp").arg(words().get_program()).arg(&program).status().unwrap().success());
    fs::set_permissions(&place.0, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(program);
    if fs::read(&secret).is_ok() {
        command.uid(65534);
    }
    let output = command.arg(&secret).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains(&format!("words: {}: Permission denied", secret.display())), "{errors}");
}

#[test]
fn a_terminal_sees_a_bar_and_a_clean_line_after_it() {
    let pty = Pty::open().unwrap();
    let output = words().args(["--workers", "2"]).stderr(Stdio::from(pty.terminal)).output().unwrap();
    check(&output, &[&shipped()], 20, 2);
    // A terminal hands over what was written piece by piece, and ends with EIO once nobody holds it.
    let (mut seen, mut piece) = (Vec::new(), [0; 4096]);
    while let Ok(len @ 1..) = ossature::sys::fd::read(&pty.controller, &mut piece) {
        seen.extend_from_slice(&piece[..len]);
    }
    let seen = String::from_utf8_lossy(&seen);
    assert!(seen.starts_with("\r[") && seen.contains("]   0%"), "{seen:?}");
    assert!(seen.contains("] 100%") && seen.ends_with(" \r"), "{seen:?}");
}

#[test]
fn a_wrong_command_line_is_explained() {
    for wrong in [&["--workers", "0"][..], &["--workers", "many"], &["--workers"], &["--no-such"], &["--top", "-1"]] {
        let output = run(wrong);
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("usage: words"), "{wrong:?}");
    }
    let output = run(["--help"]);
    assert!(output.status.success() && output.stdout.starts_with(b"usage: words"));
}

#[test]
fn the_self_test_ends_well() {
    let output = run(["--self-test"]);
    assert!(output.status.success(), "{output:?}");
}
