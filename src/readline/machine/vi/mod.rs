//! The commands of vi mode.

use super::{Machine, Map};
use crate::readline::command::Command;

/// What a command of vi mode still has to read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pending {}

/// What vi mode remembers from command to command.
#[derive(Debug, Default)]
pub(super) struct State {}

/// A line begins.
pub(super) fn begin(_: &mut Machine) {}

/// Runs a command of vi mode; tells whether it is one.
pub(super) fn execute(machine: &mut Machine, command: Command, count: i32, key: u8) -> bool {
    let _ = (machine, command, count, key);
    false
}

/// The byte that a command waits for.
pub(super) fn key(_: &mut Machine, pending: Pending, _: u8) {
    match pending {}
}

/// A command has run in the command mode of vi.
pub(super) fn ran(machine: &mut Machine, command: Command, key: u8) {
    let _ = (machine, command, key);
}

/// The line is about to be accepted.
pub(super) fn accepted(_: &mut Machine) {}

/// `emacs-editing-mode` and `vi-editing-mode`: the insertion mode begins.
pub(super) fn enter(machine: &mut Machine) {
    machine.map = Map::ViInsert;
}

/// Insertion begins behind the character at the point.
pub(super) fn append(machine: &mut Machine) {
    let _ = machine;
}
