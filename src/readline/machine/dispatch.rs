//! The dispatch of bytes to commands: key sequences, numeric arguments, timeouts.

use std::time::Duration;

use super::mode::{Digits, Mode};
use super::{Argument, LineEnd, MOST_COUNT, Machine, Map, misc, vi};
use crate::readline::command::Command;
use crate::readline::keymap::{Binding, Lookup};

const ESC: u8 = 0x1b;

/// The action for the keys so far.
enum Next {
    Wait,
    Lowercase,
    Run(Command),
    Play(Box<[u8]>),
    Nothing,
}

impl From<Option<&Binding>> for Next {
    fn from(binding: Option<&Binding>) -> Self {
        match binding {
            None => Self::Nothing,
            Some(Binding::Command(Command::DoLowercaseVersion)) => Self::Lowercase,
            Some(Binding::Command(command)) => Self::Run(*command),
            Some(Binding::Macro(text)) => Self::Play(text.clone()),
        }
    }
}

impl Machine {
    /// Reads the next byte; adds a typed byte to the macro that is being recorded.
    pub(super) fn read(&mut self) -> Option<u8> {
        let (byte, typed) = self.input.pop()?;
        if typed {
            if let Some(recording) = &mut self.recording {
                recording.push(byte);
            }
        }
        Some(byte)
    }

    /// Puts bytes back to be read again.
    pub(super) fn unread(&mut self, bytes: &[u8]) {
        if self.input.unread(bytes) {
            if let Some(recording) = &mut self.recording {
                recording.truncate(recording.len().saturating_sub(bytes.len()));
            }
        }
    }

    /// Passes one byte to the current mode.
    pub(super) fn take(&mut self, byte: u8) {
        match std::mem::take(&mut self.mode) {
            Mode::Command => self.command_key(byte),
            Mode::Argument(digits) => self.argument_key(digits, byte),
            Mode::Quoted(count) => self.quoted_key(count, byte),
            Mode::Character { count, forward, found } => self.character_key(count, forward, found, byte),
            Mode::Incremental(search) => self.incremental_key(search, byte),
            Mode::Search(search) => self.search_key(search, byte),
            Mode::Paste => self.paste_key(byte),
            Mode::Csi => self.csi_key(byte),
            Mode::Arrow(count) => self.arrow_key(count, byte),
            Mode::Ask(list) => self.ask_key(list, byte),
            Mode::Page(list) => self.page_key(list, byte),
            Mode::Vi(pending) => vi::key(self, pending, byte),
        }
    }

    /// Handles the first key of a command, or a further key of its sequence.
    fn command_key(&mut self, byte: u8) {
        if self.keys.is_empty() {
            if !std::mem::take(&mut self.keeps_argument) {
                self.argument = Argument::NONE;
            }
            if Some(byte) == self.special.eof && self.line.is_empty() {
                return self.finish(LineEnd::Eof);
            }
        }
        self.dispatch(byte);
    }

    /// Adds a key to the sequence, and runs its command as soon as the command is certain.
    pub(super) fn dispatch(&mut self, byte: u8) {
        if byte >= 0x80 && self.settings.variables.convert_meta {
            self.keys.push(ESC);
            self.keys.push(byte & 0x7f);
        } else {
            self.keys.push(byte);
        }
        loop {
            let next = match self.keymap().look(&self.keys) {
                Lookup::Bound(binding) => Next::from(Some(binding)),
                Lookup::Prefix(_) => Next::Wait,
                Lookup::None => Next::Nothing,
            };
            match next {
                Next::Wait => {
                    if self.quirks.sequences_part_kills {
                        self.killed = false;
                    }
                    return;
                }
                Next::Nothing => return self.fall_back(),
                Next::Lowercase => {
                    let key = self.keys.last_mut().expect("a key was added");
                    if !key.is_ascii_uppercase() {
                        return self.abort();
                    }
                    key.make_ascii_lowercase();
                }
                Next::Run(command) => return self.complete_sequence(command),
                Next::Play(text) => return self.play(&text),
            }
        }
    }

    /// Handles keys without a binding: the longest shorter sequence with a binding is used, and the rest is read again.
    fn fall_back(&mut self) {
        for length in (1..self.keys.len()).rev() {
            let next = match self.keymap().look(&self.keys[..length]) {
                Lookup::Prefix(binding) => Next::from(binding),
                Lookup::Bound(binding) => Next::from(Some(binding)),
                Lookup::None => Next::Nothing,
            };
            if matches!(next, Next::Nothing | Next::Wait | Next::Lowercase) {
                continue;
            }
            let rest = self.keys.split_off(length);
            self.unread(&rest);
            return match next {
                Next::Run(command) => self.complete_sequence(command),
                Next::Play(text) => self.play(&text),
                _ => {}
            };
        }
        // In the command mode of vi, ESC means nothing by itself, and what follows is a command.
        let after_escape = self.is_vi_command() && self.keys.first() == Some(&ESC) && self.keys.len() > 1;
        let rest = if after_escape { self.keys.split_off(1) } else { Vec::new() };
        self.abort();
        vi::stand_on_a_character(self);
        self.unread(&rest);
    }

    fn play(&mut self, text: &[u8]) {
        self.keys.clear();
        if self.input.play(text).is_err() {
            self.abort();
        }
    }

    /// Runs the command of the complete key sequence.
    fn complete_sequence(&mut self, command: Command) {
        let key = self.keys.last().copied().unwrap_or_default();
        let length = self.keys.len();
        self.keys.clear();
        self.sequence_length = length;
        self.run_command(command, self.argument.count(), key);
    }

    /// Runs a command and stores the state that the next command needs.
    pub(super) fn run_command(&mut self, command: Command, count: i32, key: u8) {
        self.kills_now = false;
        self.aborted = false;
        self.flush_partial(command);
        let is_vi_command = self.map == Map::ViCommand;
        self.execute(command, count, key);
        if std::mem::take(&mut self.aborted) {
            return;
        }
        if is_vi_command {
            vi::ran(self, command, key);
        }
        let is_prefix = matches!(command, Command::DigitArgument | Command::UniversalArgument | Command::ViArgDigit);
        if command != Command::DigitArgument {
            self.last = Some(command);
        }
        if !is_prefix || self.quirks.sequences_part_kills && command != Command::ViArgDigit {
            self.killed = self.kills_now;
        }
        if !std::mem::take(&mut self.region_kept) {
            self.region_active = false;
        }
    }

    /// Cancels the current operation, and the macros that run.
    pub(super) fn abort(&mut self) {
        self.ding();
        self.message.clear();
        self.mode = Mode::Command;
        self.keys.clear();
        self.argument = Argument::NONE;
        self.input.stop_macros();
        self.recording = None;
        (self.region_active, self.region_kept) = (false, false);
        self.last = None;
        self.partial = super::input::Partial::default();
        self.aborted = true;
    }

    /// Returns the wait for more keys, if the keys so far have a binding.
    pub(super) fn sequence_timeout(&self) -> Option<Duration> {
        let timeout = self.settings.variables.keyseq_timeout;
        match &self.mode {
            Mode::Incremental(search) if search.waits_after_escape() => Some(Duration::from_millis(100)),
            Mode::Incremental(search) if self.search_may_go_on(search) && !timeout.is_zero() => Some(timeout),
            Mode::Command if self.keys.is_empty() || timeout.is_zero() => None,
            Mode::Command => match self.keymap().look(&self.keys) {
                Lookup::Prefix(Some(_)) => Some(timeout),
                _ => None,
            },
            _ => None,
        }
    }

    /// Handles the end of [`timeout`](Self::timeout) without a key: the keys so far are complete.
    pub(crate) fn expire(&mut self) {
        if self.blink.take().is_some() {
            return; // the cursor goes back to its place
        }
        match std::mem::take(&mut self.mode) {
            Mode::Incremental(search) if search.waits_after_escape() => self.end_incremental(*search),
            Mode::Incremental(search) if self.search_may_go_on(&search) => self.expire_search(search),
            Mode::Command if self.sequence_timeout().is_some() => {
                let next = match self.keymap().look(&self.keys) {
                    Lookup::Prefix(binding) => Next::from(binding),
                    _ => Next::Nothing,
                };
                match next {
                    Next::Run(command) => self.complete_sequence(command),
                    Next::Play(text) => self.play(&text),
                    _ => {}
                }
            }
            mode => self.mode = mode,
        }
        self.run();
    }

    /// Executes `digit-argument`: the key is the first digit, or the minus.
    pub(super) fn digit_argument(&mut self, key: u8) {
        self.argument_key(Digits::default(), key);
    }

    /// Executes `universal-argument`: multiplies the argument by four.
    pub(super) fn universal_argument(&mut self) {
        self.argument.value = self.argument.value.saturating_mul(4);
        if !self.refuse_large_argument() {
            self.await_digits(Digits::default());
        }
    }

    fn await_digits(&mut self, digits: Digits) {
        misc::say_argument(&mut self.message, self.argument);
        self.mode = Mode::Argument(digits);
    }

    fn refuse_large_argument(&mut self) -> bool {
        if self.argument.value <= MOST_COUNT {
            return false;
        }
        self.argument.value = 0;
        self.argument.explicit = false;
        self.message.clear();
        self.ding();
        true
    }

    /// Handles a key after the beginning of a numeric argument.
    fn argument_key(&mut self, mut digits: Digits, key: u8) {
        let is_universal =
            matches!(self.keymap().look(&[key]), Lookup::Bound(Binding::Command(Command::UniversalArgument)));
        if is_universal && !digits.ended {
            if digits.seen {
                digits.ended = true;
                self.mode = Mode::Argument(digits);
            } else {
                self.universal_argument();
            }
            return;
        }
        let character = key & 0x7f;
        let argument = &mut self.argument;
        if character.is_ascii_digit() && !digits.ended {
            let digit = i32::from(character - b'0');
            argument.value =
                if argument.explicit { argument.value.saturating_mul(10).saturating_add(digit) } else { digit };
            argument.explicit = true;
            digits.seen = true;
            if !self.refuse_large_argument() {
                self.await_digits(digits);
            }
        } else if character == b'-' && !argument.explicit && !digits.ended {
            (argument.value, argument.negative) = (1, true);
            digits.minus = true;
            self.await_digits(digits);
        } else {
            if digits.minus && argument.value == 1 {
                argument.explicit = true; // a bare minus is minus one
            }
            self.message.clear();
            self.dispatch(key);
        }
    }
}
