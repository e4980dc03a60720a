//! Several programs share one history: each appends its own new lines and keeps the others' lines. Python's example of
//! `readline.append_history_file`.
//!
//! `cargo run --example readline_append -- FILE`, in two terminals; with `--self-test` two sessions are typed in.

#[path = "family/front.rs"]
mod front;
#[path = "family/typed.rs"]
mod typed;

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ossature::readline::{Editor, ReadOutcome};

const USAGE: &str = "\
usage: readline_append [FILE] [--self-test]
Reads lines until Ctrl-D, then adds them to the history in FILE, beside those that other programs have added meanwhile.
Without a FILE that is ~/.ossature_history.
  --self-test  types in two sessions at once";

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// A session of one user: the history, and its length at the start.
struct Session {
    editor: Editor,
    file: PathBuf,
    length: usize,
}

impl Session {
    fn begin(mut editor: Editor, file: &Path) -> Outcome<Self> {
        // Appending needs a file that is there.
        OpenOptions::new().append(true).create(true).open(file).and_then(|file| File::sync_all(&file))?;
        editor.history_mut().load(file)?;
        let length = editor.history().len();
        Ok(Self { editor, file: file.to_owned(), length })
    }

    fn read_lines(&mut self) -> Outcome {
        loop {
            match self.editor.read_line("> ")? {
                ReadOutcome::Line(line) => println!("{line}"),
                ReadOutcome::Interrupted => {}
                ReadOutcome::Eof => return Ok(()),
            }
        }
    }

    /// Adds the new lines to the file.
    fn end(mut self) -> Outcome {
        let new = self.editor.history().len() - self.length;
        self.editor.history_mut().set_max_file_lines(Some(1000));
        self.editor.history().append(new, &self.file)?;
        Ok(())
    }
}

fn self_test() -> Outcome {
    let file = std::env::temp_dir().join(format!("ossature-readline-append-{}", std::process::id()));
    std::fs::write(&file, "before\n")?;
    let session = |line: &'static str| -> Outcome<_> {
        let (terminal, typist) = typed::terminal(vec![("> ", line), ("> ", "\x04")])?;
        let mut editor = Editor::new();
        editor.set_terminal(terminal);
        Ok((Session::begin(editor, &file)?, typist))
    };
    let (mut first, one) = session("first\r")?;
    let (mut second, two) = session("second\r")?;
    first.read_lines()?;
    second.read_lines()?;
    second.end()?;
    first.end()?;
    for typist in [one, two] {
        typist.join().expect("the keys are typed");
    }
    let saved = std::fs::read_to_string(&file)?;
    std::fs::remove_file(&file)?;
    assert_eq!(saved, "before\nsecond\nfirst\n");
    println!("two sessions, no line lost");
    Ok(())
}

fn program() -> Outcome {
    let file = match std::env::args().nth(1) {
        Some(option) if option == "--self-test" => return self_test(),
        Some(file) => PathBuf::from(file),
        None => Path::new(&std::env::var_os("HOME").ok_or("HOME is not set; give a FILE")?).join(".ossature_history"),
    };
    let mut session = Session::begin(Editor::new(), &file)?;
    session.read_lines()?;
    session.end()
}

fn main() -> ExitCode {
    front::run(USAGE, program)
}
