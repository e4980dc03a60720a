//! Lines are read with the history of earlier runs, which a file keeps: Python's
//! [example](https://docs.python.org/3/library/readline.html#example) of `readline`.
//!
//! `cargo run --example readline_history -- FILE`; with `--self-test` two runs are typed in.

#[path = "family/front.rs"]
mod front;
#[path = "family/typed.rs"]
mod typed;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ossature::readline::{Config, Editor, ReadOutcome};
use ossature::sys::errno::Errno;

const USAGE: &str = "\
usage: readline_history [FILE] [--self-test]
Reads lines and says each again, until Ctrl-D. FILE keeps the last 1000 lines for the next time; without a FILE that is
~/.ossature_history.
  --self-test  types in two runs";

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// Reads lines with the history of a file until the input ends, and saves the history.
fn read_lines(editor: &mut Editor, file: &Path) -> Outcome<Vec<String>> {
    match editor.history_mut().load(file) {
        Err(error) if error.errno() == Some(Errno::NOENT) => {} // the first run
        loaded => drop(loaded?),
    }
    editor.history_mut().set_max_file_lines(Some(1000));
    let mut lines = Vec::new();
    loop {
        match editor.read_line("> ")? {
            ReadOutcome::Line(line) => {
                println!("{line}");
                lines.push(line);
            }
            ReadOutcome::Interrupted => {}
            ReadOutcome::Eof => break,
        }
    }
    editor.history().save(file)?;
    Ok(lines)
}

fn self_test() -> Outcome {
    let file = std::env::temp_dir().join(format!("ossature-readline-history-{}", std::process::id()));
    let run = |script: Vec<(&'static str, &'static str)>| -> Outcome<Vec<String>> {
        let (terminal, typist) = typed::terminal(script)?;
        let mut editor = Editor::with_config(Config::default());
        editor.set_terminal(terminal);
        let lines = read_lines(&mut editor, &file)?;
        drop(editor);
        typist.join().expect("the keys are typed");
        Ok(lines)
    };
    let first = run(vec![("> ", "one\r"), ("> ", "two\r"), ("> ", "\x04")])?;
    // The arrow up fetches what the first run has saved.
    let second = run(vec![("> ", "\x1b[A\x1b[A more\r"), ("> ", "\x04")])?;
    let saved = std::fs::read_to_string(&file)?;
    std::fs::remove_file(&file)?;
    assert_eq!((first, second), (vec!["one".to_owned(), "two".to_owned()], vec!["one more".to_owned()]));
    assert_eq!(saved, "one\ntwo\none more\n");
    println!("two runs, one history");
    Ok(())
}

fn program() -> Outcome {
    let mut arguments = std::env::args().skip(1);
    match arguments.next() {
        Some(option) if option == "--self-test" => self_test(),
        Some(file) => read_lines(&mut Editor::new(), &PathBuf::from(file)).map(drop),
        None => {
            let home = std::env::var_os("HOME").ok_or("HOME is not set; give a FILE")?;
            read_lines(&mut Editor::new(), &Path::new(&home).join(".ossature_history")).map(drop)
        }
    }
}

fn main() -> ExitCode {
    front::run(USAGE, program)
}
