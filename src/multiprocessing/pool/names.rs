//! Numbers for the names of tasks. A worker that has the number of a task does not compare the name, which takes as
//! long as a short call.

use std::collections::HashMap;

/// The names of the tasks whose calls were published, each with its number.
#[derive(Default)]
pub(super) struct Names {
    known: HashMap<&'static str, u32>,
    last: Option<(&'static str, u32)>,
}

/// The place of a number above the flags of a slot.
pub(super) const NUMBER_SHIFT: u32 = 8;
/// The maximum number. It fits beside the flags of a slot.
const MOST: usize = (1 << 24) - 1;

impl Names {
    /// Returns the number of a name; 0 for a name beyond the maximum.
    #[inline]
    pub(super) fn number_of(&mut self, name: &'static str) -> u32 {
        match self.last {
            Some((last, number)) if std::ptr::eq(last, name) => number,
            _ => self.look_up(name),
        }
    }

    #[cold]
    fn look_up(&mut self, name: &'static str) -> u32 {
        let next = self.known.len() + 1;
        let known = self.known.get(name).copied();
        let number = known.unwrap_or(if next > MOST { 0 } else { next as u32 });
        if number != 0 {
            self.known.insert(name, number);
        }
        self.last = Some((name, number));
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_keeps_a_number_of_its_own() {
        let mut names = Names::default();
        let whole: &'static str = "a::task_of_mine";
        let seen = [whole, &whole[..7], whole, "b::task", &whole[..7]].map(|name| names.number_of(name));
        assert_eq!(seen, [1, 2, 1, 3, 2]);
    }
}
