//! Finds a leak in a wrapper of system calls, by failing every call of the wrapper in turn. docs/guide/fuzzing.md
//! explains how.
//!
//! ```console
//! RUSTFLAGS="--cfg ossature_faults" cargo run --example faulty_wrapper --target-dir target/faults
//! ```

#[path = "family/front.rs"]
mod front;

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::ExitCode;

use ossature::sys::errno::Errno;
use ossature::sys::faults::sweep::{Failure, Sweep};
use ossature::sys::faults::{Fault, Rule, call};

const USAGE: &str = "\
usage: faulty_wrapper [--self-test]
Makes each call of two wrappers fail in turn. The first wrapper loses a descriptor, the second one does not.
  --self-test  checks that the sweep finds the leak, and nothing else
Needs RUSTFLAGS=\"--cfg ossature_faults\"; without it the program says so and ends.";

/// Converts the result of a C call.
fn checked(answer: c_int) -> io::Result<c_int> {
    if answer == -1 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}

/// Creates a TCP socket that may share its port, as a number. If the second call fails, the number stays open.
fn leaky() -> io::Result<OwnedFd> {
    // SAFETY: socket(2) takes no pointer.
    let number = call("socket", || checked(unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0) }))?;
    share_port(number)?;
    // SAFETY: the socket is new, and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Creates the same socket without the leak: the number has an owner before the next call.
fn mended() -> io::Result<OwnedFd> {
    // SAFETY: socket(2) takes no pointer.
    let number = call("socket", || checked(unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0) }))?;
    // SAFETY: the socket is new, and nobody else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(number) };
    share_port(socket.as_raw_fd())?;
    Ok(socket)
}

fn share_port(socket: c_int) -> io::Result<()> {
    let on: c_int = 1;
    let len = size_of::<c_int>() as libc::socklen_t;
    let set = || {
        // SAFETY: the option is a number that lives longer than the call, and `len` is its size.
        checked(unsafe { libc::setsockopt(socket, libc::SOL_SOCKET, libc::SO_REUSEPORT, (&raw const on).cast(), len) })
    };
    call("setsockopt", set).map(drop)
}

fn program() -> Result<(), Box<dyn std::error::Error>> {
    if matches!(Rule::on("*", Fault::Count).arm(), Err(Errno::NOSYS)) {
        println!(
            "This program is built without the fault hook. Run it with\n  RUSTFLAGS=\"--cfg ossature_faults\" cargo run \
             --example faulty_wrapper --target-dir target/faults"
        );
        return Ok(());
    }
    let sweep = Sweep::new(&[Errno::MFILE, Errno::NOMEM]);
    let found = match sweep.run(leaky) {
        Err(found @ Failure::Leaked { .. }) => found,
        other => return Err(format!("the planted leak was not found: {other:?}").into()),
    };
    println!("leaky: {found}");
    let swept = sweep.run(mended).map_err(|failure| failure.to_string())?;
    println!("mended: {} calls, {} errors came back, nothing is left behind", swept.calls, swept.refused);

    if std::env::args().any(|argument| argument == "--self-test") {
        let Failure::Leaked { call: Some(call), left } = found else { return Err("no call is named".into()) };
        assert_eq!((&*call.name, call.nth, call.errno), ("setsockopt", 2, Errno::MFILE));
        assert_eq!((left.descriptors(), left.mapped(), left.threads()), (1, 0, 0));
        assert_eq!((swept.calls, swept.refused, swept.survived), (2, 4, 0));
    }
    Ok(())
}

fn main() -> ExitCode {
    front::run(USAGE, program)
}
