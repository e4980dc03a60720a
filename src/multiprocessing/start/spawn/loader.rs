//! A program that was started through its loader: `/proc/self/exe` then names the loader.

use std::fs;

use crate::multiprocessing::tasks::{IMAGE, first_table};

/// The error text if the file that holds this program's tasks is not the file that the kernel runs.
pub(super) fn started_by_loader() -> Option<String> {
    let place = first_table()?;
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    let program = maps.lines().find_map(|line| file_at(line, place))?;
    let image = fs::read_link(IMAGE).ok()?;
    let image = image.to_str()?;
    (program != image).then(|| {
        format!(
            "this program lies in {program}, and the kernel runs {image} (the program's loader, perhaps), which would not \
             lead a child to freeze_support: start the program itself"
        )
    })
}

/// Returns the file in a line of /proc/self/maps if the line's range contains the address:
/// `from-to flags offset device inode file`.
fn file_at(line: &str, place: usize) -> Option<&str> {
    let (range, rest) = line.split_once(' ')?;
    let (from, to) = range.split_once('-')?;
    let number = |text| usize::from_str_radix(text, 16).ok();
    let holds = (number(from)?..number(to)?).contains(&place);
    let file = rest.splitn(5, ' ').nth(4)?.trim_start();
    Some(file).filter(|file| holds && file.starts_with('/'))
}
