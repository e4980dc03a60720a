//! Messages of up to 8 bytes, which are stored beside the word of their record: a receiver sees no difference.

use ossature_sys::futex::Limit;
use ossature_sys::sync::ring::{Packets, Received, Ring, RingError};

/// The lengths: the shortest ones, and one that is just too long to be stored there. All bits are set, also those that
/// have a meaning in place of the info.
const LENGTHS: std::ops::RangeInclusive<usize> = 0..=9;
const BYTES: [u8; 9] = [0xff; 9];

#[test]
fn short_message_is_received_copied_in_place_or_as_a_task() {
    needs!(own_nodes);
    let ring = Ring::new(64 << 10).unwrap();
    let (mut sender, mut user) = (ring.join().unwrap(), ring.join().unwrap());
    for len in LENGTHS {
        let message = &BYTES[..len];
        for _ in 0..3 {
            assert!(sender.send_timeout(message, Limit::NOW).unwrap());
        }
        let mut bytes = [0; 16];
        assert_eq!(user.recv_timeout(&mut bytes, Limit::NOW).unwrap(), Some(Received { len, tag: 0 }));
        assert_eq!((&bytes[..len], &bytes[len..]), (message, &[0; 16][len..]));
        let read = user.read_timeout(Limit::NOW).unwrap().unwrap();
        assert_eq!((&*read, read.tag()), (message, 0));
        drop(read);
        let mut bytes = [0; 16];
        assert_eq!(user.recv_task_timeout(&mut bytes, Limit::NOW).unwrap(), Some(Received { len, tag: 0 }));
        assert_eq!((&bytes[..len], &bytes[len..]), (message, &[0; 16][len..]));
        assert!(user.task_done().unwrap() && ring.is_empty().unwrap());
    }
}

#[test]
fn short_message_stays_when_the_buffer_is_too_small() {
    needs!(own_nodes);
    let ring = Ring::new(64 << 10).unwrap();
    let mut user = ring.join().unwrap();
    for len in LENGTHS.skip(1) {
        user.send(&BYTES[..len]).unwrap();
        let mut bytes = [0; 16];
        let too_small = Err(RingError::TooSmall { needed: len });
        assert_eq!(user.recv_timeout(&mut bytes[..len - 1], Limit::NOW), too_small);
        assert_eq!(user.recv_task_timeout(&mut bytes[..len - 1], Limit::NOW), too_small, "it was taken, and put back");
        assert_eq!(user.recv_timeout(&mut bytes[..len], Limit::NOW).unwrap(), Some(Received { len, tag: 0 }));
        assert_eq!(&bytes[..len], &BYTES[..len]);
    }
}

#[test]
fn short_message_keeps_its_tag_and_its_place_among_packets() {
    needs!(own_nodes);
    let (ring, packets) = (Ring::new(64 << 10).unwrap(), Packets::new().unwrap());
    let mut user = ring.join().unwrap();
    for len in LENGTHS {
        assert!(user.send_timeout(&BYTES[..len], Limit::NOW).unwrap());
        assert!(user.send_packet(&packets, b"packet", &[], 0, Limit::NOW).unwrap());
        assert!(user.send_tagged(&BYTES[..len], 7, Limit::NOW).unwrap());
        assert!(user.send_tagged(&BYTES[..len], 0, Limit::NOW).unwrap());
        let mut bytes = vec![0; Packets::BUFFER];
        for (tag, wanted) in [(0, &BYTES[..len]), (0, b"packet"), (7, &BYTES[..len]), (0, &BYTES[..len])] {
            let mut parcel = None;
            let received = user.recv_packet(&packets, &mut bytes, &mut parcel, Limit::NOW).unwrap();
            assert_eq!(received, Some(Received { len: wanted.len(), tag }));
            assert_eq!((&bytes[..wanted.len()], parcel.is_some()), (wanted, wanted == b"packet"));
        }
    }
}
