//! The bytes of a pickle, opcode by opcode, and errors that name the offset.

use std::fmt::Display;

use super::opcode;
use crate::error::{Error, ErrorKind, Result};

/// The remaining bytes, and the offset of the current opcode.
pub(super) struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
    opcode_at: usize,
}

impl<'a> Input<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, opcode_at: 0 }
    }

    /// The number of remaining bytes.
    pub(super) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The offset of the current opcode.
    pub(super) fn opcode_at(&self) -> usize {
        self.opcode_at
    }

    /// Reads the next opcode.
    pub(super) fn opcode(&mut self) -> Result<u8> {
        let Some(opcode) = self.bytes.get(self.at) else {
            return Err(Error::new(
                ErrorKind::Decode,
                format!("pickle: the input ends at offset {} without STOP", self.at),
            ));
        };
        self.opcode_at = self.at;
        self.at += 1;
        Ok(*opcode)
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some(taken) = rest.get(..length) else {
            return Err(self.error(format_args!("needs {length} bytes, {} are left", rest.len())));
        };
        self.at += length;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| self.error("cut short"))
    }

    /// Reads a little-endian length of `N` bytes, at most eight.
    pub(super) fn length<const N: usize>(&mut self) -> Result<usize> {
        let mut word = [0; 8];
        for (to, from) in word.iter_mut().zip(self.array::<N>()?) {
            *to = from;
        }
        // A length beyond the address space is beyond the input too.
        Ok(usize::try_from(u64::from_le_bytes(word)).unwrap_or(usize::MAX))
    }

    /// Reads the bytes after a length of `N` bytes.
    pub(super) fn counted<const N: usize>(&mut self) -> Result<&'a [u8]> {
        let length = self.length::<N>()?;
        self.take(length)
    }

    /// Reads the bytes up to the end of the line, without the newline.
    pub(super) fn line(&mut self) -> Result<&'a [u8]> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some(length) = rest.iter().position(|byte| *byte == b'\n') else {
            return Err(self.error("needs a line, but no newline follows"));
        };
        let line = self.take(length)?;
        self.at += 1;
        Ok(line)
    }

    /// Returns an error of the current opcode.
    pub(super) fn error(&self, what: impl Display) -> Error {
        self.error_at(self.opcode_at, what)
    }

    /// Returns an error of the opcode at offset `at`.
    pub(super) fn error_at(&self, at: usize, what: impl Display) -> Error {
        let opcode = self.bytes.get(at).copied().unwrap_or_default();
        let message = match opcode::name(opcode) {
            Some(name) => format!("pickle: {name} at offset {at}: {what}"),
            None => format!("pickle: opcode 0x{opcode:02x} at offset {at}: {what}"),
        };
        Error::new(ErrorKind::Decode, message)
    }
}
