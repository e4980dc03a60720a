//! Commands of vi mode that change the line without an operator, and the command that repeats the last change.

use super::super::{MOST_OVERWRITTEN, Machine, Map};
use super::insertion::{insert, stand_on_a_character};
use crate::readline::buffer::decode;

/// The maximum number of copies of a text that are inserted one by one.
const SINGLE: usize = 100;

/// Executes `x`.
pub(super) fn delete(machine: &mut Machine, count: i32) {
    if count < 0 {
        return rubout(machine, -count);
    }
    if machine.line.is_empty() {
        return machine.ding();
    }
    let from = machine.line.point();
    let end = machine.line.len();
    let to = (0..count).fold(from, |at, _| if at < end { machine.line.next(at) } else { at });
    machine.kill(from, to);
    if machine.line.is_at_end() && machine.line.point() > 0 {
        machine.line.set_point(machine.line.previous(machine.line.point()));
    }
}

/// Executes `X`.
pub(super) fn rubout(machine: &mut Machine, count: i32) {
    if count < 0 {
        return delete(machine, -count);
    }
    let from = machine.line.point();
    if from == 0 {
        return machine.ding();
    }
    let to = (0..count).fold(from, |at, _| if at > 0 { machine.line.previous(at) } else { at });
    machine.kill(from, to);
}

/// Executes `p` and `P`.
pub(super) fn put(machine: &mut Machine, count: i32, behind: bool) {
    if behind && machine.line.point() < machine.line.len() {
        machine.line.set_point(machine.line.next(machine.line.point()));
    }
    let Some(text) = machine.kills.current().map(<[u8]>::to_vec) else { return machine.abort() };
    let count = machine.times(count.max(0) as usize, &text);
    // Each copy is a change of its own, up to a number that a user can undo one by one.
    let (single, together) = (count.min(SINGLE), count.saturating_sub(SINGLE));
    machine.line.insert(&text.repeat(together));
    for _ in 0..single {
        machine.yank();
        if machine.aborted {
            return; // nothing was killed yet
        }
    }
    if machine.line.point() > 0 {
        machine.line.set_point(machine.line.previous(machine.line.point()));
    }
}

/// Executes `~`.
pub(super) fn change_case(machine: &mut Machine, count: i32) {
    for _ in 0..count.max(0) {
        let point = machine.line.point();
        if point >= machine.line.len() {
            break;
        }
        let Some(old) = machine.line.char_at(point) else {
            machine.line.set_point(machine.line.next(point));
            continue;
        };
        let new: String = if old.is_uppercase() { old.to_lowercase().collect() } else { old.to_uppercase().collect() };
        let is_same = new.chars().eq([old]);
        if is_same || new.chars().count() != 1 {
            machine.line.set_point(machine.line.next(point));
            continue;
        }
        machine.line.begin_group();
        delete(machine, 1);
        machine.line.set_point(point);
        machine.line.insert(new.as_bytes());
        machine.line.end_group();
        stand_on_a_character(machine);
    }
}

/// Executes `r`, with the replacement character.
pub(super) fn replace(machine: &mut Machine, count: i32, character: &[u8]) {
    machine.line.begin_group();
    for _ in 0..count.max(0) {
        let point = machine.line.point();
        if point >= machine.line.len() {
            break;
        }
        delete(machine, 1);
        machine.line.set_point(point);
        machine.line.insert(character);
    }
    if machine.line.point() > 0 {
        machine.line.set_point(machine.line.previous(machine.line.point()));
    }
    machine.line.end_group();
}

/// Executes `R`.
pub(super) fn begin_replacing(machine: &mut Machine) {
    insert(machine, b'R');
    machine.vi.replaced = Some(0);
}

/// Replaces the character at the point by a typed character.
pub(crate) fn overstrike(machine: &mut Machine, count: i32, character: &[u8]) {
    if !machine.vi.group {
        machine.vi.group = true;
        machine.line.begin_group();
    }
    let count = (count.max(0) as usize).min(MOST_OVERWRITTEN);
    for _ in 0..count {
        machine.line.begin_group();
        let point = machine.line.point();
        if point < machine.line.len() {
            machine.line.delete(point, machine.line.next(point));
            machine.line.set_point(point);
        }
        machine.line.insert(character);
        machine.line.end_group();
    }
    *machine.vi.replaced.get_or_insert(0) += count;
}

/// Deletes characters that were typed in replace mode.
pub(crate) fn overstrike_delete(machine: &mut Machine, count: i32) {
    for _ in 0..count.max(0) {
        match &mut machine.vi.replaced {
            Some(replaced) if *replaced > 0 => {
                *replaced -= 1;
                let point = machine.line.previous(machine.line.point());
                machine.line.undo();
                machine.line.set_point(point);
            }
            // As in GNU readline 8.2: no earlier text is deleted, and the point stays.
            _ => return,
        }
    }
}

/// Counts the typed characters of a text, each of which replaces one character.
fn characters(machine: &Machine, text: &[u8]) -> usize {
    if machine.settings.variables.byte_oriented {
        return text.len();
    }
    let mut rest = text;
    let mut count = 0;
    while !rest.is_empty() {
        rest = &rest[decode(rest).1..];
        count += 1;
    }
    count
}

pub(super) fn append_forward(machine: &mut Machine) {
    if machine.line.point() < machine.line.len() {
        machine.line.set_point(machine.line.next(machine.line.point()));
    }
}

/// Executes `.`.
pub(super) fn redo(machine: &mut Machine, count: i32) {
    let last = machine.vi.last;
    let times = count; // an insertion with a count is done again once
    let count = if machine.argument.explicit { count } else { last.count };
    let text = std::mem::take(&mut machine.vi.inserted);
    machine.vi.redoing = true;
    match last.key {
        b'i' | b'I' | b'a' | b'A' if !text.is_empty() => {
            match last.key {
                b'I' => machine.line.set_point(0),
                b'a' => append_forward(machine),
                b'A' => machine.line.set_point(machine.line.len()),
                _ => {}
            }
            machine.line.begin_group();
            let times = machine.times(times.max(0) as usize, &text);
            machine.line.insert(&text.repeat(times));
            machine.line.end_group();
            if machine.line.point() > 0 {
                machine.line.set_point(machine.line.previous(machine.line.point()));
            }
            machine.vi.inserted = text;
        }
        b'R' if !text.is_empty() => {
            let times = machine.times(times.max(0) as usize, &text);
            let (point, len) = (machine.line.point(), machine.line.len());
            let replaced = times * characters(machine, &text);
            let end = (0..replaced).fold(point, |at, _| if at < len { machine.line.next(at) } else { at });
            machine.line.begin_group();
            if end > point {
                machine.line.delete(point, end);
                machine.line.set_point(point);
            }
            machine.line.insert(&text.repeat(times));
            machine.line.end_group();
            if machine.line.point() > 0 {
                machine.line.set_point(machine.line.previous(machine.line.point()));
            }
            machine.vi.inserted = text;
        }
        _ => {
            machine.vi.inserted = text;
            machine.execute(last.command, count, last.key);
        }
    }
    machine.vi.redoing = false;
    if machine.map == Map::ViCommand {
        stand_on_a_character(machine);
    }
}
