//! The operators `d`, `c` and `y`, which delete, change or copy the text that a motion passes.

use super::super::input::Partial;
use super::super::mode::{Mode, Operator, Pending};
use super::super::{MOST_COUNT, Machine};
use super::insertion::insert;
use super::motion::{self, Find};

/// Begins an operator, with its motion if the key includes it.
pub(super) fn begin(machine: &mut Machine, name: u8, count: i32, motion: Option<u8>) {
    let operator = Operator { name, count, counted: machine.argument.explicit, fixed: motion == Some(b'$') };
    let again = machine.vi.redoing.then_some(machine.vi.last_motion).filter(|&motion| motion != 0);
    match again.or(motion) {
        Some(motion) if motion == name => whole_line(machine, operator),
        Some(motion) => run(machine, operator, motion),
        None => machine.mode = Mode::Vi(Pending::Motion(operator)),
    }
}

/// Handles the next key after an operator.
pub(super) fn motion_key(machine: &mut Machine, mut operator: Operator, key: u8) {
    match key {
        b'1'..=b'9' => {
            // The digits continue the count before the operator, if there is one; `0` is a motion even here.
            let digit = i32::from(key - b'0');
            operator.count =
                if operator.counted { operator.count.saturating_mul(10).saturating_add(digit) } else { digit };
            operator.count = operator.count.min(MOST_COUNT);
            operator.counted = true;
            machine.mode = Mode::Vi(Pending::Motion(operator));
        }
        _ if key == operator.name => whole_line(machine, operator),
        b'`' => machine.mode = Mode::Vi(Pending::GotoMark { operator: Some(operator) }),
        _ => match Find::from_key(key) {
            Some(how) => {
                let found = Partial::default();
                machine.mode = Mode::Vi(Pending::Find { how, key, count: 1, operator: Some(operator), found });
            }
            None if b" hl^$0;,%wbeWBE|".contains(&key) => run(machine, operator, key),
            None => machine.ding(),
        },
    }
}

fn whole_line(machine: &mut Machine, operator: Operator) {
    machine.vi.last_motion = operator.name;
    let end = machine.line.len();
    let start = machine.line.point();
    apply(machine, operator, 0, end, start);
}

/// Runs an operator over a motion with its character.
pub(super) fn run(machine: &mut Machine, operator: Operator, key: u8) {
    // A blank after the text lets motions go past its last character.
    let mut text = machine.line.text().to_vec();
    text.push(b' ');
    let (point, count) = (machine.line.point(), operator.count);
    let end = text.len();
    let steps = |forward: bool| {
        (0..count.max(0)).fold(point, |at, _| match forward {
            true if at < end => crate::readline::buffer::next(&text, at),
            false if at > 0 => crate::readline::buffer::previous(&text, at),
            _ => at,
        })
    };
    let place = match key {
        b' ' | b'l' => steps(true),
        b'h' => steps(false),
        b'0' => 0,
        b'$' => end,
        b'^' => motion::first_print(&text),
        b'|' => motion::column(&text, count),
        b'%' => motion::partner(&text, point).unwrap_or(point),
        b'w' | b'W' => motion::word_forward(&text, point, count, key == b'W'),
        b'b' | b'B' => motion::word_backward(&text, point, count, key == b'B'),
        b'e' | b'E' => motion::word_end(&text, point, count, key == b'E'),
        b'f' | b't' | b'F' | b'T' | b';' | b',' => match machine.vi.search {
            None => point,
            Some((how, bytes, length)) => {
                let how = if key == b',' { how.reversed() } else { how };
                motion::find(&text, point, count, how, &bytes[..length]).0
            }
        },
        _ => point,
    };
    over(machine, operator, key, place);
}

/// Applies an operator from the point to `place`.
pub(super) fn over(machine: &mut Machine, operator: Operator, motion: u8, place: usize) {
    machine.vi.last_motion = motion;
    let (start, end) = (machine.line.point(), machine.line.len());
    let mut to = place.min(end);
    if to == start && operator.name != b'c' {
        return machine.ding();
    }
    let text = machine.line.text();
    let is_blank = |place: usize| text.get(place).is_some_and(|byte| matches!(byte, b' ' | b'\t'));
    let is_word = matches!(motion, b'w' | b'W');
    if is_word && to < end && to > start && !is_blank(to) {
        to = machine.line.previous(to);
    }
    if operator.name == b'c' && is_word && to >= start {
        // `cw` ends where `ce` does.
        while to > start && is_blank(to) {
            to -= 1;
        }
        to = if to < end && (to == start || !is_blank(to)) { machine.line.next(to) } else { to };
    }
    let (from, mut to) = (start.min(to), start.max(to));
    let exclusive: &[u8] = match operator.name {
        b'd' => b" l|h^0bBFT`",
        b'c' => b" l|hwW^0bBFT`",
        _ => b" l|h^0%bBFT`",
    };
    if !exclusive.contains(&motion) && from >= start && to < end {
        to = machine.line.next(to);
    }
    apply(machine, operator, from, to, start);
}

fn apply(machine: &mut Machine, operator: Operator, from: usize, to: usize, start: usize) {
    machine.vi.last.count = operator.count;
    match operator.name {
        b'd' => {
            machine.kill(from, to);
            machine.line.set_point(from);
        }
        b'y' => {
            machine.keep(from, to);
            machine.line.set_point(start);
        }
        _ if machine.vi.redoing => {
            let text = std::mem::take(&mut machine.vi.inserted);
            machine.line.begin_group();
            machine.line.delete(from, to);
            machine.line.set_point(from);
            machine.line.insert(&text);
            machine.line.end_group();
            machine.vi.inserted = text;
        }
        _ => {
            machine.line.begin_group();
            machine.kill(from, to);
            machine.line.set_point(from);
            machine.vi.group = !operator.fixed;
            insert(machine, if operator.fixed { b'C' } else { b'c' });
        }
    }
}
