//! USER: events that the program triggers.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use ossature_sys::errno::Errno;
use ossature_sys::kqueue::{Filter, Flags, Kevent, Kqueue, Notes};

use super::{now, one, wait_for};

fn note(ident: usize, notes: Notes) -> Kevent {
    Kevent::new(ident, Filter::USER).with_flags(Flags::empty()).with_notes(notes)
}

#[test]
fn a_trigger_is_reported_once_with_clear_and_until_deleted_without() {
    let queue = Kqueue::new().unwrap();
    queue.change(&Kevent::user(1).with_udata(3)).unwrap();
    assert_eq!(now(&queue), []);
    queue.change(&Kevent::trigger(1).with_udata(3)).unwrap();
    queue.change(&Kevent::trigger(1).with_data(9).with_udata(3)).unwrap();
    let event = one(&queue);
    assert_eq!((event.ident(), event.udata(), event.data(), event.flags()), (1, 3, 9, Flags::CLEAR));
    assert_eq!(now(&queue), []);
    queue.change(&Kevent::trigger(1)).unwrap();
    assert_eq!(one(&queue).flags(), Flags::CLEAR, "CLEAR survives a trigger");
    assert_eq!(now(&queue), []);

    queue.change(&Kevent::user(2).with_flags(Flags::ADD)).unwrap();
    queue.change(&Kevent::trigger(2)).unwrap();
    assert_eq!([one(&queue).ident(), one(&queue).ident()], [2, 2]);
    queue.change(&Kevent::user(2).with_flags(Flags::DELETE)).unwrap();
    assert_eq!(now(&queue), []);
    assert_eq!(queue.change(&Kevent::trigger(2)), Err(Errno::NOENT));
}

#[test]
fn stored_notes_follow_the_operations() {
    let queue = Kqueue::new().unwrap();
    queue.change(&Kevent::user(1).with_notes(Notes::from_bits_retain(0b1100))).unwrap();
    let bits = |bits: u32| Notes::from_bits_retain(bits);
    for (notes, stored) in [
        (bits(0xff), 0b1100),
        (Notes::FFOR | bits(0b0011), 0b1111),
        (Notes::FFAND | bits(0b0110), 0b0110),
        (Notes::FFCOPY | bits(0x00ff_ffff), 0x00ff_ffff),
        (Notes::FFCOPY | bits(0), 0),
    ] {
        queue.change(&note(1, notes)).unwrap();
        assert_eq!(now(&queue), [], "not triggered");
        queue.change(&Kevent::trigger(1)).unwrap();
        assert_eq!(one(&queue).notes().bits(), stored, "{notes:?}");
    }
}

#[test]
fn a_disabled_event_is_kept_until_it_is_enabled() {
    let queue = Kqueue::new().unwrap();
    queue.change(&Kevent::user(1)).unwrap();
    queue.change(&Kevent::trigger(1).with_flags(Flags::DISABLE)).unwrap();
    assert_eq!(now(&queue), []);
    queue.change(&note(1, Notes::empty()).with_flags(Flags::ENABLE)).unwrap();
    assert_eq!(one(&queue).ident(), 1);
}

/// With room for one event, both are reported within two waits. Many triggers delay the socket no longer.
#[test]
fn neither_a_storm_of_triggers_nor_a_ready_socket_starves_the_other() {
    for sockets in [1, 20] {
        let queue = Kqueue::new().unwrap();
        let pairs: Vec<_> = (0..sockets).map(|_| UnixStream::pair().unwrap()).collect();
        for (near, far) in &pairs {
            (&mut &*far).write_all(b"x").unwrap();
            queue.change(&Kevent::read(near)).unwrap();
        }
        for ident in 0..10 {
            queue.change(&Kevent::user(ident)).unwrap();
        }
        for _ in 0..20 {
            let mut seen = Vec::new();
            for _ in 0..2 {
                for ident in 0..10 {
                    queue.change(&Kevent::trigger(ident)).unwrap();
                }
                seen.extend(wait_for(&queue, 1, Duration::from_secs(5)).iter().map(Kevent::filter));
            }
            assert!(seen.contains(&Filter::USER) && seen.contains(&Filter::READ), "{seen:?}");
        }
    }
}
