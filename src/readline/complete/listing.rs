//! Candidates in columns.

use super::Candidate;
use crate::readline::buffer;
use crate::readline::variables::Variables;
use unicode_width::UnicodeWidthChar;

/// How many columns a text takes.
fn width(mut text: &[u8]) -> usize {
    let mut columns = 0;
    while !text.is_empty() {
        let (character, length) = buffer::decode(text);
        columns += match character {
            Some(it) if it.is_ascii_control() => 2,
            Some(it) => it.width().unwrap_or(0),
            None => 1,
        };
        text = &text[length..];
    }
    columns
}

/// The rows of a list, each without its newline: sorted down the columns, or along the rows.
pub(crate) fn rows(candidates: &[Candidate], variables: &Variables, columns: usize) -> Vec<Vec<u8>> {
    let across = variables.print_completions_horizontally;
    let wanted = usize::try_from(variables.completion_display_width).unwrap_or(columns);
    let columns = wanted.min(columns);
    let size = |it: &Candidate| width(it.label()) + usize::from(it.mark().is_some());
    let widest = candidates.iter().map(size).max().unwrap_or(0) + 2;
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
                let pad = widest - size(&candidates[before]);
                row.resize(row.len() + pad, b' ');
            }
            row.extend_from_slice(candidate.label());
            row.extend(candidate.mark());
        }
    }
    rows
}
