//! One process opens a file, another reads it. The open file itself travels through a pipe, so the reader needs neither
//! its name nor the right to open it.
//!
//! `cargo run --example pass_file`; with `--self-test` it checks what it prints.

#[path = "family/front.rs"]
mod front;
#[path = "family/own.rs"]
mod own;

use std::fs::{File, remove_file};
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::process::ExitCode;

use ossature::multiprocessing::connection::Connection;
use ossature::multiprocessing::transfer::Handle;
use ossature::multiprocessing::{Process, pipe};
use own::{Outcome, self_test};

const USAGE: &str = "\
usage: pass_file [--self-test]
One process opens a file and sends the open file to another one, which reads it.
  --self-test  checks what is printed";

/// Reads each received file line by line, and answers with its counts.
fn reader(jobs: &Connection) -> Outcome {
    let (title, Handle(file)): (String, Handle<File>) = jobs.recv()?;
    let mut words = 0;
    for line in BufReader::new(&file).lines() {
        let line = line?;
        println!("reader: {title}: {line}");
        words += line.split_whitespace().count();
    }
    jobs.send(&words)?;
    Ok(())
}

fn program() -> Outcome {
    if let Some(text) = self_test(&[])? {
        let expected = "reader: poem: one two\n\
            reader: poem: three\n\
            main: the reader counted 3 words, and left the file at its end\n";
        assert_eq!(text, expected);
        return Ok(());
    }
    let (near, far) = pipe()?;
    let process = Process::builder().name("reader").fork(|| reader(&far))?;
    drop(far);

    // Opened after the fork, and nameless before it is sent: the child could not have it in any other way.
    let path = std::env::temp_dir().join(format!("ossature-pass-file-{}", std::process::id()));
    let mut file = File::options().create_new(true).read(true).write(true).open(&path)?;
    remove_file(path)?;
    file.write_all(b"one two\nthree\n")?;
    file.rewind()?;

    near.send(&("poem", Handle(&file)))?; // Python: send_handle, or reduction.DupFd
    let words: usize = near.recv()?;
    process.join()?;
    // Both have the same open file, and so the same place in it.
    let left = file.read(&mut [0])?;
    let place = if left == 0 { "at its end" } else { "before its end" };
    println!("main: the reader counted {words} words, and left the file {place}");
    Ok(())
}

fn main() -> ExitCode {
    front::run(USAGE, program)
}
