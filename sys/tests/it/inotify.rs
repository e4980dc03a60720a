//! File system events, and hostile buffers of them.

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::{Duration, Instant};

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::Errno;
use ossature_sys::fd::is_cloexec;
use ossature_sys::inotify::{Events, Inotify, Iter, ROOM};

use crate::interrupt::keeps_its_deadline;
use crate::support::soon;

struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("ossature-inotify-{}-{}", std::process::id(), NEXT.fetch_add(1, SeqCst));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn c(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap()
}

#[test]
fn events_name_what_happened_in_order() {
    let scratch = Scratch::new();
    let news = Inotify::new().unwrap();
    let watch = news.add(&c(&scratch.0), Events::CREATE | Events::MOVE | Events::DELETE).unwrap();
    fs::create_dir(scratch.0.join("directory")).unwrap();
    fs::write(scratch.0.join("one"), b"text").unwrap();
    fs::rename(scratch.0.join("one"), scratch.0.join("two")).unwrap();
    fs::remove_file(scratch.0.join("two")).unwrap();
    let mut buffer = [0; 4096];
    let seen: Vec<_> = soon(|| news.read(&mut buffer, Deadline::NEVER)).unwrap().collect();
    let what: Vec<_> = seen.iter().map(|event| (event.events(), event.name().unwrap())).collect();
    assert_eq!(
        what,
        [
            (Events::CREATE | Events::ISDIR, &b"directory"[..]),
            (Events::CREATE, b"one"),
            (Events::MOVED_FROM, b"one"),
            (Events::MOVED_TO, b"two"),
            (Events::DELETE, b"two"),
        ]
    );
    assert!(seen.iter().all(|event| event.watch() == Some(watch)));
    assert!(seen[2].cookie() != 0 && seen[2].cookie() == seen[3].cookie());
}

#[test]
fn event_on_the_watched_thing_itself_has_no_name() {
    let scratch = Scratch::new();
    let path = scratch.0.join("file");
    fs::write(&path, b"").unwrap();
    let news = Inotify::new().unwrap();
    news.add(&c(&path), Events::CLOSE_WRITE).unwrap();
    fs::write(&path, b"more").unwrap();
    let mut buffer = [0; ROOM];
    let event = soon(|| news.read(&mut buffer, Deadline::NEVER)).unwrap().next().unwrap();
    assert_eq!((event.events(), event.name()), (Events::CLOSE_WRITE, None));
}

#[test]
fn removed_watch_says_goodbye_and_cannot_be_removed_again() {
    let scratch = Scratch::new();
    let news = Inotify::new().unwrap();
    let watch = news.add(&c(&scratch.0), Events::ALL).unwrap();
    news.remove(watch).unwrap();
    let mut buffer = [0; ROOM];
    let event = soon(|| news.read(&mut buffer, Deadline::NEVER)).unwrap().next().unwrap();
    assert_eq!((event.watch(), event.events()), (Some(watch), Events::IGNORED));
    assert_eq!(news.remove(watch), Err(Errno::INVAL));
}

#[test]
fn watching_a_path_again_keeps_its_number() {
    let scratch = Scratch::new();
    let news = Inotify::new().unwrap();
    let watch = news.add(&c(&scratch.0), Events::CREATE).unwrap();
    assert_eq!(news.add(&c(&scratch.0), Events::DELETE), Ok(watch));
    assert_eq!(news.add(&c(&scratch.0), Events::DELETE | Events::MASK_CREATE), Err(Errno::EXIST));
}

#[test]
fn what_cannot_be_watched_is_an_error() {
    let scratch = Scratch::new();
    let news = Inotify::new().unwrap();
    assert_eq!(news.add(&c(&scratch.0.join("missing")), Events::ALL), Err(Errno::NOENT));
    assert_eq!(news.add(&c(&scratch.0), Events::empty()), Err(Errno::INVAL));
    assert_eq!(news.add(c"/dev/null", Events::ALL | Events::ONLYDIR), Err(Errno::NOTDIR));
}

#[test]
fn buffer_too_small_for_the_next_event_is_an_error_and_loses_nothing() {
    let scratch = Scratch::new();
    let news = Inotify::new().unwrap();
    news.add(&c(&scratch.0), Events::CREATE).unwrap();
    fs::write(scratch.0.join("x".repeat(255)), b"").unwrap();
    assert_eq!(news.read(&mut [0; 16], Deadline::NOW).map(Iterator::count), Err(Errno::INVAL));
    assert_eq!(news.read(&mut [], Deadline::NOW).map(Iterator::count), Err(Errno::INVAL));
    let mut buffer = [0; ROOM];
    assert_eq!(news.read(&mut buffer, Deadline::NOW).unwrap().next().unwrap().name().unwrap().len(), 255);
}

#[test]
fn reading_ends_at_the_deadline_and_not_before() {
    let news = Inotify::new().unwrap();
    assert_eq!(soon(|| news.read(&mut [0; ROOM], Deadline::NOW).map(Iterator::count)), Ok(0));
    let span = Duration::from_millis(20);
    let start = Instant::now();
    assert_eq!(soon(|| news.read(&mut [0; ROOM], span).map(Iterator::count)), Ok(0));
    assert!(start.elapsed() >= span);
}

#[test]
fn signals_neither_shorten_nor_prolong_the_wait() {
    let news = Inotify::new().unwrap();
    assert_eq!(keeps_its_deadline(|span| news.read(&mut [0; ROOM], span).map(Iterator::count)), Ok(0));
}

#[test]
fn descriptor_is_closed_on_exec() {
    assert!(is_cloexec(Inotify::new().unwrap()).unwrap());
}

/// One event in the kernel's layout, whose length field says `claimed` bytes for the name.
fn event(watch: i32, mask: u32, claimed: u32, name: &[u8]) -> Vec<u8> {
    let fields = [watch as u32, mask, 0, claimed];
    fields.iter().flat_map(|field| field.to_ne_bytes()).chain(name.iter().copied()).collect()
}

#[test]
fn overflow_belongs_to_no_watch() {
    let bytes = event(-1, Events::Q_OVERFLOW.bits(), 0, b"");
    let seen: Vec<_> = Iter::new(&bytes).collect();
    assert_eq!((seen.len(), seen[0].watch(), seen[0].events()), (1, None, Events::Q_OVERFLOW));
}

#[test]
fn buffer_that_ends_within_an_event_ends_the_events() {
    let mut bytes = event(1, 2, 4, b"abc\0");
    bytes.extend(event(2, 2, 8, b"defg\0\0\0\0"));
    for len in 0..=bytes.len() {
        let expected = usize::from(len >= 20) + usize::from(len >= bytes.len());
        assert_eq!(Iter::new(&bytes[..len]).count(), expected, "{len} bytes");
    }
}

#[test]
fn claimed_length_beyond_the_buffer_is_not_believed() {
    for claimed in [5, 1 << 31, u32::MAX] {
        assert_eq!(Iter::new(&event(1, 2, claimed, b"abc\0")).count(), 0, "{claimed}");
    }
}

#[test]
fn name_without_its_zero_ends_where_the_event_does() {
    let mut bytes = event(1, 2, 3, b"abc");
    bytes.extend(event(2, 2, 0, b""));
    let seen: Vec<_> = Iter::new(&bytes).collect();
    assert_eq!((seen[0].name(), seen[1].name()), (Some(&b"abc"[..]), None));
    assert_eq!(format!("{:?}", seen[0]).matches("abc").count(), 1);
}
