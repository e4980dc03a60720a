//! Messages of bytes, on a socket and on a pipe.

use std::time::Duration;

use ossature::multiprocessing::connection::{pipe, pipe_one_way};

use crate::no_alloc;

#[test]
fn bytes_go_and_come_without_the_allocator() {
    for (near, far) in [pipe().unwrap(), pipe_one_way().map(|(reader, writer)| (writer, reader)).unwrap()] {
        let message = [7; 8000];
        let mut buffer = [0; 8000];
        for len in [0, 1, 64, 600, 8000] {
            no_alloc!("send_bytes", near.send_bytes(&message[..len])).unwrap();
            assert!(no_alloc!("poll", far.poll(None)).unwrap());
            assert_eq!(no_alloc!("recv_bytes_into", far.recv_bytes_into(&mut buffer)).unwrap(), len);
            let sent =
                no_alloc!("send_bytes_timeout", near.send_bytes_timeout(&message[..len], Duration::from_secs(5)));
            assert!(sent.unwrap().is_complete());
            let got = no_alloc!("_into_timeout", far.recv_bytes_into_timeout(&mut buffer, Duration::from_secs(5)));
            assert_eq!(got.unwrap(), Some(len));
        }
        let none = no_alloc!("recv_bytes_timeout in vain", far.recv_bytes_timeout(Duration::from_millis(1)));
        assert_eq!(none.unwrap(), None);
    }
}
