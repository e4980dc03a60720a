//! Follows a log as `tail -F` does: prints added lines, and switches to the next file when the log is rotated.
//!
//! `cargo run --example log_follower -- FILE`; with `--self-test` it writes and rotates a log of its own.

#[path = "family/front.rs"]
mod front;

use std::error::Error;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use ossature::select::{Kevent, Kqueue, Notes};

const USAGE: &str = "\
usage: log_follower FILE | --self-test
Prints what is added to FILE, and what is added to the next file of its name.
  --self-test  follows a file that it writes and rotates itself";

/// Waits for a change of the file; `false` if the file was renamed or removed.
fn news(queue: &Kqueue) -> Result<bool, Box<dyn Error>> {
    let events = queue.control([], 1, Duration::from_secs(60))?;
    let notes = events.first().map_or(Notes::empty(), Kevent::notes);
    Ok(!notes.intersects(Notes::RENAME | Notes::DELETE))
}

/// Follows the log until `is_enough` returns true for all text so far.
fn follow(path: &Path, mut is_enough: impl FnMut(&str) -> bool) -> Result<(), Box<dyn Error>> {
    let (queue, mut text) = (Kqueue::new()?, String::new());
    loop {
        let mut file = match File::open(path) {
            Ok(file) => file,
            // Between the rename and the next file.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                thread::sleep(Duration::from_millis(5));
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        // The watch stands before the look, so nothing is added unseen in between.
        queue.control([Kevent::vnode(&file, Notes::WRITE | Notes::RENAME | Notes::DELETE)], 0, None)?;
        loop {
            let before = text.len();
            file.read_to_string(&mut text)?;
            print!("{}", &text[before..]);
            if is_enough(&text) {
                return Ok(());
            }
            if !news(&queue)? {
                file.read_to_string(&mut text)?; // what came before the rename
                break;
            }
        }
    }
}

fn rotate(path: &Path) -> std::io::Result<()> {
    let mut log = File::create(path)?;
    for n in 0..5 {
        writeln!(log, "first {n}")?;
        thread::sleep(Duration::from_millis(2));
    }
    fs::rename(path, path.with_extension("old"))?;
    writeln!(log, "first 5")?;
    let mut log = File::create(path)?;
    for n in 0..5 {
        writeln!(log, "second {n}")?;
        thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

fn program() -> Result<(), Box<dyn Error>> {
    let argument = std::env::args_os().nth(1).ok_or("which file?")?;
    if argument != "--self-test" {
        return follow(Path::new(&argument), |_| false);
    }
    let folder = std::env::temp_dir().join(format!("ossature-log-follower-{}", std::process::id()));
    fs::create_dir(&folder)?;
    let path = folder.join("log");
    let followed = thread::scope(|scope| {
        let writer = scope.spawn(|| rotate(&path));
        let followed = follow(&path, |text| text.contains("second 4\n"));
        writer.join().map_err(|_| "the writer panicked")??;
        followed
    });
    fs::remove_dir_all(&folder)?;
    followed
}

fn main() -> ExitCode {
    front::run(USAGE, program)
}
