//! A console that calculates, with its own history: Python's example of `code.InteractiveConsole` with `readline`.
//!
//! `cargo run --example readline_console`; names are completed with TAB. With `--self-test` a session is typed in.

#[path = "family/front.rs"]
mod front;
#[path = "family/typed.rs"]
mod typed;

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ossature::readline::{Editor, ReadOutcome};
use ossature::rlcompleter::{Opaque, install};
use ossature::sys::errno::Errno;

const USAGE: &str = "\
usage: readline_console [FILE] [--self-test]
Calculates: NAME = SUM keeps a number, SUM shows one, where a SUM is numbers and names with + and - between. TAB completes
names. FILE keeps the history; without a FILE that is ~/.ossature_console.
  --self-test  types in a session";

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// A console that reads lines, executes them, and keeps them in a file.
struct Console {
    editor: Editor,
    file: PathBuf,
    numbers: BTreeMap<String, Opaque<i64>>,
}

impl Console {
    fn new(mut editor: Editor, file: &Path) -> Outcome<Self> {
        match editor.history_mut().load(file) {
            Err(error) if error.errno() == Some(Errno::NOENT) => {} // the first time
            loaded => drop(loaded?),
        }
        editor.history_mut().set_max_file_lines(Some(1000));
        Ok(Self { editor, file: file.to_owned(), numbers: BTreeMap::new() })
    }

    /// Executes lines until the input ends. Returns the output.
    fn interact(&mut self) -> Outcome<Vec<String>> {
        let mut shown = Vec::new();
        loop {
            install(&mut self.editor, self.numbers.clone());
            match self.editor.read_line(">>> ")? {
                ReadOutcome::Eof => break,
                ReadOutcome::Interrupted => {}
                ReadOutcome::Line(line) => {
                    let answer = self.carry_out(&line).unwrap_or_else(Some);
                    if let Some(answer) = answer {
                        println!("{answer}");
                        shown.push(answer);
                    }
                }
            }
        }
        self.editor.history().save(&self.file)?;
        Ok(shown)
    }

    fn carry_out(&mut self, line: &str) -> Result<Option<String>, String> {
        match line.split_once('=') {
            _ if line.trim().is_empty() => Ok(None),
            Some((name, sum)) => {
                let number = self.sum(sum)?;
                self.numbers.insert(name.trim().to_owned(), Opaque(number));
                Ok(None)
            }
            None => self.sum(line).map(|number| Some(number.to_string())),
        }
    }

    fn sum(&self, text: &str) -> Result<i64, String> {
        let mut sum = 0_i64;
        for term in text.split_inclusive(['+', '-']).scan('+', |sign, term| {
            let own = std::mem::replace(sign, term.chars().last().unwrap_or('+'));
            Some((own, term.trim_end_matches(['+', '-']).trim()))
        }) {
            let (sign, name) = term;
            let number = match self.numbers.get(name) {
                Some(Opaque(number)) => *number,
                None => name.parse().map_err(|_| format!("{name:?} has no value; set it first"))?,
            };
            sum = if sign == '-' { sum.checked_sub(number) } else { sum.checked_add(number) }.ok_or("too large")?;
        }
        Ok(sum)
    }
}

fn self_test() -> Outcome {
    let file = std::env::temp_dir().join(format!("ossature-readline-console-{}", std::process::id()));
    let prompt = ">>> ";
    let script = vec![(prompt, "apples = 4\r"), (prompt, "ap\t + 3\r"), (prompt, "pears\r"), (prompt, "\x04")];
    let (terminal, typist) = typed::terminal(script)?;
    let mut editor = Editor::new();
    editor.set_terminal(terminal);
    let mut console = Console::new(editor, &file)?;
    let shown = console.interact()?;
    drop(console);
    typist.join().expect("the keys are typed");
    let saved = std::fs::read_to_string(&file)?;
    std::fs::remove_file(&file)?;
    assert_eq!(shown, ["7", "\"pears\" has no value; set it first"]);
    assert_eq!(saved, "apples = 4\napples + 3\npears\n");
    Ok(())
}

fn program() -> Outcome {
    let file = match std::env::args().nth(1) {
        Some(option) if option == "--self-test" => return self_test(),
        Some(file) => PathBuf::from(file),
        None => Path::new(&std::env::var_os("HOME").ok_or("HOME is not set; give a FILE")?).join(".ossature_console"),
    };
    Console::new(Editor::new(), &file)?.interact().map(drop)
}

fn main() -> ExitCode {
    front::run(USAGE, program)
}
