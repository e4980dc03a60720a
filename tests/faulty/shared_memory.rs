//! Named memory and semaphores with failing system calls: present only under `--cfg ossature_faults`.

use std::path::Path;
use std::thread;
use std::time::Duration;

use ossature::multiprocessing::shared_memory::{ShareableList, SharedMemory};
use ossature::multiprocessing::sync::NamedSemaphore;
use ossature::sys::errno::Errno;
use ossature::sys::faults::sweep::Sweep;
use ossature::sys::faults::{Fault, Rule};

/// Fails each call of `life` in turn. The next block then removes whatever is left.
fn sweep(name: &str, life: impl Fn() -> ossature::Result<()>) {
    let errnos = [Errno::INTR, Errno::NOMEM, Errno::MFILE, Errno::AGAIN, Errno::PERM, Errno::NOSPC];
    let swept = Sweep::new(&errnos).ignore_threads().run_with(life, |call, _| {
        drop(SharedMemory::create(1).unwrap());
        for file in [name.to_owned(), format!("sem.{name}")] {
            assert!(!Path::new("/dev/shm").join(&file).exists(), "{file} is left after {call:?}");
        }
    });
    let swept = swept.unwrap_or_else(|failure| panic!("{failure}"));
    assert!(swept.calls >= 15 && swept.refused > swept.calls, "{swept:?}");
}

#[test]
fn blocks_are_made_and_removed_whatever_fails() {
    let _alone = crate::alone();
    let name = format!("ossature-faulty-{}", std::process::id());
    sweep(&name, || {
        let list = ShareableList::builder().name(&name).create([1, 2])?;
        SharedMemory::open(&name)?.set(8, 0_u64)?;
        list.set(0, 3)
    });
}

#[test]
fn named_semaphores_are_made_and_removed_whatever_fails() {
    let _alone = crate::alone();
    let name = format!("ossature-faulty-sem-{}", std::process::id());
    sweep(&name, || {
        let semaphore = NamedSemaphore::create_named(&name, 1)?;
        NamedSemaphore::open(&name)?.acquire_timeout(Duration::from_millis(1))?;
        semaphore.release()
    });
}

/// The last user of a block has opened the block by its name to remove it, and is stopped before the lock. Meanwhile
/// another user removes the block and gives the name to a new block.
#[test]
fn a_remover_leaves_a_name_that_another_block_took() {
    let _alone = crate::alone();
    let name = format!("ossature-faulty-taken-{}", std::process::id());
    let mut pause = Duration::from_millis(50);
    loop {
        let old = SharedMemory::builder().name(&name).create(8).unwrap();
        let waits = Rule::on("flock", Fault::Delay(pause)).nth(1).everywhere().arm().unwrap();
        let (new, renames) = thread::scope(|scope| {
            let remover = scope.spawn(|| {
                let moves = Rule::on("renameat2", Fault::Count).arm().unwrap();
                drop(old);
                moves.seen()
            });
            while waits.hits() == 0 {
                thread::yield_now();
            }
            let new = SharedMemory::builder().name(&name).create(16).unwrap();
            (new, remover.join().unwrap())
        });
        assert_eq!(SharedMemory::open(&name).unwrap().len(), new.len());
        match renames {
            0 => return,
            1 => pause *= 2, // it removed its own block, so the other one came too late
            _ => panic!("the name of a block in use was taken away and given back"),
        }
    }
}
