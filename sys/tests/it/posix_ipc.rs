//! Named memory and semaphores, at the level of the calls.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::Errno;
use ossature_sys::fd::is_cloexec;
use ossature_sys::mmap::Region;
use ossature_sys::posix_ipc::{self, MAX_VALUE, Name, Semaphore, Status};

use crate::support::soon;

fn fresh() -> Name {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    Name::new(format!("ossature-sys-{}-{}", std::process::id(), COUNT.fetch_add(1, Relaxed)).as_bytes()).unwrap()
}

#[test]
fn names_have_no_slash_and_no_null_and_fit_in_a_file_system() {
    for wrong in [&b""[..], b".", b"..", b"/", b"/a", b"a/b", b"a\0", b"\0"] {
        assert_eq!(Name::new(wrong).unwrap_err(), Errno::INVAL, "{wrong:?}");
    }
    assert_eq!(Name::new(&[b'n'; 256]).unwrap_err(), Errno::NAMETOOLONG);
    let long = Name::new(&[b'n'; 255]).unwrap();
    assert_eq!((long.as_bytes().len(), long.as_c_str().to_bytes().len()), (255, 256));
    drop(posix_ipc::create(&long, 0o600).unwrap());
    posix_ipc::unlink(&long).unwrap();
    if cfg!(target_env = "gnu") {
        assert_eq!(Semaphore::file(&long).unwrap_err(), Errno::NAMETOOLONG);
        assert_eq!(Semaphore::file(&Name::new(&[b'n'; 251]).unwrap()).unwrap().as_bytes().len(), 255);
    }
}

#[test]
fn memory_of_a_name_is_made_once_and_opened_by_many() {
    let name = fresh();
    assert_eq!(posix_ipc::open(&name).unwrap_err(), Errno::NOENT);
    let memory = posix_ipc::create(&name, 0o600).unwrap();
    assert_eq!(posix_ipc::create(&name, 0o600).unwrap_err(), Errno::EXIST);
    assert!(is_cloexec(&memory).unwrap());
    assert_eq!(posix_ipc::reserve(&memory, 0).unwrap_err(), Errno::INVAL);
    posix_ipc::reserve(&memory, 5000).unwrap();
    let status = Status::of(&memory).unwrap();
    assert_eq!((status.len, status.mode, status.is_file), (5000, 0o600, true));
    assert_eq!(status, Status::of_name(&name).unwrap());
    let again = posix_ipc::open(&name).unwrap();
    let (here, there) = (Region::shared(&memory, 5000).unwrap(), Region::shared(&again, 5000).unwrap());
    here.copy_in(4990, b"both").unwrap();
    let mut bytes = [0; 4];
    there.copy_out(4990, &mut bytes).unwrap();
    assert_eq!(&bytes, b"both");
    posix_ipc::set_mode(&memory, 0o1400).unwrap();
    assert_eq!(Status::of(&again).unwrap().mode, 0o1400);
    posix_ipc::unlink(&name).unwrap();
    assert_eq!(posix_ipc::unlink(&name).unwrap_err(), Errno::NOENT);
    assert_eq!(Status::of_name(&name).unwrap_err(), Errno::NOENT);
}

#[test]
fn renaming_replaces_nothing() {
    let (one, two) = (fresh(), fresh());
    let (first, second) = (posix_ipc::create(&one, 0o600).unwrap(), posix_ipc::create(&two, 0o600).unwrap());
    assert_eq!(posix_ipc::rename(&one, &two).unwrap_err(), Errno::EXIST);
    posix_ipc::unlink(&two).unwrap();
    posix_ipc::rename(&one, &two).unwrap();
    assert_eq!(posix_ipc::rename(&one, &two).unwrap_err(), Errno::NOENT);
    assert_eq!(Status::of_name(&two).unwrap().id, Status::of(&first).unwrap().id);
    assert_ne!(Status::of_name(&two).unwrap().id, Status::of(&second).unwrap().id);
    posix_ipc::unlink(&two).unwrap();
}

#[test]
fn a_semaphore_counts_for_all_who_open_it() {
    let name = fresh();
    assert_eq!(Semaphore::open(&name).unwrap_err(), Errno::NOENT);
    let ours = Semaphore::create(&name, 0o600, 2).unwrap();
    assert_eq!(Semaphore::create(&name, 0o600, 2).unwrap_err(), Errno::EXIST);
    let theirs = Semaphore::open(&name).unwrap();
    ours.acquire().unwrap();
    assert!(theirs.try_acquire().unwrap());
    assert_eq!((ours.value().unwrap(), ours.try_acquire().unwrap()), (0, false));
    assert!(!ours.acquire_timeout(Deadline::NOW).unwrap());
    let begin = Instant::now();
    assert!(!theirs.acquire_timeout(Duration::from_millis(30)).unwrap());
    assert!(begin.elapsed() >= Duration::from_millis(30));
    soon(|| {
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| theirs.acquire_timeout(Duration::from_secs(60)));
            std::thread::sleep(Duration::from_millis(5));
            ours.release().unwrap();
            assert_eq!(waiter.join().unwrap(), Ok(true));
            let waiter = scope.spawn(|| theirs.acquire_timeout(Deadline::NEVER));
            ours.release().unwrap();
            assert_eq!(waiter.join().unwrap(), Ok(true));
        });
    });
    Semaphore::unlink(&name).unwrap();
    assert_eq!(Semaphore::unlink(&name).unwrap_err(), Errno::NOENT);
    ours.release().unwrap();
    assert!(theirs.try_acquire().unwrap(), "without its name it goes on");
}

#[test]
fn what_is_not_a_semaphore_is_not_opened_as_one() {
    assert_eq!(Semaphore::create(&fresh(), 0o600, MAX_VALUE + 1).unwrap_err(), Errno::INVAL);
    let name = fresh();
    let file = Semaphore::file(&name).unwrap();
    let short = posix_ipc::create(&file, 0o600).unwrap();
    assert_eq!(Semaphore::open(&name).unwrap_err(), Errno::INVAL, "whose first use would end in SIGBUS");
    posix_ipc::reserve(&short, 4096).unwrap();
    assert_eq!(Semaphore::open(&name).unwrap_err(), Errno::INVAL);
    posix_ipc::unlink(&file).unwrap();
    let full = Semaphore::create(&name, 0o600, MAX_VALUE).unwrap();
    assert_eq!(full.release().unwrap_err(), Errno::OVERFLOW);
    Semaphore::unlink(&name).unwrap();
}
