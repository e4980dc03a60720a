//! Inspects a running manager: lists its objects, completes their names and methods with TAB, calls the methods, and
//! shows the results.
//!
//! `cargo run --example shell -- ADDRESS KEY` connects to a manager of Rust or of CPython; with `--self-test` a session
//! with a server of its own is typed in.
//!
//! ```text
//! manager> objects
//! o1  [1, 2]  (1 reference)
//! manager> o1.append(3)
//! manager> o1
//! [1, 2, 3]
//! ```

#[path = "family/front.rs"]
mod front;
#[path = "shell/literal.rs"]
mod literal;
#[path = "family/typed.rs"]
mod typed;

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ossature::ErrorKind;
use ossature::multiprocessing::connection::AuthKey;
use ossature::multiprocessing::connection::pickle::Value;
use ossature::multiprocessing::managers::{Manager, Proxy, Reply};
use ossature::multiprocessing::{Context, freeze_support, tasks};
use ossature::readline::{Editor, ReadOutcome};
use ossature::rlcompleter::Completer;
use ossature::sys::errno::Errno;

const USAGE: &str = "\
usage: shell ADDRESS KEY [--self-test]
Connects to a running manager. ADDRESS is HOST:PORT, a path or @NAME; KEY is the text of its key.
  objects               lists the objects of the server, and names each: o1, o2, ...
  NAME                  shows an object
  NAME.METHOD(1, \"a\")   calls a method with numbers, texts, True, False, None and [lists] of them
  NAME = TYPE(...)      makes an object of a type of the server
  help, quit
TAB completes names and methods; ~/.ossature_shell keeps the history.
  --self-test           types in a session with a server of its own";

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// A manager, and the objects that have names in this shell.
struct Shell {
    manager: Manager,
    named: BTreeMap<String, Proxy>,
}

impl Shell {
    /// Names each object of the server that has no name yet, and lists all.
    fn objects(&mut self) -> Outcome<String> {
        let mut lines = Vec::new();
        let objects = self.manager.objects()?;
        // What is gone loses its name; what is kept by this shell alone stays.
        self.named.retain(|_, proxy| objects.iter().any(|object| object.ident == proxy.ident()));
        for object in objects {
            let known =
                self.named.iter().find(|(_, proxy)| proxy.ident() == object.ident).map(|(name, _)| name.clone());
            let name = match known {
                Some(name) => name,
                None => {
                    // An object may go between the list and this call.
                    let Ok(proxy) = self.manager.attach(&object.ident) else { continue };
                    let name = self.free_name();
                    self.named.insert(name.clone(), proxy);
                    name
                }
            };
            lines.push(format!("{name}  {}  (references: {})", object.shown, object.references));
        }
        Ok(lines.join("\n"))
    }

    fn free_name(&self) -> String {
        let mut names = (1..).map(|n| format!("o{n}"));
        names.find(|name| !self.named.contains_key(name)).expect("there are more numbers than objects")
    }

    /// Executes a line, and returns the output.
    fn carry_out(&mut self, line: &str) -> Outcome<String> {
        let line = line.trim();
        if line.is_empty() {
            return Ok(String::new());
        }
        if line == "objects" {
            return self.objects();
        }
        if line == "help" {
            return Ok(USAGE.to_owned());
        }
        if let Some((name, call)) = line.split_once('=').filter(|(name, _)| is_name(name.trim())) {
            let (typeid, arguments) = literal::call(call.trim())?;
            let made = self.manager.create_with(typeid, arguments, Vec::new())?;
            let shown = made.display()?;
            self.named.insert(name.trim().to_owned(), made);
            return Ok(shown);
        }
        let (name, rest) = line.split_once('.').map_or((line, None), |(name, rest)| (name, Some(rest)));
        let object = self.named.get(name).ok_or_else(|| {
            let known: Vec<_> = self.named.keys().map(String::as_str).collect();
            format!("no object has the name {name}; known names: {}; `objects` finds more", known.join(" "))
        })?;
        match rest {
            None => Ok(object.display()?),
            Some(call) => {
                let (method, arguments) = literal::call(call)?;
                match object.call_with::<Reply>(method, arguments, Vec::new())? {
                    Reply::Value(Value::None) => Ok(String::new()),
                    Reply::Value(value) => Ok(literal::shown(&value)),
                    Reply::Object(proxy) => {
                        let name = self.free_name();
                        let shown = format!("{name}  {}", proxy.display()?);
                        self.named.insert(name, proxy);
                        Ok(shown)
                    }
                }
            }
        }
    }

    /// Reads and executes lines until the input ends. Returns the whole output.
    fn run(&mut self, editor: &mut Editor, history: Option<&Path>) -> Outcome<Vec<String>> {
        if let Some(path) = history {
            match editor.history_mut().load(path) {
                Err(error) if error.errno() == Some(Errno::NOENT) => {} // the first time
                loaded => drop(loaded?),
            }
            editor.history_mut().set_max_file_lines(Some(1000));
        }
        let mut all = vec![self.objects()?];
        println!("{}", all[0]);
        loop {
            let words = [("help", ""), ("objects", ""), ("quit", "")];
            editor.set_completer(Completer::new(self.named.clone()).with_keywords(&words));
            match editor.read_line("manager> ")? {
                ReadOutcome::Line(line) if line.trim() == "quit" => break,
                ReadOutcome::Eof => break,
                ReadOutcome::Interrupted => {}
                ReadOutcome::Line(line) => {
                    let shown = match self.carry_out(&line) {
                        Ok(shown) => shown,
                        Err(error) => {
                            let closed = error.downcast_ref::<ossature::Error>();
                            if closed.is_some_and(|error| error.kind() == ErrorKind::Closed) {
                                return Err(error);
                            }
                            error.to_string()
                        }
                    };
                    if !shown.is_empty() {
                        println!("{shown}");
                    }
                    all.push(shown);
                }
            }
        }
        if let Some(path) = history {
            editor.history().save(path)?;
        }
        Ok(all)
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|letter| letter.is_alphanumeric() || letter == '_')
}

fn self_test() -> Outcome {
    let key = AuthKey::from("secret");
    let served = Manager::builder().authkey(&key).start(Context::Spawn)?;
    let list = served.create("list", (vec![1, 2],))?;
    let manager = Manager::connect(served.address().clone(), &key)?;
    let mut shell = Shell { manager, named: BTreeMap::new() };

    let prompt = "manager> ";
    let script = vec![
        (prompt, "o1.app\t3)\r"), // the method is completed with its parenthesis
        (prompt, "o1\r"),
        (prompt, "o1.pop()\r"),
        (prompt, "o1.index(\"none\")\r"),
        (prompt, "words = dict()\r"),
        (prompt, "wo\t.get('a', [1, -2.5, True, None])\r"),
        (prompt, "nobody.x()\r"),
        (prompt, "quit\r"),
    ];
    let (terminal, typist) = typed::terminal(script)?;
    let mut editor = Editor::new();
    editor.set_terminal(terminal);
    let history = std::env::temp_dir().join(format!("ossature-shell-{}", std::process::id()));
    let shown = shell.run(&mut editor, Some(&history))?;
    drop(editor);
    typist.join().expect("the keys are typed");
    let kept = std::fs::read_to_string(&history)?;
    std::fs::remove_file(&history)?;

    assert!(shown[0].starts_with("o1  [1, 2]  "), "{shown:?}");
    assert_eq!(shown[1..4], ["", "[1, 2, 3]", "3"]);
    assert!(!shown[4].is_empty() && shown[4] != "None", "{:?}", shown[4]);
    assert_eq!(shown[5..7], ["{}", "[1, -2.5, True, None]"]);
    assert!(shown[7].contains("no object has the name nobody"), "{:?}", shown[7]);
    assert!(kept.starts_with("o1.append(3)\no1\n"), "{kept}");
    assert_eq!(list.display()?, "[1, 2]");
    drop(shell);
    served.shutdown()?;
    Ok(())
}

fn program() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--self-test"] => self_test(),
        [address, key] => {
            let manager = Manager::connect(address, &AuthKey::from(key))?;
            let history = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".ossature_shell"));
            Shell { manager, named: BTreeMap::new() }.run(&mut Editor::new(), history.as_deref()).map(drop)
        }
        _ => Err("an address and a key are needed; see --help".into()),
    }
}

fn main() -> ExitCode {
    freeze_support(tasks![]);
    front::run(USAGE, program)
}
