//! The one error type of the upper crate.

use std::error::Error as _;
use std::io;
use std::os::unix::net::UnixStream;

use ossature::select::{Poll, PollFlags};
use ossature::sys::errno::Errno;
use ossature::sys::process::{Argument, ForkError, Plan, Resource, Stage, StartError, fork, rlimit};
use ossature::sys::scope::Refused;
use ossature::sys::shm::{AttachError, Shm};
use ossature::sys::sync::lock::Lock;
use ossature::{Error, ErrorKind, Result};

#[test]
fn an_error_keeps_kind_message_and_source_on_its_way_into_io() {
    let (near, _far) = UnixStream::pair().unwrap();
    let error = Poll::<UnixStream>::new().modify(&near, PollFlags::IN).unwrap_err();
    assert_eq!((error.kind(), error.errno()), (ErrorKind::Os, Some(Errno::NOENT)));
    assert!(error.to_string().contains("is not registered: register it first"), "{error}");
    assert!(error.source().is_some_and(|source| source.is::<Errno>()));
    let io: io::Error = error.into();
    assert_eq!(io.kind(), io::ErrorKind::NotFound);
    let back = io.downcast::<Error>().unwrap();
    assert_eq!(back.errno(), Some(Errno::NOENT));
}

#[test]
fn a_bare_errno_speaks_for_itself() {
    let error = Error::from(Errno::NOMEM);
    assert_eq!(error.to_string(), Errno::NOMEM.to_string());
    assert_eq!(format!("{error:?}"), format!("Os({error})"));
}

/// The errno may come from any source.
#[test]
fn a_want_of_descriptors_names_the_limit_and_the_remedy() {
    let most = rlimit(Resource::Nofile).unwrap().current.unwrap();
    let limit = format!("RLIMIT_NOFILE lets this process have {most} descriptors: ");
    for (errno, limit, remedy) in [
        (Errno::MFILE, limit.as_str(), "`ulimit -n`"),
        (Errno::NFILE, "as many open files as fs.file-max allows", "`sysctl`"),
    ] {
        for error in [
            Error::from(errno),
            Error::from(io::Error::from_raw_os_error(errno.raw_os_error())),
            Error::from(ForkError::Os(errno)),
            Error::from(AttachError::Os(errno)),
        ] {
            let text = error.to_string();
            assert!(text.contains(&errno.to_string()) && text.contains(limit) && text.contains(remedy), "{text}");
        }
    }
}

#[test]
fn a_bare_errno_stays_an_os_error_in_io() {
    let io: io::Error = Error::from(Errno::MFILE).into();
    assert_eq!(io.raw_os_error(), Some(Errno::MFILE.raw_os_error()));
    // One with more to say keeps saying it.
    let io: io::Error = Error::from(ForkError::Os(Errno::NOMEM)).into();
    assert_eq!((io.raw_os_error(), io.kind()), (None, io::ErrorKind::OutOfMemory));
    assert!(io.to_string().starts_with("cannot fork: "), "{io}");
}

#[test]
fn an_io_error_goes_in_and_comes_out_as_it_was() {
    let error = Error::from(io::Error::from_raw_os_error(Errno::MFILE.raw_os_error()));
    assert_eq!((error.kind(), error.errno()), (ErrorKind::Os, Some(Errno::MFILE)));
    assert_eq!(io::Error::from(error).raw_os_error(), Some(Errno::MFILE.raw_os_error()));

    let early = || io::Error::new(io::ErrorKind::UnexpectedEof, "half a header");
    let error = Error::from(early());
    assert_eq!((error.kind(), error.errno(), error.to_string()), (ErrorKind::Io, None, "half a header".to_owned()));
    assert!(error.source().is_some_and(|source| source.is::<io::Error>()));
    let back = io::Error::from(error);
    assert_eq!((back.kind(), back.to_string()), (io::ErrorKind::UnexpectedEof, early().to_string()));

    let refused = Error::from(io::Error::from(Error::from(Refused::WouldDeadlock)));
    assert_eq!(refused.kind(), ErrorKind::WouldDeadlock);
    assert!(refused.source().is_some_and(|source| source.is::<Refused>()));
}

/// The kind and errno to which `error` converts. Checks that the text stays, and that `error` is the source.
fn turned<E>(error: E) -> (ErrorKind, Option<Errno>, io::ErrorKind)
where
    E: std::error::Error + PartialEq + Copy + 'static,
    Error: From<E>,
{
    let ours = Error::from(error);
    assert_eq!(ours.to_string(), error.to_string());
    let source = ours.source().expect("has a source");
    match source.downcast_ref::<E>() {
        Some(source) => assert!(*source == error),
        None => assert_eq!(source.downcast_ref(), ours.errno().as_ref()),
    }
    (ours.kind(), ours.errno(), io::Error::from(ours).kind())
}

#[test]
fn errors_of_the_lower_half_keep_their_meaning() {
    use ErrorKind as Kind;
    let busy = io::ErrorKind::ResourceBusy;
    assert_eq!(turned(ForkError::MultiThreaded), (Kind::MultiThreaded, None, busy));
    assert_eq!(turned(ForkError::Unproven), (Kind::MultiThreaded, None, busy));
    assert_eq!(turned(ForkError::LockHeld), (Kind::LockHeld, None, busy));
    let text = Error::from(ForkError::LockHeld).to_string();
    assert!(["the guard", "the permit", "release()"].iter().all(|remedy| text.contains(remedy)), "{text}");
    assert_eq!(turned(ForkError::SigchldIgnored).1, Some(Errno::CHILD));
    assert_eq!(turned(ForkError::Os(Errno::AGAIN)), (Kind::Os, Some(Errno::AGAIN), io::ErrorKind::WouldBlock));
    assert_eq!(turned(Refused::Unrecoverable), (Kind::Unrecoverable, None, io::ErrorKind::Other));
    assert_eq!(turned(Refused::WouldDeadlock), (Kind::WouldDeadlock, None, io::ErrorKind::Deadlock));
    assert_eq!(turned(Refused::TooMany), (Kind::Os, Some(Errno::AGAIN), io::ErrorKind::WouldBlock));
    assert_eq!(turned(Refused::Unlisted), (Kind::Os, Some(Errno::PERM), io::ErrorKind::PermissionDenied));
    assert_eq!(turned(AttachError::OtherType), (Kind::Incompatible, None, io::ErrorKind::InvalidData));
    assert_eq!(turned(AttachError::Os(Errno::NOMEM)), (Kind::Os, Some(Errno::NOMEM), io::ErrorKind::OutOfMemory));
}

#[test]
fn a_question_mark_is_enough() {
    fn refused_by_a_lock() -> Result<()> {
        let shared = Shm::place(Lock::shared(0_u32))?;
        let _guard = shared.lock()?;
        let _again = shared.lock()?;
        Ok(())
    }
    fn refused_by_fork() -> Result<u32> {
        Ok(fork(|| 0)?.pid().as_raw_nonzero().get() as u32)
    }
    fn refused_by_the_program() -> Result<()> {
        let arguments = [Argument::new(c"nothing"), Argument::END];
        Plan::new(c"/nonexistent/program", &arguments)?.start()?.wait()?;
        Ok(())
    }
    assert_eq!(refused_by_a_lock().unwrap_err().kind(), ErrorKind::WouldDeadlock);
    // libtest has a thread for the test and one of its own.
    assert_eq!(refused_by_fork().unwrap_err().kind(), ErrorKind::MultiThreaded);
    let error = refused_by_the_program().unwrap_err();
    let stage = error.source().and_then(|source| source.downcast_ref()).map(StartError::stage);
    assert_eq!((error.errno(), stage), (Some(Errno::NOENT), Some(Stage::Exec)));
}
