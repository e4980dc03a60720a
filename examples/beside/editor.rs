//! The line editor beside tokio: a task awaits the keys like those of a socket, and shows a tick above the line.

#[path = "../family/guided.rs"]
mod guided;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::time::Duration;

use guided::{Outcome, expect, run, unknown};
use ossature::readline::{Editor, Step};
use ossature::sys::deadline::Deadline;
use ossature::sys::fd;
use ossature::sys::pipe::unread;
use ossature::sys::tty::{self, Pty, WindowSize, set_window_size};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

const USAGE: &str = "\
usage: beside_editor
Reads lines from the terminal in a tokio runtime, and shows a tick above the line twice a second. Ctrl-D ends it.
  --self-test  types a line on a terminal of its own";

/// Reads one line; `None` at the end of the input.
async fn edit(editor: &mut Editor, terminal: &AsyncFd<OwnedFd>) -> Outcome<Option<String>> {
    let mut screen = Vec::new();
    let mut step = editor.begin("> ", &mut screen);
    loop {
        fd::write_all(terminal.get_ref(), &screen, Deadline::NEVER)?;
        screen.clear();
        match step {
            Step::More => {}
            Step::Line(line) => return Ok(Some(String::from_utf8(line)?)),
            _ => return Ok(None),
        }
        let open = editor.timeout(); // the beginning of a key sequence waits so long for its rest
        let wait = open.unwrap_or(Duration::from_millis(500));
        step = match tokio::time::timeout(wait, terminal.readable()).await {
            Err(_) if open.is_some() => editor.expire(&mut screen),
            Err(_) => {
                editor.erase(&mut screen);
                screen.extend_from_slice(b"tick\n"); // the terminal makes a line end of it
                editor.redisplay(&mut screen);
                Step::More
            }
            Ok(guard) => {
                let mut bytes = [0; 256];
                let count = fd::read(terminal.get_ref(), &mut bytes)?;
                if unread(terminal.get_ref())? == 0 {
                    guard?.clear_ready(); // only now: tokio waits for the next edge
                }
                if count == 0 { editor.end_of_input(&mut screen) } else { editor.feed(&bytes[..count], &mut screen) }
            }
        };
    }
}

/// Reads lines from a terminal until its input ends.
fn lines(terminal: impl AsFd) -> Outcome<Vec<String>> {
    let _settings = tty::line_editing(&terminal)?; // put back when this is dropped
    let (mut editor, mut lines) = (Editor::new(), Vec::new());
    let size = tty::window_size(&terminal)?;
    editor.resized(size.columns.into(), size.rows.into(), &mut Vec::new());
    let fd = fd::duplicate(&terminal)?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        // SAFETY: the descriptor is open, and stays it while its owner is inside of the `AsyncFd`.
        let terminal = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE)? };
        while let Some(line) = edit(&mut editor, &terminal).await? {
            lines.push(line);
        }
        Ok(lines)
    })
}

/// Types the beginning of a line, waits for a tick, and types the rest and the end of the input. Returns the other end
/// of the terminal, which stays open until everything is read, and the output.
fn typist(mut keyboard: File) -> std::io::Result<(File, String)> {
    let (mut shown, mut part) = (String::new(), [0; 1024]);
    for (text, keys) in [("> ", "wrld\x1b[D\x1b[D\x1b[Do"), ("tick\r\n", "\x01hello \r\x04")] {
        while !shown.contains(text) {
            let count = keyboard.read(&mut part)?;
            shown.push_str(&String::from_utf8_lossy(&part[..count]));
        }
        keyboard.write_all(keys.as_bytes())?;
    }
    Ok((keyboard, shown))
}

fn check() -> Outcome {
    let pty = Pty::open()?;
    set_window_size(&pty.terminal, WindowSize { rows: 24, columns: 80, ..WindowSize::default() })?;
    let keyboard = File::from(pty.controller);
    let typist = std::thread::spawn(|| typist(keyboard));
    let lines = lines(&pty.terminal)?;
    let (_keyboard, shown) = typist.join().map_err(|_| "the typist panicked")??;
    expect(lines == ["hello world"], "the typed line", &format!("{lines:?}"))?;
    expect(shown.contains("tick\r\n"), "the tick", &shown)
}

fn program(arguments: &[&str]) -> Outcome {
    if !arguments.is_empty() {
        return unknown(arguments);
    }
    for line in lines(std::io::stdin())? {
        println!("{}", line.to_uppercase());
    }
    Ok(())
}

fn main() -> ExitCode {
    run(USAGE, program, check)
}
