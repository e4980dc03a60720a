//! The known differences. Each names one command or one class of characters, and specifies what may differ.

use super::cases::Case;
use super::guided::Outcome;
use super::side::{Answer, PROMPT};

/// A known difference.
struct Listed {
    reason: &'static str,
    /// Whether the keys or the settings have the difference.
    has: fn(&Case) -> bool,
    may: May,
}

/// The part that may differ.
enum May {
    /// The position of the cursor. The screen and the accepted line are the same.
    Cursor,
    /// The screen, if the function returns true. The accepted line is the same.
    Screen(fn(gnu: &Answer, ours: &Answer) -> bool),
    /// The effect of all keys after it.
    Anything,
    /// The accepted line, if the function returns true.
    Line(fn(case: &Case, gnu: &str, ours: &str) -> bool),
    /// GNU readline treats these keys as this crate's editor treats the keys that the function returns. Then everything
    /// is the same, or only the line if it has bytes that are not a character.
    Keys(fn(&[u8]) -> Vec<u8>),
}

fn typed(case: &Case, part: &[u8]) -> bool {
    case.keys.windows(part.len()).any(|keys| keys == part)
}

fn asks_for_string(case: &Case) -> bool {
    let asks: &[&[u8]] = if case.vi { &[b"/", b"?"] } else { &[b"\x1bp", b"\x1bn"] };
    let command: &[u8] = b"non-incremental-";
    asks.iter().chain([&command]).any(|ask| typed(case, ask))
}

fn searches_incrementally(case: &Case) -> bool {
    [&b"\x12"[..], b"\x13", b"-search-history;"].iter().any(|key| typed(case, key))
}

fn exchanges(case: &Case) -> bool {
    typed(case, b"\x18\x18") || typed(case, b"exchange-point-and-mark;")
}

fn uses_mark(case: &Case) -> bool {
    let region: [&[u8]; 4] = [b"\x180", b"\x181", b"kill-region;", b"copy-region-as-kill;"];
    exchanges(case) || region.iter().any(|keys| typed(case, keys))
}

const LISTED: &[Listed] = &[
    Listed {
        reason: "a point inside a character, by forward-byte: GNU readline shows it after the line, ours at it",
        has: |case| typed(case, b"ward-byte;") || case.settings.contains("byte-oriented on"),
        may: May::Cursor,
    },
    Listed {
        reason: "a search for a string that finds nothing: GNU readline shows the cursor where it was before",
        has: asks_for_string,
        may: May::Cursor,
    },
    Listed {
        reason: "a search for an empty string, before any other: GNU readline leaves the search prompt on the screen",
        has: asks_for_string,
        may: May::Screen(|gnu, ours| {
            gnu.screen.strip_suffix(['/', '?', ':']).is_some_and(|rest| rest.trim_end() == ours.screen)
        }),
    },
    Listed {
        reason: "exchange-point-and-mark: GNU readline 8.2 colours the region even if enable-active-region is off",
        has: |case| !case.settings.contains("enable-active-region on") && exchanges(case),
        may: May::Screen(|gnu, ours| {
            let plain = gnu.screen.replace(['\u{2039}', '\u{203a}'], "");
            plain.lines().map(str::trim_end).eq(ours.screen.lines())
        }),
    },
    Listed {
        reason: "horizontal-scroll-mode: which part of a long line is shown",
        has: |case| case.settings.contains("horizontal-scroll-mode on") && case.keys.len() > 55,
        may: May::Screen(|gnu, ours| is_part(&gnu.screen) && is_part(&ours.screen)),
    },
    Listed {
        reason: "an incremental search with characters of several bytes: GNU readline draws them in other columns",
        has: |case| searches_incrementally(case) && !case.keys.is_ascii(),
        may: May::Screen(|_, _| true),
    },
    Listed {
        reason: "universal-argument: GNU readline shows no prompt and no argument until it redraws the screen",
        has: |case| typed(case, b"\x188") || typed(case, b"universal-argument;"),
        may: May::Screen(|gnu, ours| behind_prompt(gnu) == behind_prompt(ours)),
    },
    Listed {
        reason: "M-- after another numeric argument: GNU readline shows the argument for the rest of the line",
        has: |case| has_minus_after_argument(&case.keys),
        may: May::Screen(|gnu, ours| behind_prompt(gnu) == behind_prompt(ours)),
    },
    Listed {
        reason: "C-@ in an incremental search: GNU readline 8.2 takes the sixteen keys after it for the same character",
        has: has_null_in_search,
        may: May::Anything,
    },
    Listed {
        reason: "a position within a character, of a failed search forward or of a mark: ours is before the character",
        has: |case| (searches_incrementally(case) || uses_mark(case)) && !case.keys.is_ascii(),
        may: May::Line(is_cut_character),
    },
    Listed {
        reason: "a negative numeric argument and a character of several bytes: GNU readline inserts its last bytes",
        has: |case| !case.vi && !case.keys.is_ascii(),
        may: May::Keys(without_negative_character),
    },
    Listed {
        reason: "vi-subst with a count: GNU readline 8.2 deletes nothing",
        has: |case| case.vi,
        may: May::Keys(without_counted_subst),
    },
    Listed {
        reason: "vi-goto-mark as the motion of an operator: GNU readline 8.2 moves only",
        has: |case| case.vi,
        may: May::Keys(|keys| {
            replaced(keys, |keys| matches!(keys, [b'd' | b'c' | b'y', b'`', ..]).then_some((1, &[])))
        }),
    },
    Listed {
        reason: "vi-redo of R with characters of several bytes: GNU readline 8.2 counts bytes, and cuts characters",
        has: |case| case.vi && typed(case, b"R") && typed(case, b".") && !case.keys.is_ascii(),
        may: May::Line(is_cut_replacement),
    },
    Listed {
        reason: "vi-redo of more than twenty typed bytes: GNU readline does the last twenty again, ours all of them",
        has: |case| case.vi && (typed(case, b"vi-redo;") || typed(case, b".")),
        may: May::Line(is_redone_in_part),
    },
];

/// Whether `C-@` is typed with only text between it and the beginning of an incremental search.
fn has_null_in_search(case: &Case) -> bool {
    let goes_on = |key: &u8| matches!(key, 0x20..|0x12| 0x13);
    case.keys.iter().enumerate().filter(|(_, key)| **key == 0).any(|(at, _)| {
        let text = case.keys[..at].iter().rev().take_while(|key| goes_on(key));
        text.into_iter().any(|key| matches!(key, 0x12 | 0x13)) || case.keys[..at].ends_with(b"-search-history;")
    })
}

/// Whether GNU's line has parts of a character that is whole in this crate's line, and all else is the same.
fn is_cut_character(_: &Case, gnu: &str, ours: &str) -> bool {
    let ascii = |line: &str| -> String {
        let mut out = String::new();
        let mut rest = line;
        while let Some(first) = rest.chars().next() {
            if rest.starts_with("\\x") && rest.len() >= 4 && !rest[2..].starts_with(|key: char| key < '8') {
                rest = rest.get(4..).unwrap_or_default();
            } else {
                out.extend(Some(first).filter(|it| it.is_ascii() && *it != '|'));
                rest = &rest[first.len_utf8()..];
            }
        }
        out
    };
    gnu.contains("\\x") && !ours.is_ascii() && ascii(gnu) == ascii(&ours.as_bytes().escape_ascii().to_string())
}

/// Whether GNU's line has parts of characters. The number of replaced bytes depends on the number of parts.
fn is_cut_replacement(_: &Case, gnu: &str, _: &str) -> bool {
    gnu.contains("\\x")
}

/// Whether GNU's line has only the last run of a typed text that is whole in this crate's line.
fn is_redone_in_part(case: &Case, gnu: &str, ours: &str) -> bool {
    let Ok(keys) = std::str::from_utf8(&case.keys) else { return false };
    // The mark of the cursor stands within the text that was inserted again.
    let (gnu, ours) = (gnu.replace('|', ""), ours.replace('|', ""));
    keys.split(|key: char| key.is_control()).filter(|text| text.len() > 20).any(|text| {
        let run = text.get((text.len() - 1) / 20 * 20..).unwrap_or_default();
        ours.match_indices(text).any(|(at, _)| format!("{}{run}{}", &ours[..at], &ours[at + text.len()..]) == gnu)
    })
}

/// The screen without the prompt, or without the numeric argument in its place.
fn behind_prompt(answer: &Answer) -> &str {
    let argument = |screen: &'_ str| -> Option<usize> {
        let number = screen.strip_prefix("(arg: ")?.split_once(')')?.0;
        number.parse::<i32>().ok().map(|_| "(arg: )".len() + number.len())
    };
    let screen = answer.screen.as_str();
    match argument(screen) {
        Some(length) => screen[length..].trim(),
        // The prompt's own space is at the end of an empty line, where no screen shows it.
        None => screen.strip_prefix(PROMPT.trim_end()).unwrap_or(screen).trim(),
    }
}

/// Whether the screen has one row, with a mark of hidden text.
fn is_part(screen: &str) -> bool {
    !screen.contains('\n') && (screen.starts_with('<') || screen.ends_with('>'))
}

/// Whether `M--` continues a numeric argument.
fn has_minus_after_argument(keys: &[u8]) -> bool {
    let is_digit = |key: u8| key.is_ascii_digit() || key == b'-';
    (0..keys.len()).any(|at| {
        keys[at..].starts_with(b"\x1b-") && at > 0 && is_digit(keys[at - 1]) || keys[at..].starts_with(b"\x188\x1b-")
    })
}

/// The keys with replacements: `at` receives the rest and returns the number of keys to remove and the keys to insert.
fn replaced<'a>(keys: &[u8], at: impl Fn(&[u8]) -> Option<(usize, &'a [u8])>) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), keys);
    while let Some((&key, after)) = rest.split_first() {
        match at(rest) {
            Some((gone, instead)) => {
                out.extend_from_slice(instead);
                rest = &rest[gone..];
            }
            None => {
                out.push(key);
                rest = after;
            }
        }
    }
    out
}

/// The keys without `M--`, digits, and the first byte of the character.
fn without_negative_character(keys: &[u8]) -> Vec<u8> {
    replaced(keys, |keys| {
        let mut rest = keys.strip_prefix(b"\x1b-")?;
        loop {
            rest = match rest {
                [b'0'..=b'9', after @ ..] | [0x1b, b'0'..=b'9', after @ ..] => after,
                [0xc0..=0xff, after @ ..] => return Some((keys.len() - after.len(), &[])),
                _ => return None,
            };
        }
    })
}

/// The keys with `i` instead of `3s`.
fn without_counted_subst(keys: &[u8]) -> Vec<u8> {
    replaced(keys, |keys| {
        let digits = keys.iter().take_while(|key| key.is_ascii_digit()).count();
        (digits > 0 && keys.get(digits) == Some(&b's')).then_some((digits + 1, b"i"))
    })
}

/// The reason why a case may differ, if there is one. `type_instead` types other keys into this crate's editor.
pub fn reason(
    case: &Case,
    gnu: &Answer,
    ours: &Answer,
    mut type_instead: impl FnMut(Vec<u8>) -> Outcome<Answer>,
) -> Outcome<Option<&'static str>> {
    for listed in LISTED.iter().filter(|listed| (listed.has)(case)) {
        let same_line = gnu.line == ours.line;
        let applies = match listed.may {
            May::Cursor => same_line && gnu.screen == ours.screen,
            May::Screen(agrees) => same_line && agrees(gnu, ours),
            May::Line(agrees) => {
                gnu.line.as_deref().zip(ours.line.as_deref()).is_some_and(|(gnu, ours)| agrees(case, gnu, ours))
            }
            May::Anything => true,
            May::Keys(instead) => {
                let keys = instead(&case.keys);
                let other = if keys == case.keys { None } else { Some(type_instead(keys)?) };
                // Bytes of no character may be on the screen for a while, and take as many columns as a terminal likes.
                let has_bytes = |line: &Option<String>| line.as_deref().is_some_and(|line| line.contains("\\x"));
                other.is_some_and(|other| other == *gnu || other.line == gnu.line && has_bytes(&gnu.line))
            }
        };
        if applies {
            return Ok(Some(listed.reason));
        }
    }
    Ok(None)
}
