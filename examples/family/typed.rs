//! A terminal without a user, for the self-tests of examples that read lines.

use std::os::fd::OwnedFd;
use std::thread::JoinHandle;
use std::time::Duration;

use ossature::readline::Terminal;
use ossature::sys::deadline::Deadline;
use ossature::sys::fd;
use ossature::sys::poll::{PollFd, PollFlags, poll};
use ossature::sys::tty::{Pty, WindowSize, set_window_size};

/// Opens a terminal on which each of the keys is typed as soon as the prompt before it is shown. The thread ends, with
/// the whole output, when the terminal is dropped.
pub fn terminal(script: Vec<(&'static str, &'static str)>) -> ossature::Result<(Terminal, JoinHandle<String>)> {
    let Pty { controller, terminal } = Pty::open()?;
    set_window_size(&terminal, WindowSize { rows: 24, columns: 80, ..WindowSize::default() })?;
    let terminal = Terminal::new(fd::duplicate(&terminal)?, terminal)?;
    Ok((terminal, std::thread::spawn(move || type_in(&controller, &script))))
}

fn type_in(controller: &OwnedFd, script: &[(&str, &str)]) -> String {
    let (mut shown, mut seen, mut script) = (Vec::new(), 0, script.iter());
    let mut next = script.next();
    let deadline = Deadline::after(Duration::from_secs(8));
    let mut buffer = [0; 4096];
    loop {
        if let Some((prompt, keys)) = next {
            let found = String::from_utf8_lossy(&shown[seen..]).contains(prompt);
            if found {
                seen = shown.len();
                fd::write(controller, keys.as_bytes()).expect("the terminal accepts keys");
                next = script.next();
            }
        }
        let ready =
            poll(&mut [PollFd::new(controller, PollFlags::IN)], deadline).expect("the terminal can be waited for");
        assert!(ready > 0, "nothing more in eight seconds after {:?}", String::from_utf8_lossy(&shown));
        match fd::read(controller, &mut buffer) {
            Ok(0) | Err(_) => return String::from_utf8_lossy(&shown).into_owned(), // the other side is closed
            Ok(length) => shown.extend_from_slice(&buffer[..length]),
        }
    }
}
