//! The editor in event loops of the program's own: each byte is fed when a loop reports that it is there.

use ossature::readline::{Editor, Step};
use ossature::select::{Epoll, EpollExt, Interest, Kevent, Kqueue};
use ossature::sys::deadline::Deadline;
use ossature::sys::fd::{self, OwnedFd};
use ossature::sys::pipe::{Flags, pipe};

use super::support::soon;

/// Types a line into a pipe, and edits it with a loop that waits in `ready`.
fn edited(ready: impl Fn(&OwnedFd, Deadline) -> bool) -> Vec<u8> {
    let (keyboard, keys) = pipe(Flags::empty()).unwrap();
    fd::write_all(&keys, b"wrld\x1b[D\x1b[D\x1b[Do\x01hello \r", Deadline::NEVER).unwrap();
    let (mut editor, mut screen) = (Editor::new(), Vec::new());
    let mut step = editor.begin("> ", &mut screen);
    loop {
        step = match step {
            Step::More if ready(&keyboard, editor.timeout().map_or(Deadline::NEVER, Deadline::after)) => {
                let mut byte = [0];
                assert_eq!(fd::read(&keyboard, &mut byte).unwrap(), 1);
                editor.feed(&byte, &mut screen)
            }
            Step::More => editor.expire(&mut screen),
            Step::Line(line) => return line,
            other => panic!("{other:?}"),
        };
    }
}

#[test]
fn epoll_feeds_the_editor_a_byte_at_a_time() {
    let line = soon(|| {
        edited(|keyboard, until| {
            let epoll = Epoll::new().unwrap();
            epoll.register(keyboard, Interest::IN, 1).unwrap();
            !epoll.poll_list(until, 1).unwrap().is_empty()
        })
    });
    assert_eq!(line, b"hello world");
}

#[test]
fn kqueue_feeds_the_editor_a_byte_at_a_time() {
    let line = soon(|| {
        edited(|keyboard, until| {
            let queue = Kqueue::new().unwrap();
            !queue.control([Kevent::read(keyboard)], 1, until).unwrap().is_empty()
        })
    });
    assert_eq!(line, b"hello world");
}
