//! The beginning and end of vi mode's insertion mode, and the point's position in its command mode.

use super::super::{Machine, Map};

/// Begins insertion by a key of the command mode. The whole insertion is undone in one step.
pub(super) fn insert_as_one(machine: &mut Machine, key: u8) {
    if machine.map == Map::ViCommand && !std::mem::replace(&mut machine.vi.group, true) {
        machine.line.begin_group();
    }
    insert(machine, key);
}

/// Begins insertion at the point, by this key.
pub(super) fn insert(machine: &mut Machine, key: u8) {
    machine.map = Map::ViInsert;
    machine.vi.began = key;
    machine.vi.start = machine.line.point();
    machine.vi.replaced = None;
}

pub(super) fn movement_mode(machine: &mut Machine) {
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

/// Ends insertion, and keeps the inserted text.
pub(super) fn end_insertion(machine: &mut Machine) {
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
            _ => 0..0, // the text was inserted before
        };
        machine.vi.inserted = machine.line.text().get(range).unwrap_or_default().to_vec();
    }
    machine.vi.began = b'i';
    machine.vi.replaced = None;
}

/// Moves the point to the last character if the point is behind it in command mode.
pub(in super::super) fn stand_on_a_character(machine: &mut Machine) {
    if machine.map == Map::ViCommand && machine.line.is_at_end() && !machine.line.is_empty() {
        machine.line.set_point(machine.line.previous(machine.line.len()));
    }
}

/// Whether typed characters replace existing ones: `R`.
pub(in super::super) fn is_replacing(machine: &Machine) -> bool {
    machine.vi.replaced.is_some() && machine.map == Map::ViInsert
}
