//! The calling thread's number and its name in the kernel.

use core::ffi::CStr;

use super::Pid;
use crate::errno::Result;
use crate::raw;

/// `gettid()`: the number of the calling thread, which in the first thread equals the process id.
///
/// # Examples
/// ```
/// use ossature_sys::sched::thread_id;
///
/// let mine = thread_id();
/// assert_ne!(std::thread::spawn(thread_id).join().unwrap(), mine);
/// ```
#[doc(alias = "gettid")]
#[doc(alias = "get_native_id")]
pub fn thread_id() -> Pid {
    // The call cannot fail, so it does not pass the fault hook.
    rustix::thread::gettid()
}

/// `prctl(PR_SET_NAME, name)`: names the calling thread for `ps`, `top` and debuggers. The kernel keeps the first 15
/// bytes.
///
/// # Errors
/// None that the kernel documents for this request.
///
/// # Examples
/// ```
/// ossature_sys::sched::set_thread_name(c"collector")?;
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[doc(alias = "PR_SET_NAME")]
#[doc(alias = "pthread_setname_np")]
pub fn set_thread_name(name: &CStr) -> Result<()> {
    raw::call("prctl", || rustix::thread::set_name(name))
}
