//! VNODE: changes of files and directories.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use ossature_sys::errno::Errno;
use ossature_sys::kqueue::{Flags, Kevent, Kqueue, Notes};

use super::{now, one, wait};

/// A directory for one test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ossature-kqueue-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> File {
        File::options().read(true).write(true).create(true).truncate(false).open(self.0.join(name)).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The notes that `act` causes on a file that is watched for `notes`.
#[track_caller]
fn after(file: &File, notes: Notes, act: impl FnOnce()) -> Notes {
    let queue = Kqueue::new().unwrap();
    queue.change(&Kevent::vnode(file, notes)).unwrap();
    assert_eq!(now(&queue), []);
    act();
    let events = wait(&queue, Duration::from_millis(20));
    assert!(events.len() <= 1);
    events.first().map_or(Notes::empty(), Kevent::notes)
}

fn all() -> Notes {
    Notes::DELETE | Notes::WRITE | Notes::EXTEND | Notes::ATTRIB | Notes::LINK | Notes::RENAME
}

#[test]
fn each_change_of_a_file_has_its_note() {
    let folder = Folder::new("notes");
    let (mut file, at) = (folder.file("a"), |name| folder.0.join(name));
    let mut other = folder.file("a");
    assert_eq!(after(&file, all(), || other.write_all(b"12345").unwrap()), Notes::WRITE | Notes::EXTEND);
    let mut again = folder.file("a");
    assert_eq!(after(&file, all(), || again.write_all(b"123").unwrap()), Notes::WRITE);
    assert_eq!(after(&file, all(), || other.set_len(2).unwrap()) & Notes::WRITE, Notes::WRITE);
    assert_eq!(
        after(&file, all(), || other.set_permissions(fs::Permissions::from_mode(0o600)).unwrap()),
        Notes::ATTRIB
    );
    assert_eq!(after(&file, all(), || fs::hard_link(at("a"), at("b")).unwrap()), Notes::LINK);
    assert_eq!(after(&file, all(), || fs::rename(at("b"), at("c")).unwrap()), Notes::RENAME);
    assert_eq!(after(&file, all(), || fs::remove_file(at("c")).unwrap()), Notes::LINK);
    let more = Notes::OPEN | Notes::CLOSE | Notes::CLOSE_WRITE | Notes::READ;
    assert_eq!(after(&file, more, || drop(File::open(at("a")).unwrap())), Notes::OPEN | Notes::CLOSE);
    assert_eq!(after(&file, more, || drop(folder.file("a"))), Notes::OPEN | Notes::CLOSE_WRITE);
    let mut reader = File::open(at("a")).unwrap();
    assert_eq!(after(&file, more, || assert_eq!(reader.read(&mut [0; 1]).unwrap(), 1)), Notes::READ);
    assert_eq!(after(&file, all(), || fs::remove_file(at("a")).unwrap()), Notes::DELETE);
    file.write_all(b"x").unwrap();
}

#[test]
fn only_what_was_asked_for_is_told() {
    let folder = Folder::new("asked");
    let (file, mut other) = (folder.file("a"), folder.file("a"));
    assert_eq!(after(&file, Notes::DELETE | Notes::EXTEND, || other.write_all(b"12345").unwrap()), Notes::EXTEND);
    assert_eq!(after(&file, Notes::DELETE, || other.write_all(b"12345").unwrap()), Notes::empty());
    assert_eq!(after(&file, Notes::WRITE, || fs::remove_file(folder.0.join("a")).unwrap()), Notes::empty());
}

#[test]
fn a_directory_is_written_when_a_name_comes_or_goes() {
    let folder = Folder::new("directory");
    let directory = File::open(&folder.0).unwrap();
    let at = |name| folder.0.join(name);
    assert_eq!(after(&directory, all(), || drop(folder.file("a"))) & !Notes::EXTEND, Notes::WRITE);
    assert_eq!(after(&directory, all(), || fs::write(at("a"), b"12").unwrap()), Notes::empty(), "not its own news");
    assert_eq!(after(&directory, all(), || fs::rename(at("a"), at("b")).unwrap()) & !Notes::EXTEND, Notes::WRITE);
    assert_eq!(after(&directory, all(), || fs::remove_file(at("b")).unwrap()) & !Notes::EXTEND, Notes::WRITE);
}

#[test]
fn several_knotes_watch_one_file() {
    let folder = Folder::new("several");
    let (first, second, mut other) = (folder.file("a"), folder.file("a"), folder.file("a"));
    let queue = Kqueue::new().unwrap();
    queue.change(&Kevent::vnode(&first, Notes::WRITE).with_udata(1)).unwrap();
    queue.change(&Kevent::vnode(&second, Notes::ATTRIB).with_udata(2)).unwrap();
    other.write_all(b"x").unwrap();
    assert_eq!(one(&queue).udata(), 1);
    other.set_permissions(fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(one(&queue).udata(), 2);
    queue.change(&Kevent::vnode(&first, Notes::WRITE).with_flags(Flags::DELETE)).unwrap();
    other.write_all(b"x").unwrap();
    other.set_permissions(fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(one(&queue).udata(), 2);
    // Other notes, and what had been found for the old ones.
    other.set_permissions(fs::Permissions::from_mode(0o640)).unwrap();
    queue.change(&Kevent::vnode(&second, Notes::WRITE).with_udata(3)).unwrap();
    assert_eq!(now(&queue), []);
    other.write_all(b"x").unwrap();
    assert_eq!(one(&queue).udata(), 3);
    // What was found and not told, because the knote was disabled.
    queue.change(&Kevent::vnode(&second, Notes::WRITE).with_flags(Flags::DISABLE)).unwrap();
    other.write_all(b"x").unwrap();
    assert_eq!(now(&queue), []);
    queue.change(&Kevent::vnode(&second, Notes::ATTRIB)).unwrap();
    assert_eq!(now(&queue), []);
}

/// The number of the descriptor belongs to another file now, and the queue was not informed.
#[test]
fn a_number_that_is_another_files_gets_no_news() {
    let folder = Folder::new("replaced");
    let (file, mut same, other) = (folder.file("a"), folder.file("a"), folder.file("b"));
    let mut number = std::os::fd::OwnedFd::from(file);
    let queue = Kqueue::new().unwrap();
    queue.change(&Kevent::vnode(&number, Notes::WRITE)).unwrap();
    rustix::io::dup2(&other, &mut number).unwrap();
    same.write_all(b"x").unwrap();
    assert_eq!((now(&queue), queue.len()), (vec![], Ok(0)));
}

#[test]
fn a_file_is_watched_on_when_the_table_grows() {
    let folder = Folder::new("grown");
    let (file, mut other) = (folder.file("a"), folder.file("a"));
    let queue = Kqueue::new().unwrap();
    queue.change(&Kevent::vnode(&file, Notes::WRITE)).unwrap();
    for ident in 0..1000 {
        queue.change(&Kevent::user(ident)).unwrap();
    }
    other.write_all(b"x").unwrap();
    assert_eq!(one(&queue).notes(), Notes::WRITE);
}

#[test]
fn without_clear_the_notes_add_up_until_the_knote_is_deleted() {
    let folder = Folder::new("level");
    let (file, mut other) = (folder.file("a"), folder.file("a"));
    let queue = Kqueue::new().unwrap();
    queue.change(&Kevent::vnode(&file, Notes::WRITE | Notes::ATTRIB).with_flags(Flags::ADD)).unwrap();
    other.write_all(b"x").unwrap();
    assert_eq!([one(&queue).notes(), one(&queue).notes()], [Notes::WRITE; 2]);
    other.set_permissions(fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(one(&queue).notes(), Notes::WRITE);
    assert_eq!(one(&queue).notes(), Notes::WRITE | Notes::ATTRIB);
}

#[test]
fn the_knotes_of_a_closed_file_go_with_the_next_news() {
    let folder = Folder::new("closed");
    let (file, mut other) = (folder.file("a"), folder.file("a"));
    let queue = Kqueue::new().unwrap();
    queue.change(&Kevent::vnode(&file, Notes::WRITE)).unwrap();
    drop(file);
    other.write_all(b"x").unwrap();
    assert_eq!(wait(&queue, Duration::from_millis(5)), []);
    assert_eq!(queue.len(), Ok(0));
}

#[test]
fn lost_news_are_made_up_for() {
    let folder = Folder::new("overflow");
    let (file, many) = (folder.file("a"), File::open(&folder.0).unwrap());
    let queue = Kqueue::new().unwrap();
    queue.change(&Kevent::vnode(&many, Notes::WRITE)).unwrap();
    let limit: usize = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap().trim().parse().unwrap();
    if limit > 20_000 {
        println!("SKIPPED: the queue of inotify is long here: {limit}");
        return;
    }
    for n in 0..=limit {
        // Names that differ, so that no two events are one.
        fs::rename(
            folder.0.join(if n == 0 { "a".into() } else { format!("n{}", n - 1) }),
            folder.0.join(format!("n{n}")),
        )
        .unwrap();
    }
    queue.change(&Kevent::vnode(&file, Notes::WRITE).with_flags(Flags::ADD | Flags::CLEAR)).unwrap();
    (&file).write_all(b"its news are lost").unwrap();
    let mut told = Vec::new();
    for _ in 0..2000 {
        told.extend(now(&queue).iter().map(Kevent::ident));
    }
    use ossature_sys::fd::AsRawFd;
    assert!(told.contains(&(file.as_raw_fd() as usize)));
}

#[test]
fn what_is_not_open_is_an_error() {
    let queue = Kqueue::new().unwrap();
    let change = Kevent::new(999_999, ossature_sys::kqueue::Filter::VNODE).with_notes(Notes::WRITE);
    assert_eq!(queue.change(&change), Err(Errno::BADF));
    assert_eq!(queue.len(), Ok(0));
}
