//! Bytes in the order in which the machine reads them: those of macros before those that were typed.

use std::collections::VecDeque;

/// How many macros may run inside each other.
const LEVELS: usize = 16;

/// How many macros one typed byte may set off, so that a macro that calls itself ends.
const CALLS: usize = 1000;

/// More bytes than a key has.
const ROOM: usize = 64;

/// Where bytes come from.
#[derive(Debug, Default)]
pub(super) struct Input {
    macros: Vec<Macro>,
    typed: VecDeque<u8>,
    /// How many of the bytes in front of `typed` were given back. They set off macros on the account of the byte
    /// before.
    given_back: usize,
    /// Where the last byte came from.
    from_macro: bool,
    calls: usize,
}

#[derive(Debug)]
struct Macro {
    text: Box<[u8]>,
    at: usize,
}

/// Too many macros run inside each other, or one typed byte has set off too many.
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

    /// Reads a byte, and whether it was typed rather than played by a macro or given back.
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

    /// What was typed and waits, or the first part of it; nothing while a macro runs or bytes that were given back
    /// wait.
    pub(super) fn typed(&self) -> &[u8] {
        if self.macros.is_empty() && self.given_back == 0 { self.typed.as_slices().0 } else { &[] }
    }

    /// Whether nothing waits to be read.
    pub(super) fn is_empty(&self) -> bool {
        self.macros.is_empty() && self.typed.is_empty()
    }

    /// Notes that `count` bytes of [`typed`](Self::typed) were read.
    pub(super) fn skip(&mut self, count: usize) {
        self.typed.drain(..count);
        (self.from_macro, self.calls) = (false, 0);
    }

    /// Gives bytes back: they are read again, as keys of their own. Tells whether they had been typed.
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

    /// Plays a text as if it was typed.
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

    /// All macros end.
    pub(super) fn stop_macros(&mut self) {
        self.macros.clear();
    }
}

/// The bytes of a character of UTF-8 of which some are still missing.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Partial {
    bytes: [u8; 4],
    length: usize,
}

impl Partial {
    /// Takes a byte. When the bytes are a character, or cannot become one, they are given back.
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

    /// What is there of a character that will not become whole.
    pub(super) fn take(&mut self) -> ([u8; 4], usize) {
        (self.bytes, std::mem::take(&mut self.length))
    }
}
