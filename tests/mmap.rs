//! Maps of files and memory. A main of its own with one thread, so that fork is safe.

#[path = "../sys/tests/seccomp/filter.rs"]
mod filter;
#[allow(dead_code, reason = "each test binary uses its part")]
#[path = "../sys/tests/fork/harness.rs"]
mod harness;
#[macro_use]
#[path = "../sys/tests/it/needs.rs"]
mod needs;

#[path = "mmap/access.rs"]
mod access;
#[path = "mmap/cases.rs"]
mod cases;
#[path = "mmap/find.rs"]
mod find;
#[path = "mmap/manage.rs"]
mod manage;
#[path = "mmap/others.rs"]
mod others;
#[path = "mmap/sandbox.rs"]
mod sandbox;

use std::fs::File;
use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use ossature::mmap::{Access, Mmap};
use ossature::{ErrorKind, Result};

fn main() {
    harness::run(&[cases::TESTS, access::TESTS, find::TESTS, manage::TESTS, others::TESTS, sandbox::TESTS].concat())
}

/// A file without a name, which holds these bytes.
fn file(bytes: &[u8]) -> File {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("ossature-mmap-{}-{}", std::process::id(), COUNT.fetch_add(1, Relaxed));
    let path = std::env::temp_dir().join(name);
    let mut file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    file.write_all(bytes).unwrap();
    file
}

/// The content of a file.
fn bytes(file: &File) -> Vec<u8> {
    use std::os::unix::fs::FileExt;
    let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// Maps of every kind that hold these bytes, each with its name.
fn every_kind(bytes: &[u8]) -> Vec<(&'static str, Mmap)> {
    let with = |mut map: Mmap| {
        map.set_slice(.., bytes).unwrap();
        map
    };
    let mut written = Mmap::new(file(bytes), Access::Copy).unwrap();
    let first = written.get(0).unwrap();
    written.set(0, first).unwrap();
    // SAFETY: nobody else has the descriptor, and it is not used again.
    let trusted = unsafe { Mmap::options().map_trusted(file(bytes)) }.unwrap();
    vec![
        ("shared file", Mmap::new(file(bytes), Access::Write).unwrap()),
        ("copied file", Mmap::new(file(bytes), Access::Copy).unwrap()),
        ("copied and written file", written),
        ("untracked file", Mmap::options().untracked().map(file(bytes)).unwrap()),
        ("trusted file", trusted),
        ("private memory", with(Mmap::private(bytes.len()).unwrap())),
        ("shared memory", with(Mmap::anonymous(bytes.len()).unwrap())),
    ]
}

fn kind<T: std::fmt::Debug>(result: Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

/// The kind of an error of this crate that std's traits carry.
fn io_kind<T: std::fmt::Debug>(result: std::io::Result<T>) -> ErrorKind {
    ossature::Error::from(result.unwrap_err()).kind()
}
