//! A command under the scheduler: a process group that runs only while it is let.

use std::ffi::CString;
use std::time::Duration;

use ossature::sys::errno::Result;
use ossature::sys::process::{Argument, Child, ExitStatus, Group, Plan, Signal, signal_group};
use ossature::sys::signal::SignalSet;

use crate::own::Outcome;

/// A command, and what it got.
pub struct Task {
    pub command: String,
    /// Its tickets in a lottery; its period and its part of that under deadlines.
    pub wish: Wish,
    child: Child,
    /// How long it was let run.
    pub granted: Duration,
    pub turns: u32,
    /// How often a deadline passed before it had its part.
    pub missed: u32,
    pub exit: Option<ExitStatus>,
}

/// What a command asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wish {
    pub tickets: u32,
    pub period: Duration,
    pub part: Duration,
}

impl Wish {
    /// Splits `3:command` and `20/100:command` (20 ms of every 100 ms) from a command; a bare one has one ticket, and
    /// a tenth of 100 ms.
    pub fn split(text: &str) -> Outcome<(Self, &str)> {
        let (wish, command) = text
            .split_once(':')
            .filter(|(wish, _)| wish.starts_with(|c: char| c.is_ascii_digit()))
            .unwrap_or(("1", text));
        let (tickets, part, period) = match wish.split_once('/') {
            Some((part, period)) => (1, part.parse()?, period.parse()?),
            None => (wish.parse()?, 10, 100),
        };
        if tickets == 0 || part == 0 || part > period {
            return Err(format!("{wish}: one ticket at least, and a part that is not longer than its period").into());
        }
        let (part, period) = (Duration::from_millis(part), Duration::from_millis(period));
        Ok((Self { tickets, period, part }, command))
    }
}

impl Task {
    /// Starts a command in a shell and a group of its own, and stops it.
    pub fn start(text: &str) -> Outcome<Self> {
        let (wish, command) = Wish::split(text)?;
        let script = CString::new(command)?;
        let arguments = [Argument::new(c"sh"), Argument::new(c"-c"), Argument::new(&script), Argument::END];
        let plan = Plan::new(c"/bin/sh", &arguments)?
            .group(Group::New)
            .blocked_signals(SignalSet::EMPTY)
            .default_signals()
            .parent_death_signal(Signal::KILL);
        let task = Self {
            command: command.to_owned(),
            wish,
            child: plan.start()?,
            granted: Duration::ZERO,
            turns: 0,
            missed: 0,
            exit: None,
        };
        task.stop()?;
        Ok(task)
    }

    pub fn is_ready(&self) -> bool {
        self.exit.is_none()
    }

    /// What becomes readable when it ends.
    pub fn child(&self) -> &Child {
        &self.child
    }

    /// Lets it run, with all that it started.
    pub fn go_on(&self) -> Result<()> {
        signal_group(self.child.pid(), Signal::CONT)
    }

    /// Stops it. Its number is its own, because it is not waited for before it has ended.
    pub fn stop(&self) -> Result<()> {
        signal_group(self.child.pid(), Signal::STOP)
    }

    /// Notes that it has ended, if it has.
    pub fn look(&mut self) -> Result<()> {
        if self.exit.is_none() {
            self.exit = self.child.try_wait()?;
        }
        Ok(())
    }

    /// Ends it, with all that it started.
    pub fn end(&mut self) -> Result<()> {
        if self.exit.is_none() {
            signal_group(self.child.pid(), Signal::KILL)?;
            self.exit = Some(self.child.wait()?);
        }
        Ok(())
    }

    /// The processor time that it used, as the kernel counted it, once it has ended.
    pub fn used(&self) -> Option<Duration> {
        self.child.usage().map(|usage| usage.user + usage.system)
    }
}

impl Drop for Task {
    /// A command does not outlive a scheduler that fails.
    fn drop(&mut self) {
        let _ = self.end();
    }
}
