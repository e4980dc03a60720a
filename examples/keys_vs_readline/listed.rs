//! The differences that are known, each with its reason.

use super::cases::Case;
use super::side::Answer;

/// A difference that names one command or one class of characters.
struct Listed {
    reason: &'static str,
    /// Whether the keys or the settings have it.
    has: fn(&Case) -> bool,
    /// Whether the accepted line is the same, and only the screen differs.
    on_screen: bool,
}

fn keys(case: &Case, part: &[u8]) -> bool {
    case.keys.windows(part.len()).any(|keys| keys == part)
}

const LISTED: &[Listed] = &[
    Listed {
        reason: "a point inside a character, by forward-byte: GNU readline shows it behind the line, we at the character",
        has: |case| keys(case, b"ward-byte;") || case.settings.contains("byte-oriented on"),
        on_screen: true,
    },
    Listed {
        reason: "a search for a string that finds nothing: GNU readline shows the cursor where it was before",
        has: |case| {
            let asks: [&[u8]; 4] = [b"\x1bp", b"\x1bn", b"/", b"?"];
            asks.iter().any(|ask| keys(case, ask)) && (case.vi || keys(case, b"\r"))
        },
        on_screen: true,
    },
    Listed {
        reason: "horizontal-scroll-mode: which part of a long line is shown",
        has: |case| case.settings.contains("horizontal-scroll-mode on"),
        on_screen: true,
    },
    Listed {
        reason: "vi-subst with a count: GNU readline 8.2 deletes nothing",
        has: |case| case.vi && case.keys.windows(2).any(|two| two[0].is_ascii_digit() && two[1] == b's'),
        on_screen: false,
    },
    Listed {
        reason: "vi-goto-mark as the motion of an operator: GNU readline 8.2 moves only",
        has: |case| case.vi && [b"d`", b"c`", b"y`"].iter().any(|operator| keys(case, *operator)),
        on_screen: false,
    },
    Listed {
        reason: "vi-redo of more than twenty typed bytes: GNU readline does the last run of twenty again, we all of them",
        has: |case| case.vi && (keys(case, b"vi-redo;") || keys(case, b"\x1b.")),
        on_screen: false,
    },
];

/// Why a case may differ, if it may.
pub fn reason(case: &Case, gnu: &Answer, ours: &Answer) -> Option<&'static str> {
    let applies = |listed: &&Listed| (listed.has)(case) && (!listed.on_screen || gnu.line == ours.line);
    LISTED.iter().find(applies).map(|listed| listed.reason)
}
