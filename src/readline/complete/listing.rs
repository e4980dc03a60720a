//! Candidates in columns.

use std::borrow::Cow;

use super::Candidate;
use crate::readline::variables::Variables;
use crate::readline::width::{Shape, pieces};

/// A label as a terminal shows it, and how many columns it takes. The terminal obeys nothing in it: a control character is
/// shown as `^` and a letter, and a byte of no character as U+FFFD.
fn shown(label: &[u8]) -> (Cow<'_, [u8]>, usize) {
    let is_harmless = |byte: &u8| matches!(byte, 0x20..0x7f);
    if label.iter().all(is_harmless) {
        return (Cow::Borrowed(label), label.len());
    }
    let (mut text, mut columns) = (Vec::new(), 0);
    for piece in pieces(label) {
        let bytes = &label[piece.start..piece.start + piece.len];
        match piece.shape {
            Shape::Text(width) => {
                text.extend_from_slice(bytes);
                columns += usize::from(width);
            }
            Shape::Control(_) | Shape::Tab | Shape::Newline => {
                text.extend([b'^', bytes[0] ^ 0x40]);
                columns += 2;
            }
            Shape::Invalid => {
                text.extend_from_slice("\u{fffd}".as_bytes());
                columns += 1;
            }
        }
    }
    (Cow::Owned(text), columns)
}

/// The rows of a list, each without its newline: sorted down the columns, or along the rows.
pub(crate) fn rows(candidates: &[Candidate], variables: &Variables, columns: usize) -> Vec<Vec<u8>> {
    let across = variables.print_completions_horizontally;
    let wanted = usize::try_from(variables.completion_display_width).unwrap_or(columns);
    let columns = wanted.min(columns);
    let labels: Vec<_> = candidates.iter().map(|it| shown(it.label())).collect();
    let size = |n: usize| labels[n].1 + usize::from(candidates[n].mark().is_some());
    let widest = (0..labels.len()).map(size).max().unwrap_or(0) + 2;
    let mut per_row = (columns / widest).max(1);
    if per_row > 1 && per_row * widest == columns {
        per_row -= 1; // the last column stays free, or the terminal would wrap
    }
    let height = candidates.len().div_ceil(per_row);
    let mut rows = vec![Vec::new(); height];
    for (at, row) in rows.iter_mut().enumerate() {
        for column in 0..per_row {
            let n = if across { at * per_row + column } else { column * height + at };
            let Some(candidate) = candidates.get(n) else { break };
            if column > 0 {
                let before = if across { n - 1 } else { n - height };
                let pad = widest - size(before);
                row.resize(row.len() + pad, b' ');
            }
            row.extend_from_slice(&labels[n].0);
            row.extend(candidate.mark());
        }
    }
    rows
}
