//! The motions of vi: pure functions of a text, a position and a count.

use crate::readline::buffer::{next, previous};

/// The direction of a character search, and where the point stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Find {
    /// The key `f`: on the character.
    On,
    /// The key `t`: before the character.
    Before,
    /// The key `F`: backward, on the character.
    BackOn,
    /// The key `T`: backward, after the character.
    BackBehind,
}

impl Find {
    pub(super) fn from_key(key: u8) -> Option<Self> {
        Some(match key {
            b'f' => Self::On,
            b't' => Self::Before,
            b'F' => Self::BackOn,
            b'T' => Self::BackBehind,
            _ => return None,
        })
    }

    pub(super) fn reversed(self) -> Self {
        match self {
            Self::On => Self::BackOn,
            Self::BackOn => Self::On,
            Self::Before => Self::BackBehind,
            Self::BackBehind => Self::Before,
        }
    }
}

fn at(text: &[u8], place: usize) -> u8 {
    text.get(place).copied().unwrap_or(0)
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// Whether a byte is a letter, a digit or `_`, which form words; other characters form words of their own. ASCII only,
/// as in GNU readline.
fn is_ident(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Returns the class of a byte for `w`, `b` and `e`: 0 for blanks.
fn class(byte: u8) -> u8 {
    if is_blank(byte) { 0 } else { 1 + u8::from(is_ident(byte)) }
}

/// Returns the class of a byte for `W`, `B` and `E`: 0 for blanks.
fn big_class(byte: u8) -> u8 {
    u8::from(!is_blank(byte))
}

fn classes(big: bool) -> fn(u8) -> u8 {
    if big { big_class } else { class }
}

/// Returns the target of `w` and `W`: the start of the next word.
pub(super) fn word_forward(text: &[u8], mut place: usize, count: i32, big: bool) -> usize {
    let class = classes(big);
    for _ in 0..count.max(0) {
        if place + 1 >= text.len() {
            break;
        }
        let here = class(at(text, place));
        while here != 0 && place < text.len() && class(at(text, place)) == here {
            place = next(text, place);
        }
        while place < text.len() && is_blank(at(text, place)) {
            place += 1;
        }
    }
    place
}

/// Returns the target of `b` and `B`: the start of this word, or of the previous word.
pub(super) fn word_backward(text: &[u8], mut place: usize, count: i32, big: bool) -> usize {
    let class = classes(big);
    for _ in 0..count.max(0) {
        if place == 0 {
            break;
        }
        place = previous(text, place);
        while place > 0 && is_blank(at(text, place)) {
            place -= 1;
        }
        let here = class(at(text, place));
        while here != 0 && place > 0 && class(at(text, previous(text, place))) == here {
            place = previous(text, place);
        }
        // GNU readline 8.2 takes a single character before the first word for a part of it, and a blank too.
        if place > 0 && previous(text, place) == 0 {
            place = 0;
        }
    }
    place
}

/// Returns the target of `e` and `E`: the last character of this word, or of the next word.
pub(super) fn word_end(text: &[u8], mut place: usize, count: i32, big: bool) -> usize {
    let class = classes(big);
    for _ in 0..count.max(0) {
        if place + 1 >= text.len() {
            break;
        }
        if !is_blank(at(text, place)) {
            place = next(text, place);
        }
        while place < text.len() && is_blank(at(text, place)) {
            place += 1;
        }
        if place < text.len() {
            let here = class(at(text, place));
            while place < text.len() && class(at(text, place)) == here {
                place = next(text, place);
            }
        }
        place = previous(text, place);
    }
    place
}

/// Returns the target of `^`: the first character that is not a blank.
pub(super) fn first_print(text: &[u8]) -> usize {
    text.iter().take_while(|&&byte| is_blank(byte)).count()
}

/// Returns the target of `|`: a column, counted from one.
pub(super) fn column(text: &[u8], count: i32) -> usize {
    if count > i32::try_from(text.len()).unwrap_or(i32::MAX) {
        return text.len();
    }
    (1..count).fold(0, |place, _| if place < text.len() { next(text, place) } else { place })
}

/// Returns the target of `%`: the matching bracket of the bracket at the place or after it.
pub(super) fn partner(text: &[u8], place: usize) -> Option<usize> {
    const PAIRS: [(u8, u8); 3] = [(b'(', b')'), (b'[', b']'), (b'{', b'}')];
    let is_bracket = |byte: u8| PAIRS.iter().find(|(open, close)| byte == *open || byte == *close);
    let (start, &(open, close)) =
        (place..text.len()).find_map(|place| is_bracket(at(text, place)).map(|pair| (place, pair)))?;
    let mut depth = 0;
    let mut step = |place: &usize| {
        depth += i32::from(at(text, *place) == open) - i32::from(at(text, *place) == close);
        depth == 0
    };
    if at(text, start) == open { (start..text.len()).find(&mut step) } else { (0..=start).rev().find(&mut step) }
}

/// Returns the target of `f`, `t`, `F` and `T`: the `count`th such character, and whether there are that many. If there
/// are fewer, the last one.
pub(super) fn find(text: &[u8], place: usize, count: i32, how: Find, character: &[u8]) -> (usize, bool) {
    let (mut at, mut found) = (place, place);
    let forward = matches!(how, Find::On | Find::Before);
    let is_there = |at: usize| text.get(at..).is_some_and(|rest| rest.starts_with(character));
    for _ in 0..count.max(1) {
        loop {
            if if forward { at >= text.len() } else { at == 0 } {
                return (found, false);
            }
            at = if forward { next(text, at) } else { previous(text, at) };
            if is_there(at) {
                break;
            }
        }
        found = match how {
            Find::On | Find::BackOn => at,
            Find::Before => previous(text, at),
            Find::BackBehind => next(text, at),
        };
    }
    (found, true)
}

/// Returns where `C-w` starts to delete: punctuation separates words too. A single letter between two separators goes
/// with the first.
pub(super) fn rubout_start(text: &[u8], mut place: usize, count: i32) -> usize {
    let parts = |place: usize| text.get(place).is_some_and(|&byte| is_blank(byte) || byte.is_ascii_punctuation());
    for _ in 0..count.max(1) {
        if place > 0 && place == text.len() && is_blank(at(text, place - 1)) {
            // To the last character before the blanks, not after it.
            place -= 1;
            while place > 0 && is_blank(at(text, place)) {
                place = previous(text, place);
            }
        }
        if place > 0 && !parts(place) && parts(place - 1) {
            place -= 1;
        }
        if place > 0 && parts(place) {
            while place > 0 && parts(place - 1) {
                place -= 1;
            }
        } else {
            while place > 0 && !parts(place - 1) {
                place = previous(text, place);
            }
        }
    }
    place
}
