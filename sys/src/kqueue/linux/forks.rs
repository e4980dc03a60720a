//! FORK, EXEC and TRACK of PROC knotes, from the kernel's events of processes.
//!
//! The queue subscribes while at least one knote needs such events (`QueueState::followed` counts them). Each message
//! is about one process, and at most one knote has its number.
//!
//! | event | the knote of | reported notes |
//! | --- | --- | --- |
//! | a fork | the parent | FORK; with TRACK also a new knote for the child |
//! | | the child | CHILD, and the parent's number; if the child cannot be followed, TRACKERR for the parent |
//! | an exec | the process | EXEC |
//! | the end | a child that had ended before it could be watched | EXIT |
//! | events were lost | every knote that needs them | TRACKERR |

use super::connector::{Connector, News};
use super::state::{ASKED, PROCESSES, QueueState};
use super::table::At;
use crate::epoll::Interest;
use crate::errno::{Errno, Result};
use crate::fd::{AsRawFd, IntoRawFd};
use crate::kqueue::{Filter, Notes};
use crate::process::{Pid, pidfd_open};

impl QueueState {
    /// Sets the notes of a PROC knote, and subscribes if this knote is the first that needs the events.
    ///
    /// # Errors
    /// As [`Connector::open`]; the notes stay what they were.
    pub(super) fn set_notes(&mut self, at: At, notes: Notes) -> Result<()> {
        let before = Notes::from_bits_retain(self.table.at(at).notes);
        let (had, wants) = (before.intersects(ASKED), notes.intersects(ASKED));
        if wants && self.connector.is_none() {
            let connector = Connector::open()?;
            self.set.register(&connector, Interest::IN, PROCESSES)?;
            self.connector = Some(connector);
        }
        self.table.at_mut(at).notes = notes.bits();
        self.followed += u32::from(wants);
        if had {
            self.follow_one_less();
        }
        Ok(())
    }

    /// Counts one knote less that needs the events. The subscription ends with the last one.
    pub(super) fn follow_one_less(&mut self) {
        self.followed -= 1;
        if let Some(connector) = self.connector.take_if(|_| self.followed == 0) {
            // A copy of the socket in a forked child would keep the entry.
            let _ = self.set.unregister(&connector);
        }
    }

    /// Takes the pending events of processes.
    ///
    /// # Errors
    /// The kernel's error for a read, except for the loss of events.
    pub(super) fn read_processes(&mut self) -> Result<()> {
        /// The maximum number of events per call. Other processes continue to fork meanwhile; the next collection takes
        /// the rest.
        const MOST: u32 = 1 << 16;
        for _ in 0..MOST {
            let Some(connector) = &self.connector else { return Ok(()) };
            match connector.next() {
                Ok(Some(news)) => self.hear(news),
                Ok(None) => {
                    if core::mem::take(&mut self.is_news_lost) {
                        self.lose_news();
                    }
                    return Ok(());
                }
                // Earlier messages can still be read.
                Err(Errno::NOBUFS) => self.is_news_lost = true,
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    fn hear(&mut self, news: News) {
        match news {
            News::Fork { parent, child } => {
                let Some(at) = self.process(parent) else { return };
                let wanted = Notes::from_bits_retain(self.table.at(at).notes);
                self.find_for(at, wanted & Notes::FORK);
                if wanted.contains(Notes::TRACK) && self.follow(at, parent, child).is_err() {
                    self.find_for(at, Notes::TRACKERR);
                }
            }
            News::Exec { process } => {
                let Some(at) = self.process(process) else { return };
                let wanted = Notes::from_bits_retain(self.table.at(at).notes);
                self.find_for(at, wanted & Notes::EXEC);
            }
            News::End { process, status } => {
                // If the process has a pidfd, the pidfd reports the end of all its threads.
                if let Some(at) = self.process(process).filter(|&at| self.table.at(at).number < 0) {
                    self.end(at, i64::from(status));
                }
            }
            News::Answer(error) if error != 0 => self.is_news_lost = true,
            News::Answer(_) | News::Other => {}
        }
    }

    /// The PROC knote of a process.
    fn process(&self, process: u32) -> Option<At> {
        self.table.find(process as usize, Filter::PROC.number())
    }

    /// Records what was found for a knote.
    fn find_for(&mut self, at: At, notes: Notes) {
        if !notes.is_empty() {
            self.table.at_mut(at).found |= notes.bits();
            self.table.activate(at);
        }
    }

    /// Adds a knote for the child of a process whose forks are followed.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ENOMEM`, `ENOSPC`: the child has no knote.
    fn follow(&mut self, parent_at: At, parent: u32, child: u32) -> Result<()> {
        let at = match self.process(child) {
            Some(at) => at, // the program was faster
            None => self.add_child(parent_at, child)?,
        };
        self.table.at_mut(at).parent = parent;
        self.find_for(at, Notes::CHILD);
        Ok(())
    }

    fn add_child(&mut self, parent_at: At, child: u32) -> Result<At> {
        let pid = i32::try_from(child).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
        let pidfd = match pidfd_open(pid) {
            Ok(pidfd) => Some(pidfd),
            // It has ended, and its parent has waited for it: the event of its end will come.
            Err(Errno::SRCH | Errno::INVAL) => None,
            Err(errno) => return Err(errno),
        };
        let at = self.table.add(child as usize, Filter::PROC.number())?;
        self.outside += 1;
        let parent = *self.table.at(parent_at);
        let slot = self.table.at_mut(at);
        (slot.flags, slot.udata, slot.notes) = (parent.flags, parent.udata, parent.notes);
        self.followed += 1; // whoever is followed here wants TRACK
        if let Some(pidfd) = pidfd {
            let token = self.token(at);
            if let Err(errno) = self.set.register(&pidfd, Interest::IN, token) {
                let _ = self.remove(at);
                return Err(errno);
            }
            self.table.at_mut(at).number = pidfd.as_raw_fd();
            let _ = pidfd.into_raw_fd(); // the knote owns it
        }
        Ok(at)
    }

    /// Reports the loss of events to every knote that needs them. All pending events were read: a process that could
    /// not be watched had ended before, so no event of its end will come.
    #[cold]
    fn lose_news(&mut self) {
        for at in self.table.places() {
            let slot = *self.table.at(at);
            let wants = Notes::from_bits_retain(slot.notes).intersects(ASKED);
            if self.table.is_used(at) && slot.filter == Filter::PROC.number() && wants {
                self.find_for(at, Notes::TRACKERR);
                if slot.number < 0 && !slot.is_over() {
                    self.end(at, 0);
                }
            }
        }
    }

    /// Records the end of a process. Its knote is removed if it does not watch for EXIT, and nothing else is to be
    /// reported.
    pub(super) fn end(&mut self, at: At, status: i64) {
        let slot = self.table.at_mut(at);
        slot.data = status;
        slot.set_over();
        slot.found |= Notes::EXIT.bits() & slot.notes;
        if slot.found == 0 {
            let _ = self.remove(at);
        } else {
            self.table.activate(at);
        }
    }
}
