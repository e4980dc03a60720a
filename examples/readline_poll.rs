//! A line editor in the program's own event loop: a clock ticks while the user types.
//!
//! `cargo run --example readline_poll`; with `--self-test` it types on a terminal of its own.

#[path = "family/front.rs"]
mod front;

use std::error::Error;
use std::io::{Read, Write};
use std::process::ExitCode;
use std::time::Duration;

use ossature::readline::{Editor, Step};
use ossature::sys::fd::{AsFd, read, write};
use ossature::sys::poll::{PollFd, PollFlags, poll};
use ossature::sys::tty::{self, Pty};

const USAGE: &str = "\
usage: readline_poll [--self-test]
Reads lines from the terminal with an event loop, and says each in upper case. Ctrl-D ends it.
  --self-test  types a line on a terminal of its own";

/// Reads one line and meanwhile runs `tick` twice a second; `None` at the end of the input.
fn edit(
    editor: &mut Editor,
    input: impl AsFd,
    output: impl AsFd,
    mut tick: impl FnMut(),
) -> Result<Option<String>, Box<dyn Error>> {
    let mut screen = Vec::new();
    let _settings = tty::line_editing(&input)?; // put back when this is dropped
    let size = tty::window_size(&output)?;
    editor.resized(size.columns.into(), size.rows.into(), &mut screen);
    let mut step = editor.begin("> ", &mut screen);
    loop {
        show(&output, &mut screen)?;
        match step {
            Step::Line(line) => return Ok(Some(String::from_utf8(line)?)),
            Step::Eof | Step::Interrupted => return Ok(None),
            _ => {}
        }
        let open = editor.timeout(); // the beginning of a key sequence waits so long for its rest
        let mut waits = [PollFd::new(&input, PollFlags::IN)];
        let ready = poll(&mut waits, open.unwrap_or(Duration::from_millis(500)))?;
        step = match (ready, open) {
            (0, None) => {
                tick();
                Step::More
            }
            (0, Some(_)) => editor.expire(&mut screen),
            _ => {
                let mut bytes = [0; 256];
                let count = read(&input, &mut bytes)?;
                if count == 0 { editor.end_of_input(&mut screen) } else { editor.feed(&bytes[..count], &mut screen) }
            }
        };
    }
}

/// Writes the editor's output to the terminal.
fn show(output: impl AsFd, screen: &mut Vec<u8>) -> Result<(), Box<dyn Error>> {
    let mut rest = &screen[..];
    while !rest.is_empty() {
        rest = &rest[write(&output, rest)?..];
    }
    screen.clear();
    Ok(())
}

fn self_test() -> Result<(), Box<dyn Error>> {
    let pty = Pty::open()?;
    tty::set_window_size(&pty.terminal, tty::WindowSize { rows: 24, columns: 80, ..Default::default() })?;
    let mut keyboard = std::fs::File::from(pty.controller);
    keyboard.write_all(b"wrld\x1b[D\x1b[D\x1b[Do\x01hello \r")?;
    let line = edit(&mut Editor::new(), &pty.terminal, &pty.terminal, || {})?;
    let mut shown = [0; 1024];
    let count = keyboard.read(&mut shown)?;
    println!("typed: {line:?}, shown: {}", String::from_utf8_lossy(&shown[..count]).escape_debug());
    (line.as_deref() == Some("hello world")).then_some(()).ok_or_else(|| "the line differs from the typed text".into())
}

fn main() -> ExitCode {
    front::run(USAGE, || {
        if std::env::args().any(|argument| argument == "--self-test") {
            return self_test();
        }
        let (mut editor, mut ticks) = (Editor::new(), 0);
        while let Some(line) = edit(&mut editor, std::io::stdin(), std::io::stdout(), || ticks += 1)? {
            println!("{} (half seconds: {ticks})", line.to_uppercase());
        }
        Ok(())
    })
}
