//! PROC with FORK, EXEC and TRACK, where the kernel reports them.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ossature_sys::errno::Errno;
use ossature_sys::kqueue::{Filter, Flags, Kevent, Kqueue, Notes};
use ossature_sys::process::{self, Pid};

use super::{now, one, sleeps, wait};

/// Makes a queue that may follow processes. Returns none, and prints a note, where the kernel refuses.
fn queue() -> Option<Kqueue> {
    let queue = Kqueue::new().unwrap();
    match queue.follow_processes() {
        Ok(()) => Some(queue),
        Err(errno) => {
            println!("LEFT OUT: {}: no news of processes here: {errno}", std::thread::current().name().unwrap_or("?"));
            None
        }
    }
}

/// Starts a shell that runs a script once `begin` is called.
fn shell(script: &str) -> (Child, Kevent) {
    let script = format!("echo ready; read line; {script}");
    let mut command = Command::new("/bin/sh");
    let mut shell = command.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    // Its own exec is over then, and told.
    BufReader::new(shell.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    let pid = Pid::from_raw(shell.id() as i32).unwrap();
    (shell, Kevent::exit(pid))
}

fn begin(shell: &mut Child) {
    shell.stdin.take().unwrap().write_all(b"\n").unwrap();
}

/// Collects all events until no knote is left.
fn events_to_the_end(queue: &Kqueue) -> Vec<Kevent> {
    let mut events = Vec::new();
    while queue.len().unwrap() > 0 {
        let more = wait(queue, Duration::from_secs(10));
        assert!(!more.is_empty(), "nothing more comes after {events:?}");
        events.extend(more);
    }
    events
}

#[test]
fn a_fork_an_exec_and_the_end_are_told_of_one_process() {
    let Some(queue) = queue() else { return };
    let (mut shell, end) = shell("(exit 1); exec /bin/sh -c 'exit 5'");
    queue.change(&end.with_notes(Notes::EXIT | Notes::FORK | Notes::EXEC).with_udata(3)).unwrap();
    assert_eq!(now(&queue), []);
    begin(&mut shell);
    let events = events_to_the_end(&queue);
    let notes = events.iter().fold(Notes::empty(), |all, event| all | event.notes());
    assert_eq!(notes, Notes::EXIT | Notes::FORK | Notes::EXEC);
    assert!(events.iter().all(|event| (event.ident(), event.udata()) == (shell.id() as usize, 3)));
    let last = events.last().unwrap();
    assert_eq!((last.notes(), last.data(), last.flags()), (Notes::EXIT, 5 << 8, Flags::EOF | Flags::ONESHOT));
    assert!(events[0].flags().contains(Flags::CLEAR), "{events:?}");
    shell.wait().unwrap();
}

#[test]
fn children_and_theirs_are_followed_and_each_tells_its_parent() {
    let Some(queue) = queue() else { return };
    // A child, its child, and a second one; each lives until all have been forked.
    let (mut shell, end) = shell("(sleep 0.1 & wait; exit 2) & (exit 3) & wait; exit 4");
    queue.change(&end.with_notes(Notes::EXIT | Notes::TRACK).with_udata(8)).unwrap();
    begin(&mut shell);
    let events = events_to_the_end(&queue);
    let with = |note: Notes| events.iter().filter(move |event| event.notes().contains(note));
    assert_eq!((with(Notes::CHILD).count(), with(Notes::EXIT).count(), with(Notes::TRACKERR).count()), (3, 4, 0));
    assert_eq!(with(Notes::FORK).count(), 0, "nobody asked for it");
    let first = shell.id() as i64;
    let mut parents: Vec<_> = with(Notes::CHILD).map(|event| event.data()).collect();
    parents.retain(|&parent| parent == first);
    assert_eq!(parents.len(), 2, "the third is of another: {events:?}");
    assert!(events.iter().all(|event| event.udata() == 8));
    let status = with(Notes::EXIT).find(|event| event.ident() == shell.id() as usize).map(Kevent::data);
    assert_eq!(status, Some(4 << 8));
    shell.wait().unwrap();
}

#[test]
fn no_child_is_missed_that_ends_at_once() {
    const CHILDREN: usize = 200;
    let Some(queue) = queue() else { return };
    let (mut shell, end) = shell("n=0; while [ $n -lt 200 ]; do (exit 3); n=$((n+1)); done; exit 0");
    queue.change(&end.with_notes(Notes::EXIT | Notes::TRACK)).unwrap();
    begin(&mut shell);
    // Most of them were waited for by the shell before the queue hears of them.
    shell.wait().unwrap();
    let events = events_to_the_end(&queue);
    let count = |note: Notes| events.iter().filter(|event| event.notes().contains(note)).count();
    assert_eq!((count(Notes::CHILD), count(Notes::EXIT), count(Notes::TRACKERR)), (CHILDREN, CHILDREN + 1, 0));
    let of_a_child = |event: &&Kevent| event.notes() == Notes::EXIT && event.ident() != shell.id() as usize;
    assert!(events.iter().filter(of_a_child).all(|event| event.data() == 3 << 8), "{events:?}");
}

#[test]
fn news_stops_with_the_last_knote_that_wants_it() {
    let Some(queue) = queue() else { return };
    let (mut shell, end) = shell("exit 0");
    queue.change(&end.with_notes(Notes::FORK)).unwrap();
    queue.change(&Kevent::exit(process::id())).unwrap();
    // Other notes of the same knote.
    queue.change(&end).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                Command::new("/bin/true").status().unwrap();
            }
        });
        sleeps(&queue);
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    begin(&mut shell);
    assert_eq!(one(&queue).notes(), Notes::EXIT);
    shell.wait().unwrap();
}

#[test]
fn a_process_whose_end_nobody_wants_leaves_no_knote() {
    let Some(queue) = queue() else { return };
    let (mut shell, end) = shell("exit 0");
    queue.change(&end.with_notes(Notes::FORK)).unwrap();
    begin(&mut shell);
    shell.wait().unwrap();
    assert_eq!((now(&queue), queue.len()), (vec![], Ok(0)));
}

#[test]
fn answers_are_not_asked_for() {
    let Some(queue) = queue() else { return };
    for notes in [Notes::CHILD, Notes::TRACKERR, Notes::FORK | Notes::from_bits_retain(8)] {
        let change = Kevent::exit(process::id()).with_notes(notes);
        assert_eq!(queue.change(&change), Err(Errno::OPNOTSUPP), "{notes:?}");
    }
    let user = Kevent::user(1).with_flags(Flags::ADD | Flags::DISPATCH2);
    assert_eq!(queue.change(&user), Err(Errno::OPNOTSUPP));
    assert_eq!(queue.change(&Kevent::new(0x7fff_ffff, Filter::PROC).with_notes(Notes::FORK)), Err(Errno::SRCH));
    assert_eq!(queue.len(), Ok(0));
}
