//! The commands of vi mode.
//!
//! | file | contents |
//! | --- | --- |
//! | `motion` | the targets of the motions |
//! | `operator` | `d`, `c` and `y` with a motion |
//! | `insertion` | the start and the end of insertion |
//! | `change` | other commands that change the line, and `.` |

mod change;
mod insertion;
mod motion;
mod operator;

pub(super) use self::change::{overstrike, overstrike_delete};
use self::insertion::{end_insertion, insert, insert_as_one, movement_mode};
pub(super) use self::insertion::{is_replacing, stand_on_a_character};
pub(super) use self::motion::Find;
use super::Machine;
use super::input::Partial;
use super::mode::{Mode, Pending};
use super::state::{Last, ViState};
use crate::readline::command::Command;
use crate::readline::complete::CompletionKind;

/// The keys of commands that change the text and that `.` repeats.
const CHANGES: &[u8] = b"_*\\AaIiCcDdPpYyRrSsXx~";

/// Runs a command of vi mode; returns whether `command` is one.
pub(super) fn execute(machine: &mut Machine, command: Command, count: i32, key: u8) -> bool {
    use Command::*;
    match command {
        ViMovementMode => movement_mode(machine),
        ViInsertionMode => insert_as_one(machine, b'i'),
        ViAppendMode => append(machine),
        ViAppendEol => {
            machine.line.set_point(machine.line.len());
            insert_as_one(machine, b'A');
        }
        ViInsertBeg => {
            machine.line.set_point(0);
            insert_as_one(machine, b'I');
        }
        ViArgDigit if key == b'0' && !machine.argument.explicit => machine.line.set_point(0),
        ViArgDigit => machine.digit_argument(key),

        ViNextWord => forward(machine, count, key.is_ascii_uppercase()),
        ViForwardWord | ViFword => forward(machine, count, false),
        ViForwardBigword | ViFWord => forward(machine, count, true),
        ViPrevWord => backward(machine, count, key.is_ascii_uppercase()),
        ViBackwardWord | ViBword => backward(machine, count, false),
        ViBackwardBigword | ViBWord => backward(machine, count, true),
        ViEndWord => to_end(machine, count, key.is_ascii_uppercase()),
        ViEword => to_end(machine, count, false),
        ViEndBigword | ViEWord => to_end(machine, count, true),
        ViBackToIndent | ViFirstPrint => machine.line.set_point(motion::first_print(machine.line.text())),
        ViColumn => machine.line.set_point(motion::column(machine.line.text(), count)),
        ViMatch => match motion::partner(machine.line.text(), machine.line.point()) {
            Some(place) => machine.line.set_point(place),
            None => machine.ding(),
        },
        ViCharSearch => search(machine, count, key),
        ViSetMark => machine.mode = Mode::Vi(Pending::SetMark),
        ViGotoMark => machine.mode = Mode::Vi(Pending::GotoMark { operator: None }),

        ViDeleteTo => operator::begin(machine, b'd', count, key.is_ascii_uppercase().then_some(b'$')),
        ViChangeTo => operator::begin(machine, b'c', count, key.is_ascii_uppercase().then_some(b'$')),
        ViYankTo => operator::begin(machine, b'y', count, key.is_ascii_uppercase().then_some(b'$')),
        ViSubst => operator::begin(machine, b'c', count, Some(if key == b'S' { b'c' } else { b'l' })),

        ViDelete => change::delete(machine, count),
        ViRubout => change::rubout(machine, count),
        ViPut => change::put(machine, count, !key.is_ascii_uppercase()),
        ViYankPop => machine.yank_pop(),
        ViChangeCase => change::change_case(machine, count),
        ViChangeChar if machine.vi.redoing => {
            let (bytes, length) = machine.vi.last_replacement;
            change::replace(machine, count, &bytes[..length]);
        }
        ViChangeChar => machine.mode = Mode::Vi(Pending::Replacement { count, found: Partial::default() }),
        ViReplace => change::begin_replacing(machine),
        ViOverstrike => overstrike(machine, count, &[key]),
        ViOverstrikeDelete => overstrike_delete(machine, count),
        ViUnixWordRubout => {
            let from = machine.line.point();
            if from == 0 {
                machine.ding();
            } else {
                let to = motion::rubout_start(machine.line.text(), from, count);
                machine.kill(from, to);
            }
        }
        ViRedo => change::redo(machine, count),
        ViUndo => machine.undo(count),

        ViFetchHistory => machine.fetch_history(count),
        ViYankArg => {
            let word = if machine.argument.explicit { count - 1 } else { i32::from(b'$') };
            machine.yank_nth_arg(word);
        }
        ViSearch if !matches!(key, b'/' | b'?') => machine.ding(),
        ViSearch => machine.search_for_string(key == b'/', key, true),
        ViSearchAgain => machine.search_again(key == b'n', true),
        ViComplete => complete(machine, key),
        ViTildeExpand => {
            machine.execute(TildeExpand, 1, key);
            insert(machine, key);
        }
        ViEofMaybe => machine.accept_line(),
        _ => return false,
    }
    true
}

/// Handles the byte that a command waits for.
pub(super) fn key(machine: &mut Machine, pending: Pending, byte: u8) {
    match pending {
        Pending::Motion(operator) => operator::motion_key(machine, operator, byte),
        Pending::Find { how, key, count, operator, mut found } => match found.push(byte) {
            None => machine.mode = Mode::Vi(Pending::Find { how, key, count, operator, found }),
            Some((bytes, length)) => {
                machine.vi.search = Some((how, bytes, length));
                match operator {
                    Some(operator) => operator::run(machine, operator, key),
                    None => drop(find(machine, count, how, &bytes[..length])),
                }
            }
        },
        Pending::Replacement { count, mut found } => match found.push(byte) {
            None => machine.mode = Mode::Vi(Pending::Replacement { count, found }),
            Some(([0x1b | 0x03, ..], _)) => machine.ding(),
            Some((bytes, length)) => {
                machine.vi.last_replacement = (bytes, length);
                change::replace(machine, count, &bytes[..length]);
            }
        },
        Pending::SetMark => match mark(byte) {
            Some(mark) => machine.vi.marks[mark] = Some(machine.line.point()),
            None => machine.ding(),
        },
        Pending::GotoMark { operator } => match mark(byte).and_then(|mark| machine.vi.marks[mark]) {
            None => machine.ding(),
            Some(place) => match operator {
                Some(operator) => operator::over(machine, operator, b'`', place),
                None => machine.line.set_point_near(place),
            },
        },
    }
    stand_on_a_character(machine);
}

fn mark(byte: u8) -> Option<usize> {
    byte.is_ascii_lowercase().then(|| usize::from(byte - b'a'))
}

/// Finishes a command of vi's command mode: stores a change for `.`, and keeps the point on a character.
pub(super) fn ran(machine: &mut Machine, command: Command, key: u8) {
    if CHANGES.contains(&key) && !machine.vi.redoing && command != Command::ViRedo {
        machine.vi.last = Last { command, key, count: machine.argument.count() };
    }
    stand_on_a_character(machine);
}

/// Ends insertion, and keeps the last command for `.` only if it is a change, before the line is accepted.
pub(super) fn accepted(machine: &mut Machine) {
    if machine.is_vi() {
        end_insertion(machine);
        if !CHANGES.contains(&machine.vi.last.key) {
            machine.vi.last = ViState::default().last;
        }
    }
}

/// Executes `emacs-editing-mode` and `vi-editing-mode`: begins the insertion mode.
pub(super) fn enter(machine: &mut Machine) {
    insert(machine, b'i');
}

/// Begins insertion after the character at the point.
pub(super) fn append(machine: &mut Machine) {
    change::append_forward(machine);
    insert_as_one(machine, b'a');
}

fn forward(machine: &mut Machine, count: i32, big: bool) {
    if count < 0 {
        return backward(machine, -count, big);
    }
    if machine.line.point() + 1 >= machine.line.len() {
        return machine.ding();
    }
    machine.line.set_point(motion::word_forward(machine.line.text(), machine.line.point(), count, big));
}

fn backward(machine: &mut Machine, count: i32, big: bool) {
    if count < 0 {
        return forward(machine, -count, big);
    }
    if machine.line.point() == 0 {
        return machine.ding();
    }
    machine.line.set_point(motion::word_backward(machine.line.text(), machine.line.point(), count, big));
}

fn to_end(machine: &mut Machine, count: i32, big: bool) {
    if count < 0 {
        return machine.ding();
    }
    machine.line.set_point(motion::word_end(machine.line.text(), machine.line.point(), count, big));
}

/// Executes `f`, `t`, `F` and `T`, which read a character, and `;` and `,`, which repeat the last search.
fn search(machine: &mut Machine, count: i32, key: u8) {
    match Find::from_key(key) {
        Some(how) => {
            machine.mode = Mode::Vi(Pending::Find { how, key, count, operator: None, found: Partial::default() });
        }
        None => match machine.vi.search {
            None => machine.ding(),
            Some((how, bytes, length)) => {
                let how = if key == b',' { how.reversed() } else { how };
                find(machine, count, how, &bytes[..length]);
            }
        },
    }
}

/// Moves to a character; returns whether it was found.
fn find(machine: &mut Machine, count: i32, how: Find, character: &[u8]) -> bool {
    let (place, there) = motion::find(machine.line.text(), machine.line.point(), count, how, character);
    machine.line.set_point(place);
    if !there {
        machine.ding();
    }
    there
}

/// Executes `*`, `=` and `\`: completion of the word under the point.
fn complete(machine: &mut Machine, key: u8) {
    let text = machine.line.text();
    let point = machine.line.point();
    let is_blank = |place: usize| text.get(place).is_none_or(|byte| matches!(byte, b' ' | b'\t'));
    if point < text.len() && !is_blank(point) {
        let end = if is_blank(point + 1) { point } else { motion::word_end(text, point, 1, true) };
        machine.line.set_point(machine.line.next(end));
    }
    match key {
        b'*' => machine.complete_as(CompletionKind::InsertAll),
        b'=' => machine.complete_as(CompletionKind::List),
        b'\\' => machine.complete_as(CompletionKind::Complete),
        _ => machine.complete(1, key),
    }
    if matches!(key, b'*' | b'\\') {
        insert(machine, key);
    }
}
