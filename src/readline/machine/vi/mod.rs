//! The commands of vi mode.
//!
//! | file | what it has |
//! | --- | --- |
//! | `motion` | where the motions lead |
//! | `operator` | `d`, `c` and `y` with a motion |
//! | `change` | other commands that change the line, and `.` |

mod change;
mod motion;
mod operator;

use self::motion::Find;
use self::operator::Operator;
use super::words::Partial;
use super::{MOST_COUNT, Machine, Map, Mode};
use crate::readline::command::Command;
use crate::readline::complete::CompletionKind;

/// What a command of vi mode still has to read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pending {
    /// The motion of an operator.
    Motion(Operator),
    /// The character of a search, for an operator or by itself.
    Find {
        how: Find,
        key: u8,
        count: i32,
        operator: Option<Operator>,
        found: Partial,
    },
    /// The character that `r` puts in the place of others.
    Replacement {
        count: i32,
        found: Partial,
    },
    /// The letter of a mark.
    SetMark,
    GotoMark {
        operator: Option<Operator>,
    },
}

/// A command that `.` does again.
#[derive(Debug, Clone, Copy)]
struct Last {
    command: Command,
    key: u8,
    count: i32,
}

/// What vi mode remembers from command to command.
#[derive(Debug)]
pub(super) struct ViState {
    last: Last,
    /// The motion of the last operator; its own letter for a whole line.
    last_motion: u8,
    last_replacement: ([u8; 4], usize),
    redoing: bool,
    /// The last search for a character.
    search: Option<(Find, [u8; 4], usize)>,
    marks: [Option<usize>; 26],
    /// Where the insertion began, and the key that began it.
    start: usize,
    began: u8,
    /// Whether the insertion is one change, with what was deleted before it if something was.
    group: bool,
    /// What was inserted last.
    inserted: Vec<u8>,
    /// How many characters `R` has put in the place of others.
    replaced: Option<usize>,
    /// Whether the command mode was entered in this line.
    commanded: bool,
}

impl Default for ViState {
    fn default() -> Self {
        Self {
            last: Last { command: Command::ViInsertionMode, key: b'i', count: 1 },
            last_motion: 0,
            last_replacement: ([0; 4], 0),
            redoing: false,
            search: None,
            marks: [None; 26],
            start: 0,
            began: b'i',
            group: false,
            inserted: Vec::new(),
            replaced: None,
            commanded: false,
        }
    }
}

/// Keys of commands that change the text: `.` does them again.
const CHANGES: &[u8] = b"_*\\AaIiCcDdPpYyRrSsXx~";

/// A line begins.
pub(super) fn begin(machine: &mut Machine) {
    machine.vi.marks = [None; 26];
    (machine.vi.start, machine.vi.began, machine.vi.group) = (0, b'i', false);
    (machine.vi.replaced, machine.vi.redoing, machine.vi.commanded) = (None, false, false);
}

/// Runs a command of vi mode; tells whether it is one.
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

/// The byte that a command waits for.
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

/// A command has run in the command mode of vi.
pub(super) fn ran(machine: &mut Machine, command: Command, key: u8) {
    if CHANGES.contains(&key) && !machine.vi.redoing && command != Command::ViRedo {
        machine.vi.last = Last { command, key, count: machine.argument.count() };
    }
    stand_on_a_character(machine);
}

/// In command mode the point is not behind the last character.
pub(super) fn stand_on_a_character(machine: &mut Machine) {
    if machine.map == Map::ViCommand && machine.line.is_at_end() && !machine.line.is_empty() {
        machine.line.set_point(machine.line.previous(machine.line.len()));
    }
}

/// The line is about to be accepted.
pub(super) fn accepted(machine: &mut Machine) {
    if machine.is_vi() {
        end_insertion(machine);
        if !CHANGES.contains(&machine.vi.last.key) {
            machine.vi.last = ViState::default().last;
        }
    }
}

/// `emacs-editing-mode` and `vi-editing-mode`: the insertion mode begins.
pub(super) fn enter(machine: &mut Machine) {
    insert(machine, b'i');
}

/// Insertion begins behind the character at the point.
pub(super) fn append(machine: &mut Machine) {
    change::append_forward(machine);
    insert_as_one(machine, b'a');
}

/// Insertion begins by a key of the command mode. What is inserted is undone in one.
fn insert_as_one(machine: &mut Machine, key: u8) {
    if machine.map == Map::ViCommand && !std::mem::replace(&mut machine.vi.group, true) {
        machine.line.begin_group();
    }
    insert(machine, key);
}

/// Insertion begins at the point, by this key.
fn insert(machine: &mut Machine, key: u8) {
    machine.map = Map::ViInsert;
    machine.vi.began = key;
    machine.vi.start = machine.line.point();
    machine.vi.replaced = None;
}

fn movement_mode(machine: &mut Machine) {
    end_insertion(machine);
    if !std::mem::replace(&mut machine.vi.commanded, true) {
        // POSIX: what was typed before the first command is not undone.
        machine.line.forget_changes();
    }
    if machine.line.point() > 0 {
        machine.line.set_point(machine.line.previous(machine.line.point()));
    }
    machine.map = Map::ViCommand;
}

/// What was inserted is known now.
fn end_insertion(machine: &mut Machine) {
    let grouped = std::mem::take(&mut machine.vi.group);
    if grouped {
        machine.line.end_group();
    } else if !matches!(machine.vi.began, b'i' | b'a' | b'I' | b'A') {
        if machine.vi.began == b'C' {
            machine.line.end_group();
        }
        machine.vi.replaced = None;
        return;
    }
    if machine.map == Map::ViInsert {
        // As GNU readline: `.` inserts what the last change has inserted, and nothing after a deletion.
        let whole = machine.vi.start..machine.line.point();
        let last = machine.line.last_insertion(grouped);
        let range = match machine.vi.began {
            b'R' => whole,
            _ if whole.start <= last.start && last.end <= whole.end => last,
            _ => 0..0, // it was inserted before
        };
        machine.vi.inserted = machine.line.text().get(range).unwrap_or_default().to_vec();
    }
    machine.vi.began = b'i';
    machine.vi.replaced = None;
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

/// `f`, `t`, `F` and `T` ask for a character; `;` and `,` search for the last one again.
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

/// Moves to a character; tells whether it is there.
fn find(machine: &mut Machine, count: i32, how: Find, character: &[u8]) -> bool {
    let (place, there) = motion::find(machine.line.text(), machine.line.point(), count, how, character);
    machine.line.set_point(place);
    if !there {
        machine.ding();
    }
    there
}

/// `*`, `=` and `\`: completion of the word under the point.
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

/// Whether typed characters take the place of others: `R`.
pub(super) fn is_replacing(machine: &Machine) -> bool {
    machine.vi.replaced.is_some() && machine.map == Map::ViInsert
}

pub(super) use change::{overstrike, overstrike_delete};
