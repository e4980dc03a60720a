//! An exchange whose messages are numbers, read and written without an order of their own, so that a message out of
//! order is a different number. The wake-up and the notifications are counters, like an eventfd in an edge-triggered
//! set and a socket.

use super::kernel::{wait, wake};
use crate::atomic::AtomicU32;
use crate::atomic::Ordering::{Relaxed, SeqCst};
use crate::futex::Limit;
use crate::sync::exchange::Wake;
use crate::sync::exchange::words::{FOR_NOTIFICATION, ON_WORD, Words, before, next};

/// The memory, and the counters beside it.
#[derive(Debug, Default)]
pub struct Exchange {
    asked: AtomicU32,
    client_sleeps: AtomicU32,
    answered: AtomicU32,
    taken: AtomicU32,
    server_sleeps: AtomicU32,
    request: AtomicU32,
    reply: AtomicU32,
    wakeup: AtomicU32,
    notifications: AtomicU32,
}

/// How a client waits after it has found no reply.
#[derive(Clone, Copy, Debug)]
pub enum How {
    /// On the word.
    Word,
    /// For a notification.
    Notification,
    /// On the word until the slice is over, then for a notification.
    Both,
}

/// The client side.
#[derive(Debug)]
pub struct Client<'e> {
    exchange: &'e Exchange,
    number: u32,
    heard: u32,
}

/// The server side.
#[derive(Debug)]
pub struct Server<'e> {
    exchange: &'e Exchange,
    last: u32,
    heard: u32,
}

impl Exchange {
    fn words(&self) -> Words<'_> {
        let Self { asked, client_sleeps, answered, taken, server_sleeps, .. } = self;
        Words { asked, client_sleeps, answered, taken, server_sleeps }
    }

    /// The client side.
    pub fn client(&self) -> Client<'_> {
        Client { exchange: self, number: 0, heard: 0 }
    }

    /// The server side.
    pub fn server(&self) -> Server<'_> {
        Server { exchange: self, last: 0, heard: 0 }
    }
}

impl Client<'_> {
    /// Sends a request.
    pub fn ask(&mut self, value: u32) {
        self.exchange.request.store(value, Relaxed);
        self.number = next(self.number);
        if self.exchange.words().ask(self.number, 4) {
            self.exchange.wakeup.fetch_add(1, SeqCst);
            wake(&self.exchange.wakeup, 1);
        }
    }

    /// Waits for the reply.
    pub fn wait(&mut self, how: How) -> u32 {
        let (exchange, words) = (self.exchange, self.exchange.words());
        if let How::Both = how {
            let _ = words.client_sleeps(ON_WORD, self.number); // and the slice is over at once
            words.client_is_awake();
        }
        while words.reply(self.number).is_none() {
            match how {
                How::Word => {
                    if let Some(seen) = words.client_sleeps(ON_WORD, self.number) {
                        let _ = wait(words.answered, seen, Limit::NEVER);
                    }
                }
                How::Notification | How::Both => {
                    if words.client_sleeps(FOR_NOTIFICATION, self.number).is_some() {
                        let _ = wait(&exchange.notifications, self.heard, Limit::NEVER);
                        self.heard = exchange.notifications.load(SeqCst);
                    }
                }
            }
            words.client_is_awake();
        }
        assert_eq!(words.reply(self.number), Some(4));
        exchange.reply.load(Relaxed)
    }

    /// Retracts the request.
    pub fn retract(&self) {
        self.exchange.words().retract(before(self.number));
    }

    /// Whether the server has taken the last request.
    pub fn was_taken(&self) -> bool {
        self.exchange.words().was_taken(self.number)
    }
}

impl Server<'_> {
    /// Takes a pending request, if there is one.
    pub fn look(&mut self) -> Option<u32> {
        let (number, length) = self.exchange.words().request(self.last)?;
        assert_eq!(length, 4);
        let value = self.exchange.request.load(Relaxed);
        self.last = number;
        self.exchange.words().take(number);
        Some(value)
    }

    /// Waits for a request, and takes it.
    pub fn take(&mut self) -> u32 {
        loop {
            if let Some(value) = self.look() {
                return value;
            }
            if self.exchange.words().server_sleeps(self.last) {
                let _ = wait(&self.exchange.wakeup, self.heard, Limit::NEVER);
                self.heard = self.exchange.wakeup.load(SeqCst);
            }
            self.exchange.words().server_is_awake();
        }
    }

    /// Replies to the request that was taken last.
    pub fn answer(&mut self, value: u32) {
        self.exchange.reply.store(value, Relaxed);
        match self.exchange.words().answer(self.last, 4) {
            Wake::Nobody => {}
            Wake::Sleeper => drop(wake(&self.exchange.answered, 1)),
            Wake::Notify => {
                self.exchange.notifications.fetch_add(1, SeqCst);
                wake(&self.exchange.notifications, 1);
            }
        }
    }
}
