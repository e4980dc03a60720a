//! The modes of a terminal that are on while a line is edited: the marks of a paste, the keypad.

use super::variables::Variables;

const PASTE: [&[u8]; 2] = [b"\x1b[?2004h", b"\x1b[?2004l\r"];

/// The modes that are on and must be reset.
#[derive(Debug, Default)]
pub(super) struct Modes {
    paste: bool,
    /// The sequence that switches the keypad off, if it is on.
    keypad: Option<&'static [u8]>,
}

/// The sequences of terminfo that switch the keypad on and off: `smkx` and `rmkx`.
fn keypad(terminal: &str) -> Option<[&'static [u8]; 2]> {
    match terminal.split('-').next() {
        Some("xterm" | "screen" | "tmux" | "vt100" | "vt102") => Some([b"\x1b[?1h\x1b=", b"\x1b[?1l\x1b>"]),
        Some("rxvt") => Some([b"\x1b=", b"\x1b>"]),
        _ => None,
    }
}

impl Modes {
    /// Switches on the modes that the variables request, unless they are on.
    pub(super) fn enter(&mut self, variables: &Variables, terminal: &str, out: &mut Vec<u8>) {
        if matches!(terminal, "" | "dumb") {
            return;
        }
        if let (None, true, Some([on, off])) = (self.keypad, variables.enable_keypad, keypad(terminal)) {
            out.extend_from_slice(on);
            self.keypad = Some(off);
        }
        if variables.enable_bracketed_paste && !self.paste {
            out.extend_from_slice(PASTE[0]);
            self.paste = true;
        }
    }

    /// Switches off the modes that are on.
    pub(super) fn leave(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.paste) {
            out.extend_from_slice(PASTE[1]);
        }
        out.extend_from_slice(self.keypad.take().unwrap_or_default());
    }
}
