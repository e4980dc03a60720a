//! Named memory and semaphores with failing system calls.

use ossature_sys::errno::Errno;
use ossature_sys::posix_ipc::{self, Name, Semaphore, Status};

use crate::sweep::{alone, fails_with, sweep};

fn name(word: &str) -> Name {
    Name::new(format!("ossature-faults-{word}-{}", std::process::id()).as_bytes()).unwrap()
}

#[test]
fn memory_is_made_and_removed_whatever_fails() {
    let [name, other] = ["memory", "other"].map(name);
    let seen = sweep("posix_ipc", &["open", "fallocate", "fchmod"], || {
        let _ = (posix_ipc::unlink(&name), posix_ipc::unlink(&other)); // of the round before
        let memory = posix_ipc::create(&name, 0o600)?;
        posix_ipc::reserve(&memory, 100)?;
        posix_ipc::set_mode(&memory, 0o400)?;
        posix_ipc::rename(&name, &other)?;
        let same = Status::of(&memory)? == Status::of_name(&other)?;
        drop(posix_ipc::open(&other)?);
        posix_ipc::unlink(&other)?;
        if same { Ok(()) } else { Err(Errno::IO) }
    });
    assert!(seen.calls >= 10, "{}", seen.calls);
    let _ = (posix_ipc::unlink(&name), posix_ipc::unlink(&other));
}

#[test]
fn a_file_system_that_cannot_reserve_is_written() {
    let _alone = alone();
    let name = name("written");
    let memory = posix_ipc::create(&name, 0o600).unwrap();
    posix_ipc::unlink(&name).unwrap();
    let rule = ossature_sys::faults::Rule::on("fallocate", ossature_sys::faults::Fault::Fail(Errno::OPNOTSUPP));
    let armed = rule.arm().unwrap();
    posix_ipc::reserve(&memory, 10_001).unwrap();
    drop(armed);
    assert_eq!(Status::of(&memory).unwrap().len, 10_001);
    fails_with("fallocate", Errno::NOSPC, || posix_ipc::reserve(&memory, 1));
}

#[test]
fn a_semaphore_is_used_whatever_fails() {
    let name = name("semaphore");
    let timed = if cfg!(target_env = "musl") { "sem_timedwait" } else { "sem_clockwait" };
    let retried = ["sem_open", "sem_wait", "sem_trywait", timed];
    sweep("posix_ipc::Semaphore", &retried, || {
        let _ = Semaphore::unlink(&name);
        let semaphore = Semaphore::create(&name, 0o600, 2)?;
        let again = Semaphore::open(&name)?;
        semaphore.acquire()?;
        again.try_acquire()?;
        again.acquire_timeout(core::time::Duration::from_millis(1))?;
        again.release()?;
        semaphore.value()?;
        Semaphore::unlink(&name)
    });
    let _ = Semaphore::unlink(&name);
}
