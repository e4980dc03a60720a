//! Locks and semaphores with names: between Rust programs, and with a running CPython.

use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use ossature::ErrorKind;
use ossature::multiprocessing::connection::pipe;
use ossature::multiprocessing::shared_memory::SharedMemory;
use ossature::multiprocessing::sync::{NamedBoundedSemaphore, NamedLock, NamedSemaphore};
use ossature::sys::errno::Errno;
use ossature::sys::process::{ExitStatus, fork};

use crate::harness::{Test, killed_holding};
use crate::lifetime::{holder, kill, next_one, private_names};
use crate::snake::{Snake, with_each};
use crate::{exists, file, fresh};

pub const TESTS: &[Test] = &[
    ("a_named_lock_excludes_other_processes", a_named_lock_excludes_other_processes),
    ("named_semaphores_count_to_their_bounds", named_semaphores_count_to_their_bounds),
    ("names_of_semaphores_go_with_their_last_user", names_of_semaphores_go_with_their_last_user),
    ("clones_of_a_semaphore_are_one_user", clones_of_a_semaphore_are_one_user),
    ("semaphores_are_sent_by_name", semaphores_are_sent_by_name),
    ("python_and_we_take_turns_with_either_lock", python_and_we_take_turns_with_either_lock),
    ("python_and_we_count_with_either_semaphore", python_and_we_count_with_either_semaphore),
];

fn a_named_lock_excludes_other_processes() {
    let lock = NamedLock::create().unwrap();
    let letters = lock.name().strip_prefix("mp-").unwrap();
    assert!(
        letters.len() == 8 && letters.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'_')
    );
    if cfg!(target_env = "gnu") {
        let found = file(&format!("sem.{}", lock.name())).metadata().unwrap();
        assert_eq!(found.mode() & 0o7777, 0o1600);
        assert_eq!(found.len(), if cfg!(target_pointer_width = "64") { 32 } else { 16 });
    }
    let sum = SharedMemory::create(8).unwrap();
    let turns = || {
        let lock = NamedLock::open(lock.name()).unwrap();
        for _ in 0..1000 {
            lock.with(|| sum.set(0, sum.get::<u64>(0).unwrap() + 1).unwrap()).unwrap();
        }
        0
    };
    let mut children = [fork(turns).unwrap(), fork(turns).unwrap()];
    turns();
    children.iter_mut().for_each(|child| assert_eq!(child.wait(), Ok(ExitStatus::Code(0))));
    assert_eq!(sum.get::<u64>(0).unwrap(), 3000);

    lock.acquire().unwrap();
    assert!(lock.locked().unwrap() && !lock.try_acquire().unwrap());
    let begin = Instant::now();
    assert!(!lock.acquire_timeout(Duration::from_millis(20)).unwrap());
    assert!(begin.elapsed() >= Duration::from_millis(20));
    let mut child = fork(|| u8::from(NamedLock::open(lock.name()).unwrap().release().is_err())).unwrap();
    assert_eq!(child.wait(), Ok(ExitStatus::Code(0)), "any process may release it");
    let error = lock.release().unwrap_err();
    assert!(error.kind() == ErrorKind::InvalidInput && error.to_string().contains("released more often"), "{error}");
    let unwound = std::panic::catch_unwind(|| lock.with(|| std::panic::resume_unwind(Box::new(()))));
    assert!(unwound.is_err() && !lock.locked().unwrap());
}

fn named_semaphores_count_to_their_bounds() {
    let name = fresh();
    let places = NamedSemaphore::create_named(&format!("/{name}"), 2).unwrap();
    assert_eq!((places.name(), places.value().unwrap()), (name.as_str(), 2));
    let same = NamedSemaphore::open(&name).unwrap();
    same.release().unwrap();
    assert_eq!(places.value().unwrap(), 3, "no bound");
    assert_eq!(NamedSemaphore::create_named(&name, 1).unwrap_err().errno(), Some(Errno::EXIST));
    let bounded = NamedBoundedSemaphore::create(2).unwrap();
    assert!(bounded.try_acquire().unwrap());
    bounded.release().unwrap();
    assert_eq!(bounded.release().unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(bounded.value().unwrap(), 2);
    let none = NamedBoundedSemaphore::create(0).unwrap();
    assert!(!none.try_acquire().unwrap() && none.release().is_err());
    assert_eq!(NamedSemaphore::create(1 << 31).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(NamedSemaphore::open(&fresh()).unwrap_err().errno(), Some(Errno::NOENT));
    for wrong in ["", "a/b", &"n".repeat(255)[..if cfg!(target_env = "gnu") { 255 } else { 0 }]] {
        assert_eq!(NamedLock::create_named(wrong).unwrap_err().kind(), ErrorKind::InvalidInput, "{wrong:?}");
    }
    let full = NamedSemaphore::create(i32::MAX as u32).unwrap();
    assert_eq!(full.release().unwrap_err().kind(), ErrorKind::InvalidInput);
}

/// Whether a semaphore with the name exists.
fn there(name: &str) -> bool {
    exists(&format!("sem.{name}")) || exists(name)
}

fn names_of_semaphores_go_with_their_last_user() {
    let name = fresh();
    let (first, second) = (NamedLock::create_named(&name).unwrap(), NamedLock::open(&name).unwrap());
    drop(first);
    next_one();
    assert!(there(&name));
    drop(second);
    assert!(!there(&name));
    killed_holding(|| NamedSemaphore::create_named(&name, 3).unwrap());
    assert!(there(&name));
    let again = NamedSemaphore::create_named(&name, 1).unwrap();
    assert_eq!(again.value().unwrap(), 1, "a new one");
    let user = holder(|| NamedSemaphore::open(&name).unwrap());
    drop(again);
    next_one();
    assert!(there(&name), "the user lives");
    kill(user);
    next_one();
    assert!(!there(&name));
    let kept = NamedLock::create_named(&name).unwrap();
    kept.untrack().unwrap();
    drop(kept);
    next_one();
    let kept = NamedLock::open(&name).unwrap();
    kept.unlink().unwrap();
    assert_eq!(kept.unlink().unwrap_err().errno(), Some(Errno::NOENT));
    assert!(!there(&name) && kept.try_acquire().unwrap(), "without its name it goes on");
    // Killed at any moment of its making.
    let before = temporary_names();
    for micros in 0..60 {
        let mut child = fork(|| {
            loop {
                drop(NamedLock::create_named(&name));
            }
        })
        .unwrap();
        std::thread::sleep(Duration::from_micros(micros * 17));
        child.kill().unwrap();
        child.wait().unwrap();
        next_one();
        assert!(!there(&name), "after {micros}");
    }
    assert!(private_names().is_empty());
    let others: Vec<_> = temporary_names().into_iter().filter(|name| !before.contains(name)).collect();
    assert!(others.is_empty(), "{others:?}: the C library's own");
}

fn clones_of_a_semaphore_are_one_user() {
    let name = fresh();
    let lock = NamedLock::create_named(&name).unwrap();
    let same = lock.try_clone().unwrap();
    lock.acquire().unwrap();
    drop(lock);
    next_one();
    assert!(there(&name) && same.locked().unwrap(), "the clone has it");
    same.try_clone().unwrap().untrack().unwrap();
    drop(same);
    next_one();
    assert!(there(&name), "what a clone untracked stays");
    NamedLock::open(&name).unwrap().unlink().unwrap();
    let places = NamedSemaphore::create(2).unwrap();
    let bounded = NamedBoundedSemaphore::create(1).unwrap();
    let (same_places, same_bounded) = (places.try_clone().unwrap(), bounded.try_clone().unwrap());
    places.acquire().unwrap();
    assert_eq!((same_places.value().unwrap(), same_bounded.bound()), (1, 1));
    let left = [places.name().to_owned(), bounded.name().to_owned()];
    drop((places, same_places, bounded, same_bounded));
    assert!(!left.iter().any(|name| there(name)));
}

/// The names under which glibc makes its semaphores: `sem.` and six letters.
fn temporary_names() -> Vec<std::ffi::OsString> {
    let names = std::fs::read_dir("/dev/shm").unwrap().flatten().map(|entry| entry.file_name());
    names.filter(|name| name.len() == 10 && name.as_encoded_bytes().starts_with(b"sem.")).collect()
}

fn semaphores_are_sent_by_name() {
    let (near, far) = pipe().unwrap();
    let bounded = NamedBoundedSemaphore::create(2).unwrap();
    bounded.acquire().unwrap();
    near.send(&(&bounded, NamedLock::create().unwrap(), NamedSemaphore::create(5).unwrap())).unwrap();
    next_one();
    let (same, lock, five): (NamedBoundedSemaphore, NamedLock, NamedSemaphore) = far.recv().unwrap();
    assert_eq!((same.name(), same.bound(), same.value().unwrap()), (bounded.name(), 2, 1));
    assert!(lock.try_acquire().unwrap());
    assert_eq!(five.value().unwrap(), 5);
}

/// Makes CPython open one of our names, as `theirs`.
fn open_in_python(snake: &mut Snake, class: &str, most: u32, name: &str) {
    snake.run(&format!("theirs = synchronize.{class}.__new__(synchronize.{class})"));
    snake.run(&format!("theirs.__setstate__((0, 1, {most}, '/{name}'))"));
}

/// Whether CPython's semaphores have the same size as ours. A semaphore of another size is refused.
fn has_our_words(snake: &mut Snake) -> bool {
    let is_same = snake.value("struct.calcsize('P')") == size_of::<usize>().to_string();
    if !is_same {
        let error = NamedLock::open(snake.value("mine._semlock.name").trim_matches('\'')).unwrap_err();
        assert!(error.to_string().contains("word size"), "{error}");
        snake.run("del mine");
        eprintln!("LEFT OUT: CPython has words of another length");
    }
    is_same
}

fn python_and_we_take_turns_with_either_lock() {
    with_each(|python| {
        let mut snake = Snake::start(python);
        snake.run("mine = get_context('spawn').Lock()");
        if !has_our_words(&mut snake) {
            return;
        }
        let ours = NamedLock::create().unwrap();
        open_in_python(&mut snake, "Lock", 1, ours.name());
        let theirs = NamedLock::open(snake.value("mine._semlock.name").trim_matches('\'')).unwrap();
        let sum = SharedMemory::create(8).unwrap();
        snake.attach(sum.name());
        for (lock, variable) in [(&ours, "theirs"), (&theirs, "mine")] {
            lock.acquire().unwrap();
            assert_eq!(
                snake.value(&format!("{variable}.acquire(False), {variable}.acquire(True, 0.01)")),
                "(False, False)"
            );
            snake.run(&format!("{variable}.release()"));
            assert!(snake.ask(&format!("{variable}.release()")).starts_with("ValueError"), "as ours");
            assert!(lock.release().is_err());
            snake.run(&format!("{variable}.acquire()"));
            assert!(lock.locked().unwrap() && !lock.try_acquire().unwrap());
            lock.release().unwrap();
            // Both at once.
            sum.set(0, 0_u64).unwrap();
            let step = "shm.buf[:8] = struct.pack('Q', struct.unpack('Q', shm.buf[:8])[0] + 1)";
            snake.tell(&format!(
                "exec('for _ in range(500):\\n  with {variable}:\\n    {}')",
                step.replace('\'', "\\'")
            ));
            for _ in 0..500 {
                lock.with(|| sum.set(0, sum.get::<u64>(0).unwrap() + 1)).unwrap().unwrap();
            }
            assert_eq!(snake.hear(), "ok");
            assert_eq!(sum.get::<u64>(0).unwrap(), 1000);
        }
        let name = theirs.name().to_owned();
        drop(theirs);
        next_one();
        assert!(there(&name), "CPython made it, and removes it");
        snake.run("shm.close(); del mine");
        snake.end();
        assert!(!there(&name));
    });
}

fn python_and_we_count_with_either_semaphore() {
    with_each(|python| {
        let mut snake = Snake::start(python);
        snake.run("mine = get_context('spawn').Lock()");
        if !has_our_words(&mut snake) {
            return;
        }
        let ours = NamedSemaphore::create(2).unwrap();
        open_in_python(&mut snake, "Semaphore", 2_147_483_647, ours.name());
        snake.run("theirs.acquire()");
        assert_eq!((ours.value().unwrap(), snake.value("theirs.get_value()").as_str()), (1, "1"));
        ours.acquire().unwrap();
        assert_eq!(snake.value("theirs.acquire(False)"), "False");
        snake.run("theirs.release(); theirs.release(); theirs.release()");
        assert_eq!(ours.value().unwrap(), 3);

        let bounded = NamedBoundedSemaphore::create(1).unwrap();
        open_in_python(&mut snake, "BoundedSemaphore", 1, bounded.name());
        assert!(snake.ask("theirs.release()").starts_with("ValueError"));
        snake.run("theirs.acquire()");
        assert!(!bounded.acquire_timeout(Duration::from_millis(5)).unwrap());
        bounded.release().unwrap();

        snake.run("mine = get_context('spawn').BoundedSemaphore(2)");
        let theirs = NamedBoundedSemaphore::open(snake.value("mine._semlock.name").trim_matches('\''), 2).unwrap();
        assert!(theirs.release().is_err());
        theirs.acquire().unwrap();
        assert_eq!(snake.value("mine.get_value()"), "1");
        snake.run("theirs = None; del mine");
        snake.end();
    });
}
