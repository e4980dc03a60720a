//! Channels: what receivers see of the end of the senders.

use std::time::{Duration, Instant};

use ossature::ErrorKind;
use ossature::multiprocessing::connection::{CancelFd, wait};
use ossature::multiprocessing::queues::{PutError, QueueBuilder, Receiver, Sender, channel};
use ossature::multiprocessing::{Process, pipe};

use crate::harness::Test;

pub const TESTS: &[Test] = &[
    ("receiver_learns_that_the_last_sender_was_dropped", last_sender_is_dropped),
    ("sleeping_receivers_learn_that_the_last_sender_was_killed", last_sender_is_killed),
    ("items_of_killed_senders_come_before_the_end", items_come_before_the_end),
    ("sender_on_its_way_is_not_gone", sender_on_its_way_is_not_gone),
    ("sender_without_a_receiver_waits_for_no_room", sender_without_a_receiver),
    ("wait_of_a_receiver_can_be_cancelled", wait_can_be_cancelled),
];

const PATIENCE: Duration = Duration::from_secs(30);

fn is_over<T: std::fmt::Debug>(received: ossature::Result<T>) -> bool {
    received.is_err_and(|error| error.kind() == ErrorKind::Closed)
}

fn last_sender_is_dropped() {
    let (sender, receiver) = channel().unwrap();
    let other = sender.try_clone().unwrap();
    sender.send(1).unwrap();
    drop(sender);
    assert_eq!([receiver.recv().unwrap(), receiver.try_recv().unwrap().unwrap_or(0)], [1, 0], "one is left");
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| receiver.recv());
        other.send(2).unwrap();
        assert_eq!(waits.join().unwrap().unwrap(), 2);
        let waits = scope.spawn(|| receiver.recv());
        std::thread::sleep(Duration::from_millis(5));
        drop(other);
        assert!(is_over(waits.join().unwrap()));
    });
    assert!(is_over(receiver.try_recv()) && is_over(receiver.try_clone().unwrap().recv()));
    assert_eq!(receiver.iter().count(), 0);
}

pub fn send_for_ever(sender: Sender<(u32, u32)>, number: u32) -> ossature::Result<()> {
    for count in 0.. {
        sender.send((number, count))?;
    }
    Ok(())
}

pub fn hold(sender: Sender<(u32, u32)>) -> ossature::Result<()> {
    sender.send((0, 0))?;
    loop {
        std::thread::park();
    }
}

/// The sender has sent all its items and sleeps when it is killed. Two receivers sleep, one of them on its descriptor.
fn last_sender_is_killed() {
    let (sender, receiver) = channel().unwrap();
    let child = Process::spawn(hold, (sender,)).unwrap();
    assert_eq!(receiver.recv().unwrap(), (0, 0));
    let other = receiver.try_clone().unwrap();
    let readiness = other.readiness().unwrap();
    assert_eq!(other.try_recv().unwrap(), None);
    assert!(wait(&[&readiness], Duration::from_millis(5)).unwrap().is_empty());
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| receiver.recv_timeout(PATIENCE));
        std::thread::sleep(Duration::from_millis(5));
        child.kill().unwrap();
        let began = Instant::now();
        assert!(is_over(waits.join().unwrap()));
        assert!(began.elapsed() < Duration::from_secs(5), "at once, not at the end of its limit");
        assert_eq!(wait(&[&readiness], PATIENCE).unwrap(), [0]);
        assert!(is_over(other.try_recv()));
    });
    child.join().unwrap();
}

/// Each sender is killed while it sends, at another time. The receivers get all sent items, and then the end.
fn items_come_before_the_end() {
    let builder = QueueBuilder::new().capacity(64 << 10);
    for round in 0..8 {
        let (sender, receiver) = builder.build_channel().unwrap();
        let children =
            [0_u32, 1, 2].map(|number| Process::spawn(send_for_ever, (sender.try_clone().unwrap(), number)).unwrap());
        drop(sender);
        let mut next = [0; 3];
        let mut note = |(number, count): (u32, u32)| {
            assert_eq!(count, next[number as usize], "in order, each once");
            next[number as usize] += 1;
            count
        };
        for child in children {
            while note(receiver.recv().unwrap()) < round * 37 {}
            child.kill().unwrap();
            child.join().unwrap();
        }
        let began = Instant::now();
        for item in receiver.iter() {
            note(item.unwrap());
        }
        assert!(began.elapsed() < Duration::from_secs(10));
    }
}

fn sender_on_its_way_is_not_gone() {
    let (sender, receiver) = channel::<u8>().unwrap();
    let (near, far) = pipe().unwrap();
    near.send(&sender).unwrap();
    drop(sender);
    assert_eq!(receiver.recv_timeout(Duration::from_millis(20)).unwrap(), None, "it may still come");
    let sender: Sender<u8> = far.recv().unwrap();
    sender.send(1).unwrap();
    near.send(&receiver).unwrap();
    let there: Receiver<u8> = far.recv().unwrap();
    drop((sender, receiver));
    assert_eq!(there.recv().unwrap(), 1);
    assert!(is_over(there.recv()));
}

fn sender_without_a_receiver() {
    let (sender, receiver) = QueueBuilder::new().maxsize(1).build_channel().unwrap();
    sender.send(1).unwrap();
    assert!(matches!(sender.try_send(2), Err(PutError::Full(2))));
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| sender.send(3));
        std::thread::sleep(Duration::from_millis(5));
        drop(receiver);
        assert!(matches!(waits.join().unwrap(), Err(PutError::ShutDown(3))));
    });
    assert!(matches!(sender.try_send(4), Err(PutError::ShutDown(4))));
}

fn wait_can_be_cancelled() {
    let (sender, receiver) = channel::<u8>().unwrap();
    let stop = CancelFd::new().unwrap();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| receiver.recv_timeout(&stop));
        std::thread::sleep(Duration::from_millis(5));
        stop.cancel().unwrap();
        assert_eq!(waits.join().unwrap().unwrap(), None);
    });
    sender.send(1).unwrap();
    assert_eq!(receiver.recv_timeout(&stop).unwrap(), Some(1), "there is no wait to cancel");
}
