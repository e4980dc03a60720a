//! A block while all its users live: its name, size, mode and bytes.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};

use ossature::ErrorKind;
use ossature::multiprocessing::connection::pipe;
use ossature::multiprocessing::shared_memory::{SharedMemory, unlink};
use ossature::multiprocessing::sync::NamedLock;
use ossature::sys::errno::Errno;
use ossature::sys::posix_ipc::Name;
use ossature::sys::process::{ExitStatus, fork};

use crate::harness::Test;
use crate::{exists, file, fresh};

pub const TESTS: &[Test] = &[
    ("a_block_has_the_name_size_and_mode_of_cpython", a_block_has_the_name_size_and_mode_of_cpython),
    ("what_is_written_is_read_by_all", what_is_written_is_read_by_all),
    ("what_cannot_be_made_or_opened_is_told", what_cannot_be_made_or_opened_is_told),
    ("unlink_takes_the_name_and_leaves_the_memory", unlink_takes_the_name_and_leaves_the_memory),
    ("objects_of_other_users_are_refused_but_those_of_root", objects_of_other_users_are_refused_but_those_of_root),
    ("contents_that_fail_leave_no_block", contents_that_fail_leave_no_block),
];

fn a_block_has_the_name_size_and_mode_of_cpython() {
    let memory = SharedMemory::create(5000).unwrap();
    let digits = memory.name().strip_prefix("psm_").unwrap();
    assert!(digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()), "{}", memory.name());
    let found = file(memory.name()).metadata().unwrap();
    assert_eq!((found.len(), memory.len()), (5000, 5000), "exact, not rounded to pages");
    assert_eq!(found.mode() & 0o7777, 0o1600, "the sticky bit marks what is removed with its last user");
    assert_eq!(format!("{memory:?}"), format!("SharedMemory({:?}, size=5000)", memory.name()));
    let (one, other) = (fresh(), fresh());
    let untracked = SharedMemory::builder().name(format!("/{one}")).track(false).create(1).unwrap();
    assert_eq!((untracked.name(), untracked.is_tracked()), (one.as_str(), false));
    assert_eq!(file(&one).metadata().unwrap().mode() & 0o7777, 0o600);
    unlink(&one).unwrap();
    // Whatever mask of permissions there is.
    let mask = ossature::sys::process::set_umask(0o777);
    let masked = SharedMemory::builder().name(&other).create(1);
    ossature::sys::process::set_umask(mask);
    drop(masked.unwrap());
    assert!(!exists(&other));
}

fn what_is_written_is_read_by_all() {
    let memory = SharedMemory::create(32).unwrap();
    assert_eq!(memory.slice(..), [0; 32]);
    let same = SharedMemory::open(memory.name()).unwrap();
    assert_eq!(same.len(), 32);
    memory.write(3, &[0x0102_0304_u32, 5]).unwrap();
    assert_eq!(same.slice(3..11), [0x0102_0304_u32.to_ne_bytes(), 5_u32.to_ne_bytes()].concat());
    same.set(24, -0.5_f64).unwrap();
    assert_eq!(memory.get::<f64>(24).unwrap(), -0.5);
    same.cells()[0].set(9);
    assert_eq!((memory.cells().len(), memory.cells()[0].get()), (32, 9));
    let mut two = [0_u16; 2];
    memory.read(24, &mut two).unwrap();
    assert_eq!(memory.slice(-8..-4), two.map(u16::to_ne_bytes).concat());
    for (offset, len) in [(25, 8), (32, 1), (usize::MAX, 2)] {
        let error = memory.write(offset, &vec![1_u8; len]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutOfRange, "{error}");
        assert_eq!(memory.read(offset, &mut vec![1_u8; len]).unwrap_err().kind(), ErrorKind::OutOfRange);
    }
    assert_eq!(memory.get::<u64>(25).unwrap_err().kind(), ErrorKind::OutOfRange);
    memory.write(32, &[0_u8; 0]).unwrap();
}

fn what_cannot_be_made_or_opened_is_told() {
    assert_eq!(SharedMemory::create(0).unwrap_err().kind(), ErrorKind::InvalidInput);
    let long = "n".repeat(256);
    for name in ["", "/", "a/b", "//a", ".", "..", "nu\0ll", &long] {
        let error = SharedMemory::builder().name(name).create(1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name:?}: {error}");
        assert_eq!(SharedMemory::open(name).unwrap_err().kind(), ErrorKind::InvalidInput, "{name:?}");
        assert_eq!(unlink(name).unwrap_err().kind(), ErrorKind::InvalidInput, "{name:?}");
    }
    assert_eq!(Name::new(long.as_bytes()).unwrap_err(), Errno::NAMETOOLONG);
    let name = fresh();
    assert_eq!(SharedMemory::open(&name).unwrap_err().errno(), Some(Errno::NOENT));
    let memory = SharedMemory::builder().name(&name).create(1).unwrap();
    let error = SharedMemory::builder().name(&name).create(1).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::EXIST));
    assert!(error.to_string().contains(&name) && error.to_string().contains("open it"), "{error}");
    drop(memory);

    std::fs::write(file(&name), "").unwrap();
    let error = SharedMemory::open(&name).unwrap_err();
    assert!(error.kind() == ErrorKind::InvalidInput && error.to_string().contains("is empty"), "{error}");
    std::fs::remove_file(file(&name)).unwrap();
    symlink("/dev/null", file(&name)).unwrap();
    assert_eq!(SharedMemory::open(&name).unwrap_err().errno(), Some(Errno::LOOP), "never through a link");
    assert_eq!(SharedMemory::builder().name(&name).create(1).unwrap_err().errno(), Some(Errno::EXIST));
    std::fs::remove_file(file(&name)).unwrap();
}

/// A user that owns nothing else.
const STRANGER: u32 = 54_321;

fn objects_of_other_users_are_refused_but_those_of_root() {
    let memory = SharedMemory::create(8).unwrap();
    let lock = NamedLock::create().unwrap();
    let lock_file = if cfg!(target_env = "gnu") { format!("sem.{}", lock.name()) } else { lock.name().to_owned() };
    let files = [file(memory.name()), file(&lock_file)];
    if files.iter().any(|file| chown(file, Some(STRANGER), None).is_err()) {
        eprintln!("LEFT OUT: this process may not give its files away");
        return;
    }
    let errors = [SharedMemory::open(memory.name()).unwrap_err(), NamedLock::open(lock.name()).unwrap_err()];
    for (error, name) in errors.iter().zip([memory.name(), lock.name()]) {
        let text = error.to_string();
        assert_eq!(error.errno(), Some(Errno::ACCESS), "{text}");
        assert!(text.contains(name) && text.contains("another user") && text.contains("choose another name"), "{text}");
    }
    let (sender, receiver) = pipe().unwrap();
    assert!(sender.send(&memory).is_err(), "nor is it sent");
    drop((sender, receiver));

    for file in &files {
        chown(file, Some(0), None).unwrap();
        std::fs::set_permissions(file, PermissionsExt::from_mode(0o1666)).unwrap();
    }
    let mut child = fork(|| {
        // SAFETY: setresuid(2) takes numbers, and the child has one thread.
        assert_eq!(unsafe { libc::setresuid(STRANGER, STRANGER, STRANGER) }, 0);
        assert_eq!(SharedMemory::open(memory.name()).unwrap().len(), 8);
        assert!(NamedLock::open(lock.name()).unwrap().try_acquire().unwrap());
        0
    })
    .unwrap();
    assert_eq!(child.wait(), Ok(ExitStatus::Code(0)));
    assert!(files.iter().all(|file| file.exists()), "a stranger removes no name");
    assert!(lock.locked().unwrap());
}

fn unlink_takes_the_name_and_leaves_the_memory() {
    let name = fresh();
    let memory = SharedMemory::builder().name(&name).create(8).unwrap();
    let same = SharedMemory::open(&name).unwrap();
    memory.unlink().unwrap();
    assert_eq!(memory.unlink().unwrap_err().errno(), Some(Errno::NOENT), "the second time");
    memory.set(0, 7_u64).unwrap();
    assert_eq!(same.get::<u64>(0).unwrap(), 7);
    // Another block of the same name is not touched, neither by the first one's unlink nor by its drop.
    let next = SharedMemory::builder().name(&name).create(16).unwrap();
    assert_eq!(same.unlink().unwrap_err().errno(), Some(Errno::NOENT));
    drop((memory, same));
    assert_eq!(SharedMemory::open(&name).unwrap().len(), 16);
    drop(next);
    assert_eq!(unlink(&name).unwrap_err().errno(), Some(Errno::NOENT), "its last user took it along");
}

fn contents_that_fail_leave_no_block() {
    let name = fresh();
    let refused = || ossature::Error::from(Errno::IO);
    let failed = SharedMemory::builder().name(&name).create_with(64, |memory| {
        memory.copy_in(0, b"half").unwrap();
        assert!(!exists(&name), "nobody can open it before it is complete");
        Err(refused())
    });
    assert_eq!(failed.unwrap_err().errno(), Some(Errno::IO));
    let panicked = std::panic::catch_unwind(|| SharedMemory::builder().create_with(64, |_| panic!("on purpose")));
    assert!(panicked.is_err() && !exists(&name));
    assert!(crate::lifetime::private_names().is_empty());
}
