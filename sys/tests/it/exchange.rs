//! Exchanges: calls between two processes that do not trust each other.

use std::mem::MaybeUninit;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::Duration;

use ossature_sys::deadline::Deadline;
use ossature_sys::epoll::{Epoll, Event, Interest};
use ossature_sys::errno::Errno;
use ossature_sys::eventfd::EventFd;
use ossature_sys::fd::{OwnedFd, duplicate};
use ossature_sys::mmap::{Memfd, Region, Seals};
use ossature_sys::sync::exchange::{Client, Patience, ROOM, Server, Wake};

use crate::support::soon;

fn pair() -> (Server, Client) {
    let (server, memory, wakeup) = Server::new().unwrap();
    (server, Client::new(memory, wakeup).unwrap())
}

/// Makes both sides, and a mapping of the memory for a process that writes arbitrary values.
fn overlooked() -> (Server, Client, Region) {
    let (server, memory, wakeup) = Server::new().unwrap();
    let region = Region::shared(&memory, 8192).unwrap();
    (server, Client::new(memory, wakeup).unwrap(), region)
}

/// Sleeps until the wake-up is signalled or the client is done. Echoes until then.
fn serve(server: &mut Server, calls: usize) {
    let epoll = Epoll::new().unwrap();
    epoll.register(&*server, Interest::IN | Interest::ET, 0).unwrap();
    let (mut events, mut room) = ([MaybeUninit::<Event>::uninit(); 1], [0; ROOM]);
    let mut served = 0;
    while served < calls {
        if server.sleep().unwrap() {
            epoll.poll(&mut events, Deadline::NEVER).unwrap();
            server.wake().unwrap();
        }
        if let Some(request) = server.take(&mut room).unwrap() {
            let request = request.to_vec();
            server.answer(&request).unwrap();
            served += 1;
        }
    }
}

#[test]
fn each_of_many_calls_has_its_own_reply() {
    const CALLS: usize = 20_000;
    let (mut server, mut client) = pair();
    soon(|| {
        thread::scope(|scope| {
            scope.spawn(|| serve(&mut server, CALLS));
            let mut room = [0; ROOM];
            for call in 0..CALLS {
                let request = call.to_le_bytes().repeat(call % 500);
                client.ask(&request).unwrap();
                while !client.wait(Deadline::NEVER).unwrap() {}
                assert_eq!(client.reply(&mut room).unwrap(), Some(&*request));
            }
        });
    });
}

#[test]
fn numbers_of_calls_begin_anew_and_no_reply_is_taken_for_another() {
    let (mut server, mut client) = pair();
    let (mut room, mut reply) = ([0; ROOM], [0; ROOM]);
    for call in 0..(1_u32 << 19) + 3 {
        client.ask(&call.to_le_bytes()).unwrap();
        assert!(!client.has_reply().unwrap() && server.has_request().unwrap());
        let request = server.take(&mut room).unwrap().unwrap().to_vec();
        server.answer(&request).unwrap();
        assert!(!server.has_request().unwrap());
        assert_eq!(client.reply(&mut reply).unwrap(), Some(&call.to_le_bytes()[..]));
    }
}

#[test]
fn messages_of_every_length_come_whole() {
    let (mut server, mut client) = pair();
    let (mut room, mut reply) = ([0; ROOM], [0; ROOM]);
    for length in [0, 1, 47, 48, 49, ROOM - 1, ROOM] {
        let bytes: Vec<u8> = (0..length).map(|at| at as u8).collect();
        client.ask(&bytes).unwrap();
        assert_eq!(server.take(&mut room).unwrap(), Some(&*bytes));
        server.answer(&bytes).unwrap();
        assert_eq!(client.reply(&mut reply).unwrap(), Some(&*bytes));
    }
    assert_eq!(client.ask(&[0; ROOM + 1]), Err(Errno::MSGSIZE));
    assert!(!server.has_request().unwrap(), "nothing was asked");
    assert_eq!(server.answer(&[0; ROOM + 1]), Err(Errno::MSGSIZE));
}

#[test]
fn bell_rings_only_while_the_server_sleeps() {
    let (mut server, mut client) = pair();
    let epoll = Epoll::new().unwrap();
    epoll.register(&server, Interest::IN | Interest::ET, 0).unwrap();
    let mut events = [MaybeUninit::<Event>::uninit(); 1];
    let mut rung = || epoll.poll(&mut events, Deadline::NOW).unwrap().len();
    client.ask(b"awake").unwrap();
    assert_eq!(rung(), 0);
    assert!(!server.sleep().unwrap(), "there is a request");
    server.take(&mut [0; ROOM]).unwrap();
    server.answer(b"").unwrap();
    for _ in 0..3 {
        assert!(server.sleep().unwrap());
        client.ask(b"asleep").unwrap();
        assert_eq!((rung(), rung()), (1, 0), "once for each call, and nobody reads it");
        server.wake().unwrap();
        server.take(&mut [0; ROOM]).unwrap();
        server.answer(b"").unwrap();
    }
}

#[test]
fn client_that_sleeps_is_woken_or_notified() {
    let (mut server, mut client) = pair();
    let mut answer = |client: &mut Client, how: fn(&Client)| {
        client.ask(b"?").unwrap();
        how(client);
        server.take(&mut [0; ROOM]).unwrap();
        server.answer(b"!").unwrap()
    };
    assert_eq!(answer(&mut client, |_| {}), Wake::Nobody);
    assert_eq!(answer(&mut client, |client| assert!(client.wait_for_notification().unwrap())), Wake::Notify);
    assert!(!client.wait_for_notification().unwrap(), "the reply is there");
    client.wake().unwrap();
    assert_eq!(answer(&mut client, |client| assert!(!client.wait(Duration::ZERO).unwrap())), Wake::Nobody);
}

#[test]
fn wait_ends_with_the_slice_and_with_the_deadline() {
    let (_server, mut client) = pair();
    client.ask(b"nobody answers").unwrap();
    assert!(soon(|| !client.wait(Deadline::NEVER).unwrap()));
    assert!(soon(|| !client.wait(Deadline::NOW).unwrap()));
    assert_eq!(client.reply(&mut [0; ROOM]), Err(Errno::AGAIN));
}

#[test]
fn request_that_was_taken_back_is_never_served() {
    let (mut server, mut client) = pair();
    let mut room = [0; ROOM];
    client.ask(b"one").unwrap();
    assert!(!client.was_taken().unwrap());
    client.retract().unwrap();
    assert_eq!(server.take(&mut room), Ok(None));
    assert!(server.sleep().unwrap());

    let (mut server, mut client) = pair();
    client.ask(b"one").unwrap();
    server.take(&mut room).unwrap();
    assert!(client.was_taken().unwrap());
    client.retract().unwrap();
    assert_eq!(server.take(&mut room), Ok(None), "not once more");
    assert!(server.sleep().unwrap());
}

#[test]
fn lengths_that_no_message_has_are_errors() {
    let (mut server, mut client, memory) = overlooked();
    let mut room = [0; ROOM];
    for length in [ROOM as u32 + 1, 0x1fff] {
        memory.atomic_u32(0).unwrap().store(1 << 13 | length, SeqCst);
        assert_eq!(server.take(&mut room), Err(Errno::BADMSG));
    }
    client.ask(b"?").unwrap();
    memory.atomic_u32(4096).unwrap().store(1 << 13 | (ROOM as u32 + 1), SeqCst);
    assert_eq!(client.reply(&mut room), Err(Errno::BADMSG));
}

/// Whatever the words contain, each side ends, and its result is one that the protocol defines.
#[test]
fn whatever_is_written_at_any_time_ends_in_an_answer() {
    let (mut server, mut client, memory) = overlooked();
    let (mut room, mut reply) = ([0; ROOM], [0; ROOM]);
    let mut seed = 0x2545_f491_u32;
    soon(|| {
        for _ in 0..20_000 {
            seed ^= seed << 13;
            seed ^= seed >> 17;
            seed ^= seed << 5;
            let place = [0, 4, 16, 4096, 8128, 4104, 4112][seed as usize % 7];
            memory.atomic_u32(place).unwrap().store([seed, seed % 4, 1 << 13][seed as usize / 7 % 3], SeqCst);
            let _ = client.ask(&room[..seed as usize % 64]);
            if let Ok(Some(request)) = server.take(&mut room) {
                assert!(request.len() <= ROOM);
            }
            let _ = server.answer(b"x").unwrap();
            if seed % 64 == 0 {
                let _ = client.wait(Deadline::NOW).unwrap();
            }
            let (_, _) = (server.sleep().unwrap(), client.wait_for_notification().unwrap());
            server.wake().unwrap();
            client.wake().unwrap();
            if let Ok(Some(bytes)) = client.reply(&mut reply) {
                assert!(bytes.len() <= ROOM);
            }
        }
    });
}

#[test]
fn server_never_waits_for_a_client_that_lets_the_bell_wait() {
    let (mut server, memory, wakeup) = Server::new().unwrap();
    let full = duplicate(&wakeup).unwrap();
    let mut client = Client::new(memory, wakeup).unwrap();
    // The copies are one open file: the server's waits, too.
    ossature_sys::fd::set_blocking(&full).unwrap();
    ossature_sys::fd::write(&full, &(u64::MAX - 1).to_ne_bytes()).unwrap();
    soon(|| {
        for _ in 0..3 {
            client.ask(b"full").unwrap();
            client.wait_for_notification().unwrap();
            server.take(&mut [0; ROOM]).unwrap();
            assert_eq!(server.answer(b"none").unwrap(), Wake::Notify);
            assert!(server.sleep().unwrap());
            server.wake().unwrap();
        }
    });
}

#[test]
fn memory_that_may_shrink_or_is_too_short_is_refused() {
    let refused = |len: u64, seals: Seals| {
        let memory = Memfd::new(c"other").unwrap();
        memory.set_len(len).unwrap();
        memory.add_seals(seals).unwrap();
        Client::new(memory.into(), OwnedFd::from(EventFd::counter(0).unwrap())).map(drop)
    };
    assert_eq!(refused(8192, Seals::GROW), Err(Errno::PERM));
    assert_eq!(refused(8191, Seals::GROW | Seals::SHRINK), Err(Errno::RANGE));
    assert_eq!(refused(8192, Seals::GROW | Seals::SHRINK), Ok(()));
    let no_memory = OwnedFd::from(EventFd::counter(0).unwrap());
    assert_eq!(Client::new(duplicate(&no_memory).unwrap(), no_memory).map(drop), Err(Errno::INVAL));
}

#[test]
fn memory_is_sealed_and_both_descriptors_are_closed_on_exec() {
    let (server, memory, wakeup) = Server::new().unwrap();
    assert!(ossature_sys::fd::is_cloexec(&memory).unwrap() && ossature_sys::fd::is_cloexec(&wakeup).unwrap());
    assert!(ossature_sys::fd::is_cloexec(&server).unwrap());
    let memory = Memfd::from_fd(memory).unwrap();
    assert!(memory.seals().unwrap().contains(Seals::SHRINK | Seals::GROW | Seals::SEAL));
    assert_eq!(memory.set_len(4096), Err(Errno::PERM));
}

/// Polls a peer that replies after `answers` checks. Returns the number of checks, or `None` if the polling ended
/// before.
fn look(patience: &Patience, answers: u32) -> Option<u32> {
    let mut looks = 0;
    let is_met = patience.until(|| {
        looks += 1;
        looks > answers
    });
    is_met.then_some(looks)
}

#[test]
fn partner_that_wakes_slowly_is_met_by_a_long_look_and_then_each_time() {
    // 400 pauses are a usual look, and 1,000 are about what a wake takes.
    let patience = Patience::default();
    assert!((0..3).all(|_| look(&patience, u32::MAX).is_none()), "it has learned that looks are useless");
    assert!((0..2000).any(|_| look(&patience, 1000).is_some()), "a longer look comes now and then");
    assert!((0..100).all(|_| look(&patience, 1000).is_some()), "and is allowed while it is of use");
    assert_eq!(look(&patience, 0), Some(1));
    assert_eq!(look(&patience, 1000), None, "a partner that is awake is looked at for a short while");
}

#[test]
fn looks_at_a_partner_that_never_answers_become_rare() {
    let (patience, mut looks) = (Patience::default(), 0_u64);
    let turns = 20_000;
    for _ in 0..turns {
        patience.until(|| {
            looks += 1;
            false
        });
    }
    assert!((turns / 2..8 * turns).contains(&looks), "{looks} looks in {turns} turns");
}
