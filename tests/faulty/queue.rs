//! Queues that carry descriptors, with failing system calls: present only under `--cfg ossature_faults`.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use ossature::multiprocessing::Queue;
use ossature::multiprocessing::queues::QueueBuilder;
use ossature::multiprocessing::transfer::Handle;
use ossature::sys::errno::Errno;
use ossature::sys::faults::sweep::Sweep;

const LIMIT: Duration = Duration::from_millis(50);

/// Fails each call in turn: an item is received or an error is returned, and no descriptor stays open.
fn sweep(life: impl Fn() -> ossature::Result<()>) {
    let errnos =
        [Errno::INTR, Errno::NOMEM, Errno::MFILE, Errno::AGAIN, Errno::NOBUFS, Errno::TOOMANYREFS, Errno::NOSPC];
    let swept = Sweep::new(&errnos).ignore_threads().run(life).unwrap_or_else(|failure| panic!("{failure}"));
    assert!(swept.calls >= 10 && swept.refused > swept.calls, "{swept:?}");
}

#[test]
fn items_with_descriptors_leave_none_open_whatever_fails() {
    let _alone = crate::alone();
    sweep(|| {
        let queue = Queue::new()?;
        let (one, other) = UnixStream::pair()?;
        for stream in [&one, &other] {
            queue.put_timeout(Handle(stream.try_clone()?), LIMIT)?;
        }
        drop(queue.get_timeout(LIMIT)?);
        Ok(())
    });
}

#[test]
fn long_items_leave_no_memory_whatever_fails() {
    let _alone = crate::alone();
    sweep(|| {
        let queue = QueueBuilder::new().capacity(64 << 10).build()?;
        queue.put_timeout("x".repeat(100_000), LIMIT)?;
        drop(queue.get_timeout(LIMIT)?);
        Ok(())
    });
}
