//! A program under a shell with job control is stopped by the user's suspend character, and continues.

use std::io::Write;
use std::process::{Command, Stdio};

use ossature::readline::{Editor, ReadOutcome};
use ossature::sys::deadline::Deadline;
use ossature::sys::fd;
use ossature::sys::poll::{PollFd, PollFlags, poll};
use ossature::sys::process;
use ossature::sys::sched::{self, CpuSet, Policy};
use ossature::sys::tty::{Pty, WindowSize, set_window_size};

/// The variable that makes this program the one under the shell.
const PART: &str = "OSSATURE_TEST_SUSPEND";

/// The script of the shell: the job is stopped and prints its state and the terminal's settings; then the job
/// continues.
const SCRIPT: &str = r#"set -m
"$0" --exact "$NAME" --nocapture
echo "[stopped $?]"
stty -a
echo "[settings end]"
read answer
fg
echo "[ended $?]"
stty -a
echo "[over]"
"#;

#[test]
fn the_program_under_the_shell() {
    if std::env::var_os(PART).is_none() {
        return; // run by the test below only
    }
    // The first thread gets the group's signal. It runs only while the editor's thread waits, so it is late.
    sched::set_affinity(None, &CpuSet::of([sched::current_cpu()])).unwrap();
    sched::set_affinity(Some(process::id()), &sched::affinity(None).unwrap()).unwrap();
    sched::set_policy(Some(process::id()), Policy::Idle).unwrap();
    let line = Editor::new().read_line("ask> ").unwrap();
    let mut out = std::io::stdout().lock();
    let ReadOutcome::Line(line) = line else { panic!("{line:?}") };
    writeln!(out, "[line {line}]").unwrap();
}

/// Reads the output of the terminal until `text` appears. Returns the part since the call.
fn until(pty: &Pty, shown: &mut String, text: &str) -> String {
    let deadline = Deadline::after(std::time::Duration::from_secs(60));
    let from = shown.len();
    while !shown[from..].contains(text) {
        assert!(!deadline.has_passed(), "{text:?} is not in {shown:?}");
        let mut buffer = [0; 1024];
        if poll(&mut [PollFd::new(&pty.controller, PollFlags::IN)], deadline).unwrap() > 0 {
            let len = fd::read(&pty.controller, &mut buffer).unwrap_or_else(|errno| panic!("{errno:?}: {shown:?}"));
            shown.push_str(&String::from_utf8_lossy(&buffer[..len]));
        }
    }
    shown[from..].to_owned()
}

fn types(pty: &Pty, keys: &[u8]) {
    fd::write_all(&pty.controller, keys, Deadline::after(std::time::Duration::from_secs(20))).unwrap();
}

#[test]
fn a_suspended_program_gives_the_terminal_back_and_draws_its_line_when_it_goes_on() {
    let pty = Pty::open().unwrap();
    set_window_size(&pty.controller, WindowSize { rows: 24, columns: 80, ..WindowSize::default() }).unwrap();
    let (_, module) = module_path!().split_once("::").unwrap();
    let end = || Stdio::from(fd::duplicate(&pty.terminal).unwrap());
    // A session of its own, whose terminal is standard input.
    let mut shell = Command::new("setsid")
        .args(["-c", "sh", "-c", SCRIPT])
        .arg(std::env::current_exe().unwrap())
        .env(PART, "1")
        .env("NAME", format!("{module}::the_program_under_the_shell"))
        .env("TERM", "xterm")
        .env("RUST_TEST_THREADS", "1")
        .stdin(end())
        .stdout(end())
        .stderr(end())
        .spawn()
        .expect("setsid of util-linux or busybox");
    let mut shown = String::new();
    let begun = until(&pty, &mut shown, "ask> ");
    assert!(begun.contains("\x1b[?2004h"), "the marks of a paste are on: {begun:?}");
    types(&pty, b"half a");
    until(&pty, &mut shown, "half a");
    types(&pty, b"\x1a");
    let stopped = until(&pty, &mut shown, "[settings end]");
    assert!(stopped.contains("\x1b[?2004l"), "the marks of a paste are off: {stopped:?}");
    assert!(!stopped.contains("\x1b[?2004h"), "the terminal is not taken again before the stop: {stopped:?}");
    // 128 and the number of SIGTSTP, which is another one on few machines.
    assert!(stopped.contains("[stopped 14") || stopped.contains("[stopped 15"), "{stopped:?}");
    let has = |text: &str, word: &str| text.split([' ', ';', '\r', '\n']).any(|it| it == word);
    assert!(["icanon", "echo", "isig", "icrnl"].iter().all(|word| has(&stopped, word)), "{stopped:?}");
    types(&pty, b"\n");
    let drawn = until(&pty, &mut shown, "ask> half a");
    assert!(drawn.contains("\x1b[?2004h"), "{drawn:?}");
    types(&pty, b" line\r");
    let over = until(&pty, &mut shown, "[over]");
    assert!(over.contains("[line half a line]") && over.contains("[ended 0]"), "{over:?}");
    assert!(["icanon", "echo", "isig", "icrnl"].iter().all(|word| has(&over, word)), "{over:?}");
    assert!(shell.wait().unwrap().success());
}
