//! Where words begin and end.

use super::Machine;
use crate::readline::buffer::Buffer;

/// Whether a byte separates words for the commands whose only separators are blanks.
pub(super) fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// Returns the end of the word at or after `at`, `count` words forward.
pub(super) fn word_end(line: &Buffer, mut at: usize, count: usize) -> usize {
    for _ in 0..count {
        if at >= line.len() {
            break;
        }
        while at < line.len() && !line.is_word_at(at) {
            at = line.next(at);
        }
        while at < line.len() && line.is_word_at(at) {
            at = line.next(at);
        }
    }
    at
}

impl Machine {
    /// Returns the end of the word at or after `at`, `count` words forward.
    pub(super) fn word_end(&self, at: usize, count: usize) -> usize {
        word_end(&self.line, at, count)
    }

    /// Returns the start of the word at or before `at`, `count` words back.
    pub(super) fn word_start(&self, mut at: usize, count: usize) -> usize {
        let line = &self.line;
        for _ in 0..count {
            if at == 0 {
                break;
            }
            while at > 0 && !line.is_word_at(line.previous(at)) {
                at = line.previous(at);
            }
            while at > 0 && line.is_word_at(line.previous(at)) {
                at = line.previous(at);
            }
        }
        at
    }

    /// Returns the target of a word motion with a count of either sign: where `forward-word` moves from `at`.
    pub(super) fn word_on(&self, at: usize, count: i32) -> usize {
        let times = count.unsigned_abs() as usize;
        if count < 0 { self.word_start(at, times) } else { self.word_end(at, times) }
    }
}

/// Splits a line of the history into words as a shell does: a quoted text is one word, and so is an operator.
pub(super) fn shell_words(line: &[u8]) -> Vec<&[u8]> {
    let mut words = Vec::new();
    let mut at = 0;
    loop {
        while line.get(at).is_some_and(|&byte| is_blank(byte)) {
            at += 1;
        }
        if at == line.len() {
            return words;
        }
        let end = at + operator(&line[at..]).unwrap_or_else(|| plain_word(&line[at..])).max(1);
        words.push(&line[at..end]);
        at = end;
    }
}

/// Returns the length of the operator at the start of the text, if there is one.
fn operator(text: &[u8]) -> Option<usize> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let at = |n: usize| text.get(n).copied().unwrap_or(0);
    if digits > 0 && !matches!(at(digits), b'<' | b'>') {
        return None;
    }
    let (first, second, from) = (at(digits), at(digits + 1), digits);
    let length = match (first, second) {
        (b'(' | b')' | b'\n', _) => 1,
        (b'<' | b'>' | b';' | b'&' | b'|', _) if second == first => match (first, at(from + 2)) {
            (b'<', b'-' | b'<') => 3,
            _ => 2,
        },
        (b'<' | b'>', b'&') => {
            let descriptor = text[from + 2..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            2 + descriptor + usize::from(at(from + 2 + descriptor) == b'-')
        }
        (b'&', b'>') | (b'>', b'|') => 2,
        (b'<' | b'>', b'(') => 2 + plain_word_within(&text[from + 2..], true),
        (b'<' | b'>' | b';' | b'&' | b'|', _) => 1,
        _ => return None,
    };
    Some(from + length)
}

fn plain_word(text: &[u8]) -> usize {
    plain_word_within(text, false)
}

/// Returns the length of a word up to a blank or an operator; quotes and parentheses keep text together. `inside` means
/// that a parenthesis is open.
fn plain_word_within(text: &[u8], inside: bool) -> usize {
    let mut depth = usize::from(inside);
    let mut quote = None;
    let mut at = 0;
    while at < text.len() {
        let (byte, next) = (text[at], text.get(at + 1).copied());
        if byte == b'\\' && quote != Some(b'\'') && next.is_some() {
            at += 2;
            continue;
        }
        match (byte, quote) {
            (_, Some(open)) if byte == open => quote = None,
            (_, Some(_)) => {}
            (b'(', None) if depth > 0 => depth += 1,
            (b')', None) if depth > 0 => depth -= 1,
            (b'\'' | b'"' | b'`', None) if depth == 0 => quote = Some(byte),
            (b'<' | b'>' | b'$' | b'!' | b'@' | b'?' | b'+' | b'*', None) if depth == 0 && next == Some(b'(') => {
                depth = 1;
                at += 1;
            }
            (b' ' | b'\t' | b'\n' | b';' | b'&' | b'(' | b')' | b'|' | b'<' | b'>', None) if depth == 0 => break,
            _ => {}
        }
        at += 1;
    }
    at
}
