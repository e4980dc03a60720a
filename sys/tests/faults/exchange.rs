//! Exchanges with failing system calls.

use std::time::Duration;

use ossature_sys::faults::{Fault, Rule};
use ossature_sys::sync::exchange::{Client, ROOM, Server};

use crate::sweep::{alone, sweep};

#[test]
fn everything_about_an_exchange_ends_and_leaks_nothing() {
    let _alone = alone();
    sweep("exchange", &["fallocate", "fcntl", "write", "futex"], || {
        let (mut server, memory, wakeup) = Server::new()?;
        let mut client = Client::new(memory, wakeup)?;
        server.sleep()?;
        client.ask(b"?")?;
        server.wake()?;
        client.wait(Duration::from_micros(10))?;
        server.take(&mut [0; ROOM])?;
        server.answer(b"!")?;
        client.reply(&mut [0; ROOM]).map(drop)
    });
}

#[test]
fn request_whose_bell_does_not_ring_was_not_made() {
    let _alone = alone();
    let (mut server, memory, wakeup) = Server::new().unwrap();
    let mut client = Client::new(memory, wakeup).unwrap();
    assert!(server.sleep().unwrap());
    let refused = Rule::on("write", Fault::Fail(ossature_sys::errno::Errno::IO)).arm().unwrap();
    assert!(client.ask(b"?").is_err());
    drop(refused);
    assert_eq!(server.take(&mut [0; ROOM]), Ok(None));
}

#[test]
fn call_between_two_who_are_awake_makes_no_system_call() {
    let _alone = alone();
    let (mut server, memory, wakeup) = Server::new().unwrap();
    let mut client = Client::new(memory, wakeup).unwrap();
    let counts = ["write", "futex", "epoll_wait", "ppoll", "read"].map(|call| Rule::on(call, Fault::Count).arm());
    let mut room = [0; ROOM];
    for _ in 0..10 {
        client.ask(b"?").unwrap();
        server.take(&mut room).unwrap();
        server.answer(b"!").unwrap();
        assert!(client.wait(Duration::from_secs(60)).unwrap());
        client.reply(&mut room).unwrap();
    }
    assert!(counts.into_iter().all(|count| count.unwrap().seen() == 0));
}
