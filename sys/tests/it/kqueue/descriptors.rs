//! READ and WRITE.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use ossature_sys::errno::Errno;
use ossature_sys::fd::AsRawFd;
use ossature_sys::kqueue::{Filter, Flags, Kevent, Kqueue, Notes};
use ossature_sys::pipe::capacity;

use super::{now, one, wait, wait_for};
use crate::support::pipe;

#[test]
fn reading_tells_how_many_bytes_there_are_for_as_long_as_they_are_there() {
    let queue = Kqueue::new().unwrap();
    let (mut near, mut far) = UnixStream::pair().unwrap();
    queue.change(&Kevent::read(&near).with_udata(5)).unwrap();
    assert_eq!(now(&queue), []);
    far.write_all(b"seven b").unwrap();
    let expected = Kevent::read(&near).with_flags(Flags::empty()).with_data(7).with_udata(5);
    assert_eq!(one(&queue), expected);
    near.read_exact(&mut [0; 3]).unwrap();
    assert_eq!(one(&queue), expected.with_data(4));
    near.read_exact(&mut [0; 4]).unwrap();
    assert_eq!(now(&queue), []);
}

#[test]
fn writing_tells_the_room() {
    let queue = Kqueue::new().unwrap();
    let (near, _far) = UnixStream::pair().unwrap();
    let (_reader, mut writer) = pipe().unwrap();
    let changes = [Kevent::write(&near), Kevent::write(&writer)];
    let mut room = [std::mem::MaybeUninit::uninit(); 4];
    let events = queue.control(&changes, &mut room, Duration::from_secs(5)).unwrap();
    assert_eq!(events.len(), 2);
    let room = |fd: i32| wait(&queue, Duration::ZERO).iter().find(|e| e.ident() == fd as usize).map(Kevent::data);
    assert!(room(near.as_raw_fd()).unwrap() > 4096);
    let before = room(writer.as_raw_fd()).unwrap();
    assert_eq!(before, capacity(&writer).unwrap() as i64);
    writer.write_all(&[0; 100]).unwrap();
    assert_eq!(room(writer.as_raw_fd()), Some(before - 100));
}

#[test]
fn one_descriptor_has_both_filters() {
    let queue = Kqueue::new().unwrap();
    let (near, mut far) = UnixStream::pair().unwrap();
    queue.change(&Kevent::read(&near).with_udata(1)).unwrap();
    queue.change(&Kevent::write(&near).with_udata(2)).unwrap();
    assert_eq!(one(&queue).udata(), 2);
    far.write_all(b"x").unwrap();
    let both: Vec<_> = wait(&queue, Duration::from_secs(5)).iter().map(Kevent::udata).collect();
    assert_eq!(both.len(), 2);
    queue.change(&Kevent::write(&near).with_flags(Flags::DELETE)).unwrap();
    assert_eq!(one(&queue).udata(), 1);
}

#[test]
fn with_room_for_one_event_neither_of_two_filters_is_lost() {
    for flags in [Flags::ADD, Flags::ADD | Flags::CLEAR, Flags::ADD | Flags::ONESHOT, Flags::ADD | Flags::DISPATCH] {
        let queue = Kqueue::new().unwrap();
        let (near, mut far) = UnixStream::pair().unwrap();
        far.write_all(b"x").unwrap();
        queue.change(&Kevent::read(&near).with_flags(flags)).unwrap();
        queue.change(&Kevent::write(&near).with_flags(flags)).unwrap();
        let mut filters: Vec<_> = (0..2).flat_map(|_| wait_for(&queue, 1, Duration::from_secs(5))).collect();
        filters.sort();
        let filters: Vec<_> = filters.iter().map(Kevent::filter).collect();
        assert_eq!(filters, [Filter::WRITE, Filter::READ], "{flags:?}");
    }
}

#[test]
fn many_ready_edges_come_with_room_for_a_few() {
    let queue = Kqueue::new().unwrap();
    let pairs: Vec<_> = (0..40).map(|_| UnixStream::pair().unwrap()).collect();
    for (near, far) in &pairs {
        (&mut &*far).write_all(b"x").unwrap();
        for change in [Kevent::read(near), Kevent::write(near)] {
            queue.change(&change.with_flags(Flags::ADD | Flags::CLEAR)).unwrap();
        }
    }
    let mut seen = Vec::new();
    for room in [1, 2, 3, 5, 7].into_iter().cycle() {
        let events = wait_for(&queue, room, Duration::from_millis(1));
        if events.is_empty() {
            break;
        }
        seen.extend(events.iter().map(|event| (event.ident(), event.filter())));
    }
    seen.sort();
    assert_eq!(seen.len(), 80);
    seen.dedup();
    assert_eq!(seen.len(), 80, "each once");
}

#[test]
fn a_wait_reports_nothing_twice() {
    let queue = Kqueue::new().unwrap();
    let pairs: Vec<_> = (0..300).map(|_| UnixStream::pair().unwrap()).collect();
    for (near, far) in &pairs {
        (&mut &*far).write_all(b"x").unwrap();
        queue.change(&Kevent::read(near)).unwrap();
        queue.change(&Kevent::write(near)).unwrap();
    }
    for ident in 0..50 {
        queue.change(&Kevent::user(ident).with_flags(Flags::ADD)).unwrap();
        queue.change(&Kevent::trigger(ident)).unwrap();
    }
    for room in [129, 256, 640, 650, 1000] {
        for _ in 0..3 {
            let mut events = wait_for(&queue, room, Duration::from_secs(5));
            assert_eq!(events.len(), room.min(650));
            events.sort();
            events.dedup();
            assert_eq!(events.len(), room.min(650));
        }
    }
}

#[test]
fn the_end_comes_with_what_is_pending() {
    let queue = Kqueue::new().unwrap();
    let (mut near, mut far) = UnixStream::pair().unwrap();
    queue.change(&Kevent::read(&near)).unwrap();
    far.write_all(b"last").unwrap();
    far.shutdown(Shutdown::Write).unwrap();
    let event = one(&queue);
    assert_eq!((event.flags(), event.data()), (Flags::EOF, 4));
    near.read_exact(&mut [0; 4]).unwrap();
    let event = one(&queue);
    assert_eq!((event.flags(), event.data()), (Flags::EOF, 0));
}

#[test]
fn the_end_of_a_pipe_is_told_to_both_sides() {
    let queue = Kqueue::new().unwrap();
    let (reader, writer) = pipe().unwrap();
    queue.change(&Kevent::read(&reader)).unwrap();
    drop(writer);
    assert_eq!((one(&queue).flags(), one(&queue).data()), (Flags::EOF, 0));
    drop(reader);
    let (reader, writer) = pipe().unwrap();
    let queue = Kqueue::new().unwrap();
    queue.change(&Kevent::write(&writer)).unwrap();
    drop(reader);
    assert_eq!(one(&queue).flags(), Flags::EOF);
}

#[test]
fn a_listener_tells_how_many_wait() {
    let queue = Kqueue::new().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    queue.change(&Kevent::read(&listener)).unwrap();
    assert_eq!(now(&queue), []);
    let address = listener.local_addr().unwrap();
    let clients: Vec<_> = (0..3).map(|_| TcpStream::connect(address).unwrap()).collect();
    crate::support::soon(|| while one(&queue).data() != 3 {});
    listener.accept().unwrap();
    assert_eq!(one(&queue).data(), 2);
    drop(clients);
}

#[test]
fn a_datagram_tells_its_length() {
    let queue = Kqueue::new().unwrap();
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    queue.change(&Kevent::read(&receiver)).unwrap();
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    sender.send_to(b"twelve bytes", receiver.local_addr().unwrap()).unwrap();
    assert_eq!((one(&queue).data(), one(&queue).flags()), (12, Flags::empty()));
}

#[test]
fn nothing_is_told_below_the_low_water_mark() {
    for clear in [Flags::empty(), Flags::CLEAR] {
        let queue = Kqueue::new().unwrap();
        let (mut near, mut far) = UnixStream::pair().unwrap();
        let change = Kevent::read(&near).with_flags(Flags::ADD | clear).with_notes(Notes::LOWAT).with_data(10);
        queue.change(&change).unwrap();
        far.write_all(b"nine byte").unwrap();
        assert_eq!(wait(&queue, Duration::from_millis(5)), []);
        far.write_all(b"s").unwrap();
        assert_eq!(one(&queue).data(), 10);
        assert_eq!(now(&queue).len(), usize::from(clear.is_empty()), "as long as it is the case");
        near.read_exact(&mut [0; 5]).unwrap();
        assert_eq!(now(&queue), []);
        // Raised, and lowered, while it is there.
        queue.change(&change.with_data(5)).unwrap();
        assert_eq!(one(&queue).data(), 5);
        queue.change(&change.with_data(6)).unwrap();
        assert_eq!(now(&queue), []);
        drop(far);
        let event = one(&queue);
        assert_eq!((event.data(), event.flags() - clear), (5, Flags::EOF), "the end counts as enough");
    }
}

#[test]
fn a_low_water_mark_for_writing_is_one_of_room() {
    let queue = Kqueue::new().unwrap();
    let (mut reader, mut writer) = pipe().unwrap();
    let room = capacity(&writer).unwrap() as i64;
    queue.change(&Kevent::write(&writer).with_notes(Notes::LOWAT).with_data(room - 5000)).unwrap();
    assert_eq!(one(&queue).data(), room);
    writer.write_all(&[0; 6000]).unwrap();
    assert_eq!(now(&queue), []);
    reader.read_exact(&mut [0; 6000]).unwrap();
    assert_eq!(one(&queue).data(), room);
}

#[test]
fn a_regular_file_is_ready_unless_it_is_at_its_end() {
    let queue = Kqueue::new().unwrap();
    let mut file = tempfile("offsets");
    file.write_all(b"0123456789").unwrap();
    queue.change(&Kevent::read(&file)).unwrap();
    assert_eq!(now(&queue), [], "at the end");
    file.seek(SeekFrom::Start(4)).unwrap();
    queue.change(&Kevent::read(&file)).unwrap();
    assert_eq!(one(&queue).data(), 6);
    assert_eq!(one(&queue).data(), 6, "as long as it is the case");
    file.seek(SeekFrom::Start(12)).unwrap();
    assert_eq!(one(&queue).data(), -2, "behind the end");
    file.seek(SeekFrom::End(0)).unwrap();
    assert_eq!(now(&queue), []);
    // It grows while somebody waits.
    let mut other = File::options().append(true).open(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| other.write_all(b"more").unwrap());
        assert_eq!(one(&queue).data(), 4);
    });
    queue.change(&Kevent::write(&file)).unwrap();
    assert!(now(&queue).iter().any(|event| event.filter() == Filter::WRITE));
    queue.change(&Kevent::read(&file).with_flags(Flags::DELETE)).unwrap();
    queue.change(&Kevent::write(&file).with_flags(Flags::DELETE)).unwrap();
    assert_eq!(now(&queue), []);
}

#[test]
fn what_epoll_refuses_is_always_ready() {
    let queue = Kqueue::new().unwrap();
    let null = File::options().read(true).write(true).open("/dev/null").unwrap();
    // A number that no other test opens after the close.
    let null = rustix::io::fcntl_dupfd_cloexec(&null, 900).unwrap();
    queue.change(&Kevent::read(&null)).unwrap();
    queue.change(&Kevent::write(&null).with_flags(Flags::ADD | Flags::ONESHOT)).unwrap();
    assert_eq!(wait(&queue, Duration::from_secs(5)).len(), 2);
    assert_eq!(one(&queue).filter(), Filter::READ);
    drop(null);
    assert_eq!(now(&queue), []);
    assert_eq!(queue.len(), Ok(0), "a closed descriptor has no knotes");
}

#[test]
fn a_closed_descriptor_has_no_knotes() {
    let queue = Kqueue::new().unwrap();
    let (near, far) = UnixStream::pair().unwrap();
    let number = near.as_raw_fd() as usize;
    for filter in [Filter::READ, Filter::WRITE] {
        queue.change(&Kevent::new(number, filter).with_flags(Flags::ADD | Flags::DISABLE)).unwrap();
    }
    // The peer is silent, so nothing but the close is to be noticed.
    let high = ossature_sys::fd::duplicate(&near).unwrap();
    drop((near, far));
    drop(high);
    assert_eq!(now(&queue), []);
    let never = Kevent::new(usize::MAX, Filter::READ);
    assert_eq!(queue.change(&never), Err(Errno::BADF));
    assert_eq!(queue.change(&Kevent::new(i32::MAX as usize, Filter::READ)), Err(Errno::BADF));
}

#[test]
fn a_number_that_is_opened_again_is_another_descriptor() {
    let queue = Kqueue::new().unwrap();
    let mut attempts = 0;
    loop {
        let (near, mut far) = UnixStream::pair().unwrap();
        let number = near.as_raw_fd();
        queue.change(&Kevent::read(&near).with_udata(1)).unwrap();
        let keeper = near.try_clone().unwrap();
        drop(near);
        let (again, mut peer) = UnixStream::pair().unwrap();
        let taken = [again.as_raw_fd(), peer.as_raw_fd()].contains(&number);
        if !taken && attempts < 100 {
            // Another test has the number.
            attempts += 1;
            let _ = queue.change(&Kevent::read(&keeper).with_flags(Flags::DELETE));
            continue;
        }
        let (again, peer) =
            if again.as_raw_fd() == number { (&again, &mut peer) } else { (&peer.try_clone().unwrap(), &mut peer) };
        if again.as_raw_fd() != number {
            return; // the second end was renumbered: nothing to see
        }
        queue.change(&Kevent::read(again).with_udata(2)).unwrap();
        // The old stream lives, becomes ready, and nobody hears of it.
        far.write_all(b"old").unwrap();
        assert_eq!(wait(&queue, Duration::from_millis(5)), []);
        assert_eq!(wait(&queue, Duration::from_millis(5)), [], "and the wait slept");
        peer.write_all(b"newer").unwrap();
        let event = one(&queue);
        assert_eq!((event.udata(), event.data()), (2, 5));
        drop(keeper);
        return;
    }
}

fn tempfile(name: &str) -> File {
    let path = std::env::temp_dir().join(format!("ossature-kqueue-{name}-{}", std::process::id()));
    let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    file
}
