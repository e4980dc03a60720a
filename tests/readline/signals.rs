//! A signal that ends the program leaves the terminal as it was.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use ossature::readline::{Editor, ReadOutcome, Terminal};
use ossature::sys::deadline::Deadline;
use ossature::sys::fd;
use ossature::sys::poll::{PollFd, PollFlags, poll};
use ossature::sys::sched;
use ossature::sys::signal::{self, Signal};
use ossature::sys::tty::{Pty, WindowSize, set_window_size};

/// The variable that makes this program the one that the signal of this name ends.
const PART: &str = "OSSATURE_TEST_SIGNAL";

const ENDING: [(&str, Signal); 3] = [("HUP", Signal::HUP), ("INT", Signal::INT), ("TERM", Signal::TERM)];

#[test]
fn the_program_that_the_signal_ends() {
    let Ok(name) = std::env::var(PART) else { return }; // run by the test below only
    let (_, signal) = ENDING.into_iter().find(|(known, _)| *known == name).unwrap();
    let mut editor = Editor::new();
    // The line is shown and the terminal set. A test program has another thread, which could get a signal of the
    // process.
    editor.on_pre_input(move |_| signal::send(sched::thread_id(), signal).unwrap());
    panic!("the line goes on: {:?}", editor.read_line("ask> "));
}

#[test]
fn a_signal_that_ends_the_program_gives_the_terminal_back() {
    let (_, module) = module_path!().split_once("::").unwrap();
    for (name, signal) in ENDING {
        let pty = Pty::open().unwrap();
        set_window_size(&pty.controller, WindowSize { rows: 24, columns: 80, ..WindowSize::default() }).unwrap();
        let end = || Stdio::from(fd::duplicate(&pty.terminal).unwrap());
        let settings = || Command::new("stty").arg("-g").stdin(end()).output().expect("stty").stdout;
        let before = settings();
        assert!(!before.is_empty());
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &format!("{module}::the_program_that_the_signal_ends"), "--nocapture"])
            .env(PART, name)
            .env("TERM", "xterm")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .status()
            .unwrap();
        assert_eq!(status.signal(), Some(signal.as_raw()), "{name}");
        assert_eq!(settings(), before, "{name}");
        let (mut shown, until) = (String::new(), Deadline::after(Duration::from_secs(20)));
        while !shown.contains("\x1b[?2004l") && !until.has_passed() {
            let mut part = [0; 1024];
            if poll(&mut [PollFd::new(&pty.controller, PollFlags::IN)], until).unwrap() > 0 {
                let len = fd::read(&pty.controller, &mut part).unwrap();
                shown.push_str(&String::from_utf8_lossy(&part[..len]));
            }
        }
        // The marks of a paste are on while the line is there, and off behind it.
        let marks = shown.split_once("\x1b[?2004h").and_then(|(_, line)| line.split_once("\x1b[?2004l"));
        assert!(marks.is_some_and(|(line, _)| line.contains("ask> ")), "{name}: {shown:?}");
    }
}

/// Reads a line from a terminal that hangs up, with a signal if one is given.
fn read_hung_up(signal: Option<Signal>) -> ReadOutcome {
    let pty = Pty::open().unwrap();
    let end = || fd::duplicate(&pty.terminal).unwrap();
    let mut editor = Editor::new();
    editor.set_terminal(Terminal::new(end(), end()).unwrap());
    let mut far = Some(pty.controller);
    editor.on_pre_input(move |_| {
        drop(far.take());
        signal.into_iter().for_each(|signal| signal::send(sched::thread_id(), signal).unwrap());
    });
    let outcome = editor.read_line("ask> ").unwrap();
    assert_eq!(editor.read_line("ask again> ").unwrap(), ReadOutcome::Eof);
    outcome
}

#[test]
fn a_terminal_that_hangs_up_ends_the_input() {
    assert_eq!(read_hung_up(None), ReadOutcome::Eof);
}

#[test]
fn the_program_whose_terminal_hangs_up() {
    match std::env::var(PART).as_deref() {
        Ok("hang up") => panic!("the line goes on: {:?}", read_hung_up(Some(Signal::HUP))),
        Ok("ignore") => {
            signal::ignore(Signal::HUP).unwrap();
            assert_eq!(read_hung_up(Some(Signal::HUP)), ReadOutcome::Eof);
        }
        _ => {} // run by the test below only
    }
}

#[test]
fn a_terminal_that_hangs_up_ends_the_program_unless_it_ignores_that() {
    let (_, module) = module_path!().split_once("::").unwrap();
    for (part, ends) in [("hang up", Some(Signal::HUP.as_raw())), ("ignore", None)] {
        let out = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &format!("{module}::the_program_whose_terminal_hangs_up"), "--nocapture"])
            .env(PART, part)
            .output()
            .unwrap();
        assert_eq!(out.status.signal(), ends, "{part}: {out:?}");
        assert!(ends.is_some() || out.status.success(), "{part}: {out:?}");
    }
}
