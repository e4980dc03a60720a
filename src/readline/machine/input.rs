//! The bytes in the order in which the machine reads them: macros come before typed bytes.

use std::collections::VecDeque;

/// The maximum depth of macros inside each other.
const LEVELS: usize = 16;

/// The maximum number of macros that one typed byte may start, so that a macro that calls itself ends.
const CALLS: usize = 1000;

/// More bytes than one key sends.
const ROOM: usize = 64;

/// The queue of bytes to read.
#[derive(Debug, Default)]
pub(super) struct Input {
    macros: Vec<Macro>,
    typed: VecDeque<u8>,
    /// How many of the bytes in front of `typed` were given back. The macros that they start count for the byte before.
    given_back: usize,
    /// Whether the last byte came from a macro.
    from_macro: bool,
    calls: usize,
}

#[derive(Debug)]
struct Macro {
    text: Box<[u8]>,
    at: usize,
}

/// The error that macros are nested too deep, or that one typed byte has started too many.
#[derive(Debug)]
pub(super) struct TooDeep;

impl Input {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.typed.capacity() == 0 {
            self.typed.reserve(ROOM); // so that a key of a warm editor asks for no memory
        }
        self.typed.extend(bytes);
    }

    pub(super) fn clear(&mut self) {
        self.from_macro = false;
        self.macros.clear();
        self.typed.clear();
        self.given_back = 0;
    }

    /// Reads a byte; returns with it whether it was typed rather than played by a macro or given back.
    pub(super) fn pop(&mut self) -> Option<(u8, bool)> {
        if let Some(top) = self.macros.last_mut() {
            let byte = top.text[top.at];
            top.at += 1;
            self.from_macro = true;
            if top.at == top.text.len() {
                self.macros.pop(); // at once, so that a macro whose last key plays another stands on no level
            }
            return Some((byte, false));
        }
        let byte = self.typed.pop_front()?;
        self.from_macro = false;
        match self.given_back.checked_sub(1) {
            Some(left) => self.given_back = left,
            None => self.calls = 0,
        }
        Some((byte, true))
    }

    /// Returns the typed bytes that wait, or a part of them; nothing while a macro runs or bytes that were given back
    /// wait.
    pub(super) fn typed(&self) -> &[u8] {
        if self.macros.is_empty() && self.given_back == 0 { self.typed.as_slices().0 } else { &[] }
    }

    /// Whether no byte is waiting.
    pub(super) fn is_empty(&self) -> bool {
        self.macros.is_empty() && self.typed.is_empty()
    }

    /// Removes `count` bytes of [`typed`](Self::typed) that were read.
    pub(super) fn skip(&mut self, count: usize) {
        self.typed.drain(..count);
        (self.from_macro, self.calls) = (false, 0);
    }

    /// Gives bytes back to be read again as separate keys. Returns whether they had been typed.
    pub(super) fn unread(&mut self, bytes: &[u8]) -> bool {
        if self.from_macro && !bytes.is_empty() {
            self.macros.push(Macro { text: bytes.into(), at: 0 });
            return false;
        }
        for &byte in bytes.iter().rev() {
            self.typed.push_front(byte);
        }
        self.given_back += bytes.len();
        true
    }

    /// Whether a byte can be read at once.
    pub(super) fn is_ready(&self) -> bool {
        !self.macros.is_empty() || !self.typed.is_empty()
    }

    /// Plays a text as if it were typed.
    pub(super) fn play(&mut self, text: &[u8]) -> Result<(), TooDeep> {
        self.calls += 1;
        if self.macros.len() >= LEVELS || self.calls > CALLS {
            return Err(TooDeep);
        }
        if !text.is_empty() {
            self.macros.push(Macro { text: text.into(), at: 0 });
        }
        Ok(())
    }

    /// Stops all macros.
    pub(super) fn stop_macros(&mut self) {
        self.macros.clear();
    }
}

/// The first bytes of an incomplete UTF-8 character.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Partial {
    bytes: [u8; 4],
    length: usize,
}

impl Partial {
    /// Adds a byte. When the bytes are a character, or cannot become one, returns them.
    pub(super) fn push(&mut self, byte: u8) -> Option<([u8; 4], usize)> {
        self.bytes[self.length] = byte;
        self.length += 1;
        let so_far = &self.bytes[..self.length];
        let is_cut = matches!(std::str::from_utf8(so_far), Err(error) if error.error_len().is_none());
        if is_cut && self.length < 4 {
            return None;
        }
        Some((self.bytes, std::mem::take(&mut self.length)))
    }

    pub(super) fn is_empty(self) -> bool {
        self.length == 0
    }

    /// Returns the bytes of a character that will not be completed.
    pub(super) fn take(&mut self) -> ([u8; 4], usize) {
        (self.bytes, std::mem::take(&mut self.length))
    }
}
