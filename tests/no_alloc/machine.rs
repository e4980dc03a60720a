//! Calls every function about processes, signals, sockets and the machine once, with its awaited event ready.

use std::mem::MaybeUninit;
use std::time::Duration;

use crate::no_alloc;
use crate::sys::deadline::Deadline;
use crate::sys::errno::Errno;
use crate::sys::eventfd::EventFd;
use crate::sys::fd::AsFd;
use crate::sys::inotify::{Events, Inotify};
use crate::sys::process::{self, Argument, ExitStatus, Plan, Resource, Usage};
use crate::sys::sched;
use crate::sys::signal::{self, Signal, SignalSet};
use crate::sys::signalfd::{Info, SignalFd};
use crate::sys::socket::{Address, Family, Kind, Socket, UnixAddress};
use crate::sys::tty::{self, Pty};

const SOON: Duration = Duration::from_secs(5);
const SHORT: Duration = Duration::from_millis(1);

#[test]
fn signals() -> Result<(), Errno> {
    let set = SignalSet::EMPTY.with(Signal::USR1);
    let masked = no_alloc!("block", signal::block(set))?;
    no_alloc!("raise", signal::raise(Signal::USR1))?;
    assert!(no_alloc!("pending", signal::pending())?.contains(Signal::USR1));
    assert!(no_alloc!("signal::wait", signal::wait(set, SOON))?.is_some());
    assert!(no_alloc!("signal::wait that times out", signal::wait(set, SHORT))?.is_none());

    let signals = no_alloc!("SignalFd", SignalFd::new(set))?;
    signal::raise(Signal::USR1)?;
    let mut room = [const { MaybeUninit::<Info>::uninit() }; 4];
    assert_eq!(no_alloc!("SignalFd::read", signals.read(&mut room, SOON))?.len(), 1);
    no_alloc!("unmasking", drop(masked));
    no_alloc!("disposition", signal::disposition(Signal::USR2)).map(drop)
}

#[test]
fn files_that_change() -> Result<(), Errno> {
    let watcher = no_alloc!("Inotify", Inotify::new())?;
    let watch = no_alloc!("Inotify::add", watcher.add(c"/tmp", Events::ATTRIB))?;
    no_alloc!("Inotify::remove", watcher.remove(watch))?;
    let mut buffer = [0; 512];
    let events = no_alloc!("Inotify::read", watcher.read(&mut buffer, SOON))?;
    assert!(no_alloc!("events", events.count()) >= 1);
    Ok(())
}

#[test]
fn sockets() -> Result<(), Errno> {
    let (one, other) = no_alloc!("pair", Socket::pair(Kind::SeqPacket))?;
    let mut buffer = [0; 16];
    no_alloc!("send", one.send(b"text", SOON))?;
    assert_eq!(no_alloc!("recv", other.recv(&mut buffer, SOON))?, Some(4));
    let counter = EventFd::counter(3)?;
    no_alloc!("send_with", one.send_with(b"with", &[counter.as_fd()], SOON))?;
    let received = no_alloc!("recv_with", other.recv_with::<4>(&mut buffer, SOON))?.expect("a message");
    assert_eq!(no_alloc!("closing what came", received.descriptors.into_iter().count()), 1);
    no_alloc!("peer_credentials", one.peer_credentials())?;

    let server = no_alloc!("Socket::new", Socket::new(Family::Unix, Kind::Stream))?;
    let name = format!("ossature-no-alloc-{}", std::process::id());
    let address = no_alloc!("an address", UnixAddress::abstract_name(name.as_bytes()).map(Address::from))?;
    no_alloc!("bind", server.bind(&address))?;
    no_alloc!("listen", server.listen(4))?;
    let client = Socket::new(Family::Unix, Kind::Stream)?;
    assert!(no_alloc!("connect", client.connect(&address, SOON))?);
    assert!(no_alloc!("accept", server.accept(SOON))?.is_some());
    assert!(no_alloc!("accept that times out", server.accept(SHORT))?.is_none());
    Ok(())
}

#[test]
fn terminals() -> Result<(), Errno> {
    let pty = no_alloc!("Pty", Pty::open())?;
    no_alloc!("window_size", tty::set_window_size(&pty.terminal, tty::window_size(&pty.terminal)?))?;
    no_alloc!("raw", tty::raw(&pty.terminal).map(drop))
}

#[test]
fn processes() -> Result<(), Errno> {
    let arguments = [Argument::new(c"true"), Argument::END];
    let plan = no_alloc!("Plan", Plan::new(c"/bin/true", &arguments))?;
    let mut child = no_alloc!("Plan::start", plan.start()).expect("true starts");
    assert_eq!(no_alloc!("Child::wait_timeout", child.wait_timeout(SOON))?, Some(ExitStatus::Code(0)));
    no_alloc!("Child::usage", child.usage()).expect("a reaped child's usage");
    // Beside the threads of this harness fork refuses, after everything that could have allocated.
    assert!(no_alloc!("fork that refuses", process::fork(|| 0)).is_err());
    no_alloc!("Usage", Usage::of_thread())?;
    let limit = no_alloc!("rlimit", process::rlimit(Resource::Nofile))?;
    no_alloc!("set_rlimit", process::set_rlimit(Resource::Nofile, limit))?;
    no_alloc!("pidfd_open", process::pidfd_open(process::id())).map(drop)
}

#[test]
fn scheduling() -> Result<(), Errno> {
    let cpus = no_alloc!("affinity", sched::affinity(None))?;
    no_alloc!("set_affinity", sched::set_affinity(None, &cpus))?;
    let scheduling = no_alloc!("scheduling", sched::scheduling(None))?;
    no_alloc!("set_scheduling", sched::set_scheduling(None, scheduling))?;
    no_alloc!("nice", sched::nice(None))?;
    no_alloc!("place", sched::place())?;
    no_alloc!("Deadline", Deadline::after(SHORT).has_passed());
    Ok(())
}
