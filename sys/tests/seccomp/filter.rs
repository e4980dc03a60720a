//! A thread on which chosen system calls fail with an errno.

use std::thread;

use libc::{c_long, c_ushort, sock_filter, sock_fprog};
use ossature_sys::errno::Errno;

const LOAD_NUMBER: sock_filter = instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0);

const fn instruction(code: u32, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code: code as c_ushort, jt, jf, k }
}

/// Runs `body` on a thread of its own, where each system call in `calls` fails with `errno`.
pub fn refused<R: Send>(calls: &[c_long], errno: Errno, body: impl FnOnce() -> R + Send) -> R {
    let mut filter = vec![LOAD_NUMBER];
    for &number in calls {
        filter.push(instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, number as u32));
        filter.push(instruction(
            libc::BPF_RET | libc::BPF_K,
            0,
            0,
            libc::SECCOMP_RET_ERRNO | errno.raw_os_error() as u32,
        ));
    }
    filter.push(instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW));
    let work = move || {
        let program = sock_fprog { len: filter.len() as c_ushort, filter: filter.as_mut_ptr() };
        // SAFETY: prctl(2) with PR_SET_NO_NEW_PRIVS reads no memory.
        let alone = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
        // SAFETY: `program` points to its `len` instructions for the whole call, and the kernel copies them.
        let set = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
        assert_eq!((alone, set), (0, 0), "{}", std::io::Error::last_os_error());
        body()
    };
    thread::scope(|scope| scope.spawn(work).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
