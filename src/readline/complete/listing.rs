//! The list of candidates in columns.

use super::{Candidate, Colours, common};
use crate::readline::variables::Variables;
use crate::readline::width::{Shape, pieces};

/// The dots that replace a common prefix longer than `completion-prefix-display-length`.
const ELLIPSIS: usize = 3;

/// A candidate as a terminal shows it, and the number of its columns.
#[derive(Default)]
struct Shown {
    text: Vec<u8>,
    columns: usize,
}

impl Shown {
    /// Adds a label so that the terminal executes nothing in it: a control character is shown as `^` and a letter, and
    /// an invalid byte as U+FFFD.
    fn label(&mut self, label: &[u8]) {
        let is_harmless = |byte: &u8| matches!(byte, 0x20..0x7f);
        if label.iter().all(is_harmless) {
            self.text.extend_from_slice(label);
            self.columns += label.len();
            return;
        }
        for piece in pieces(label) {
            let bytes = &label[piece.start..piece.start + piece.len];
            match piece.shape {
                Shape::Text(width) => {
                    self.text.extend_from_slice(bytes);
                    self.columns += usize::from(width);
                }
                Shape::Control(_) | Shape::Tab | Shape::Newline => {
                    self.text.extend([b'^', bytes[0] ^ 0x40]);
                    self.columns += 2;
                }
                Shape::Invalid => {
                    self.text.extend_from_slice("\u{fffd}".as_bytes());
                    self.columns += 1;
                }
            }
        }
    }

    /// Adds a label in a colour; without colour if there are no parameters.
    fn coloured(&mut self, label: &[u8], colour: &str) {
        if colour.is_empty() || label.is_empty() {
            return self.label(label);
        }
        self.text.extend([b"\x1b[", colour.as_bytes(), b"m"].concat());
        self.label(label);
        self.text.extend_from_slice(b"\x1b[0m");
    }
}

/// Returns the length of the labels' common prefix, in bytes of the first label.
fn common_prefix(candidates: &[Candidate], ignore_case: bool) -> usize {
    let Some((first, others)) = candidates.split_first() else { return 0 };
    if others.is_empty() {
        return 0;
    }
    others.iter().map(|it| common(first.label(), it.label(), ignore_case)).min().unwrap_or(0)
}

fn shown(candidate: &Candidate, prefix: usize, ellipsis: bool, colour: &str) -> Shown {
    let (before, rest) = candidate.label().split_at_checked(prefix).unwrap_or((candidate.label(), b""));
    let mut shown = Shown::default();
    if ellipsis {
        // Points that could be the name's own are other signs.
        shown.label(&[if rest.first() == Some(&b'.') { b'_' } else { b'.' }; ELLIPSIS]);
    } else {
        shown.coloured(before, colour);
    }
    shown.coloured(rest, candidate.colour());
    shown.text.extend(candidate.mark());
    shown.columns += usize::from(candidate.mark().is_some());
    shown
}

/// Returns the rows of a list, without newlines: sorted down the columns, or along the rows. Without colours if the
/// terminal has none.
pub(crate) fn rows(candidates: &[Candidate], variables: &Variables, columns: usize, has_colours: bool) -> Vec<Vec<u8>> {
    let across = variables.print_completions_horizontally;
    let wanted = usize::try_from(variables.completion_display_width).unwrap_or(columns);
    let columns = wanted.min(columns);
    let most = variables.completion_prefix_display_length;
    let coloured = variables.colored_completion_prefix && has_colours;
    let prefix = if most > 0 || coloured { common_prefix(candidates, variables.completion_ignore_case) } else { 0 };
    let ellipsis = most > 0 && prefix > most && prefix > ELLIPSIS;
    let colours = if coloured { Colours::of_environment() } else { Colours::default() };
    let colour = if coloured { colours.prefix() } else { "" };
    let prefix = if ellipsis || coloured { prefix } else { 0 };
    let shown: Vec<_> = candidates.iter().map(|it| shown(it, prefix, ellipsis, colour)).collect();
    let size = |n: usize| shown[n].columns;
    let widest = (0..shown.len()).map(size).max().unwrap_or(0) + 2;
    let mut per_row = (columns / widest).max(1);
    if per_row > 1 && per_row * widest == columns {
        per_row -= 1; // the last column stays free, or the terminal would wrap
    }
    let height = candidates.len().div_ceil(per_row);
    let mut rows = vec![Vec::new(); height];
    for (at, row) in rows.iter_mut().enumerate() {
        for column in 0..per_row {
            let n = if across { at * per_row + column } else { column * height + at };
            let Some(candidate) = shown.get(n) else { break };
            if column > 0 {
                let before = if across { n - 1 } else { n - height };
                let pad = widest - size(before);
                row.resize(row.len() + pad, b' ');
            }
            row.extend_from_slice(&candidate.text);
        }
    }
    rows
}
