//! Descriptors of every kind, and the placeholder under the number of a closed one.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::Errno;
use ossature_sys::fd::{AsFd, AsRawFd, Placeholder, is_cloexec};
use ossature_sys::pipe::{Flags, pipe};
use ossature_sys::socket::{Family, Kind, Socket};
use ossature_sys::stream::Stream;

#[test]
fn a_detached_stream_is_at_its_end_and_keeps_its_number() {
    let (mut near, far) = UnixStream::pair().unwrap();
    let far = Stream::new(far.into()).unwrap();
    let number = far.as_fd().as_raw_fd();
    far.detach(&Placeholder::new().unwrap()).unwrap();
    assert_eq!(near.read(&mut [0; 1]).unwrap(), 0, "nobody has the other end any more");
    assert_eq!(far.as_fd().as_raw_fd(), number);
    assert!(is_cloexec(&far).unwrap());
    for deadline in [Deadline::NEVER, Deadline::NOW, Deadline::after(Duration::from_secs(60))] {
        assert_eq!(far.read(&mut [0; 1], deadline), Ok(Some(0)));
        assert_eq!(far.write([b"lost", b""], deadline), Err(Errno::PIPE));
    }
}

#[test]
fn a_detached_pipe_is_at_its_end_too() {
    let (reader, writer) = pipe(Flags::empty()).unwrap();
    let writer = Stream::new(writer).unwrap();
    writer.detach(&Placeholder::new().unwrap()).unwrap();
    let reader = Stream::new(reader).unwrap();
    assert_eq!(reader.read(&mut [0; 1], Deadline::NEVER), Ok(Some(0)));
    reader.detach(&Placeholder::new().unwrap()).unwrap();
    assert_eq!(reader.read(&mut [0; 1], Duration::from_secs(60)), Ok(Some(0)));
}

#[test]
fn a_detached_listener_listens_no_more() {
    let listener = Socket::new(Family::V4, Kind::Stream).unwrap();
    listener.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    listener.listen(1).unwrap();
    let address = listener.local_address().unwrap();
    listener.detach(&Placeholder::new().unwrap()).unwrap();
    assert_eq!(listener.accept(Deadline::NEVER).unwrap_err(), Errno::INVAL);
    let client = Socket::new(Family::V4, Kind::Stream).unwrap();
    assert_eq!(client.connect(&address, Deadline::NEVER), Err(Errno::CONNREFUSED));
}
