//! The one error of the upper half.

use std::error::Error as _;
use std::io;
use std::os::unix::net::UnixStream;

use ossature::error::{Error, ErrorKind};
use ossature::select::{Poll, PollFlags};
use ossature::sys::errno::Errno;

#[test]
fn an_error_keeps_kind_message_and_source_on_its_way_into_io() {
    let (near, _far) = UnixStream::pair().unwrap();
    let error = Poll::new().modify(&near, PollFlags::IN).unwrap_err();
    assert_eq!((error.kind(), error.errno()), (ErrorKind::Os, Some(Errno::NOENT)));
    assert!(error.to_string().contains("is not registered; register it first"), "{error}");
    assert!(error.source().is_some_and(|source| source.is::<Errno>()));
    let io: io::Error = error.into();
    assert_eq!(io.kind(), io::ErrorKind::NotFound);
    let back = io.downcast::<Error>().unwrap();
    assert_eq!(back.errno(), Some(Errno::NOENT));
}

#[test]
fn a_bare_errno_speaks_for_itself() {
    let error = Error::from(Errno::MFILE);
    assert_eq!(error.to_string(), Errno::MFILE.to_string());
    assert_eq!(format!("{error:?}"), format!("Os({error})"));
}
