//! A command under the scheduler: a process group that runs only during its turns.

use std::ffi::CString;
use std::time::Duration;

use ossature::sys::errno::Result;
use ossature::sys::process::{Argument, Child, ExitStatus, Group, Plan, Signal, signal_group};
use ossature::sys::signal::SignalSet;

use crate::own::Outcome;

/// A command, and the time that it received.
pub struct Task {
    pub command: String,
    /// The tickets for a lottery, and the period and its part for deadlines.
    pub wish: Wish,
    child: Child,
    /// The total length of its turns.
    pub granted: Duration,
    pub turns: u32,
    /// The number of periods that ended before the command had its part.
    pub missed: u32,
    pub exit: Option<ExitStatus>,
}

/// The requested share of a command.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wish {
    pub tickets: u32,
    pub period: Duration,
    pub part: Duration,
}

impl Wish {
    /// Splits `3:command` and `20/100:command` (20 ms of every 100 ms) into the share and the command. A command
    /// without a share has one ticket, and a tenth of 100 ms.
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
            return Err(format!("{wish}: not a share; use at least one ticket, and a part within its period").into());
        }
        let (part, period) = (Duration::from_millis(part), Duration::from_millis(period));
        Ok((Self { tickets, period, part }, command))
    }
}

impl Task {
    /// Starts a command in a shell and its own process group, and stops it.
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

    /// The child, which becomes readable at its end.
    pub fn child(&self) -> &Child {
        &self.child
    }

    /// Continues the command, with all that it started.
    pub fn go_on(&self) -> Result<()> {
        signal_group(self.child.pid(), Signal::CONT)
    }

    /// Stops the command. Its process id stays valid, because it is not reaped before its end.
    pub fn stop(&self) -> Result<()> {
        signal_group(self.child.pid(), Signal::STOP)
    }

    /// Records the exit of the command, if it has ended.
    pub fn look(&mut self) -> Result<()> {
        if self.exit.is_none() {
            self.exit = self.child.try_wait()?;
        }
        Ok(())
    }

    /// Ends the command, with all that it started.
    pub fn end(&mut self) -> Result<()> {
        if self.exit.is_none() {
            signal_group(self.child.pid(), Signal::KILL)?;
            self.exit = Some(self.child.wait()?);
        }
        Ok(())
    }

    /// The processor time that the command used, as the kernel counted it; `None` before its end.
    pub fn used(&self) -> Option<Duration> {
        self.child.usage().map(|usage| usage.user + usage.system)
    }
}

impl Drop for Task {
    /// Ends the command, so that it does not outlive a scheduler that fails.
    fn drop(&mut self) {
        let _ = self.end();
    }
}
