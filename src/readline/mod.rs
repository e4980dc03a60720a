//! A line editor with GNU readline's commands, key bindings and init file. Python's `readline`.
//!
//! The editor is a state machine. Its input is bytes; its output is the bytes to draw and, at the end, a line.
//! [`Editor::feed`] lets the caller's event loop run it.
//!
//! | file | contents |
//! | --- | --- |
//! | `buffer`, `undo`, `kill` | the line, the point, the mark; the changes of a line; the kill ring |
//! | `command` | the names of the commands |
//! | `keys`, `keymap` | keys in the notation of init files, and what they are bound to |
//! | `variables`, `inputrc` | the variables, and the init files that set them and bind keys |
//! | `history` | the earlier lines, and the files that keep them |
//! | `machine` | the mapping of keys to commands, and the commands |
//! | `terminal` | reading a line from a terminal, whose modes are restored whatever happens |
//! | `complete` | completers, candidates, names of files, lists in columns |
//! | `width` | the width of text in columns |
//! | `render` | the bytes that make a terminal show prompt and line |
//! | `modes` | the modes of a terminal that are set for a line, and reset after it |
//! | `secret` | bytes that leave no copy in memory: passwords |
//! | `editor`, `hooks` | the public types: configuration, hooks, Python's functions |
//!
//! # Bounds
//! | object | bound |
//! | --- | --- |
//! | a line, and the input typed ahead | the available memory |
//! | a numeric argument | 1,000,000; a larger one is refused |
//! | the text that one command inserts | 4 MiB, or 65,536 characters in overwrite mode |
//! | a key sequence | 256 bytes in an init file |
//! | macros | 16 nested, 1000 for a typed byte |
//! | the kill ring | 10 texts |
//! | an init file | 4 MiB; 16 nested, 256 in all |
//! | the history, and its file | memory and disk, unless `history-size`, `set_max_entries` or `set_max_file_lines` sets a limit |
//! | pending input | 64 KiB are read before they are drawn |
//!
//! # Examples
//! In the caller's event loop, which writes `screen` to the terminal:
//!
//! ```
//! use ossature::readline::{Config, Editor, Step};
//!
//! let (mut editor, mut screen) = (Editor::with_config(Config::python_compat()), Vec::new());
//! editor.resized(80, 24, &mut screen);
//! assert_eq!(editor.begin("> ", &mut screen), Step::More);
//! assert_eq!(editor.feed(b"ac\x02", &mut screen), Step::More); // C-b
//! editor.insert_text("b");
//! assert_eq!((editor.line_buffer(), editor.point()), (&b"abc"[..], 2));
//! assert_eq!(editor.timeout(), None); // no key sequence is open; if one was too long, call `expire`
//! assert_eq!(editor.expire(&mut screen), Step::More);
//! editor.redisplay(&mut screen);
//! assert_eq!(editor.interrupt(&mut screen), Step::Interrupted);
//! assert_eq!(editor.begin("> ", &mut screen), Step::More);
//! assert_eq!(editor.end_of_input(&mut screen), Step::Eof);
//! ```
//!
//! Completion, hooks and the history:
//!
//! ```
//! use ossature::readline::{Backend, Candidate, CompletionContext, CompletionKind, Context, Editor, Filenames, Step};
//! use ossature::readline::{LIBRARY_VERSION, VERSION};
//!
//! let mut editor = Editor::new();
//! assert_eq!((editor.backend(), editor.backend().name()), (Backend::Readline, "readline"));
//! assert_eq!((VERSION, LIBRARY_VERSION), (0x0802, "8.2"));
//! editor.variables_mut().completion_ignore_case = true;
//! editor.set_completer(|_: &str, _: &CompletionContext<'_>| vec![Candidate::new("get").with_suffix("()")]);
//! editor.set_completer_delims(" .");
//! assert_eq!(editor.completer_delims(), b" .");
//! editor.on_display_matches(|word, matches, text| text.extend_from_slice(&[word, matches[0].suffix()].concat()));
//! editor.on_startup(|line: &mut Context<'_>| line.insert("it.g"));
//! editor.on_pre_input(|line| line.set_point(line.line().len().max(line.point())));
//! let mut screen = Vec::new();
//! let _ = editor.begin("> ", &mut screen);
//! assert_eq!(editor.feed(b"\t\r", &mut screen), Step::Line(b"it.get()".to_vec()));
//! assert_eq!(editor.completion_kind().map(CompletionKind::code), Some(b'\t'));
//! assert_eq!(editor.completion_range(), 3..4);
//! assert!(editor.completer().is_some());
//! editor.clear_completer();
//! editor.clear_hooks();
//! editor.clear_display_matches();
//! editor.set_completer(Filenames::default());
//!
//! editor.set_auto_history(false);
//! editor.add_history("one");
//! editor.history_mut().push("two");
//! assert_eq!(editor.history().len(), 3);
//! ```
//!
//! Over the terminal, with hints and colours:
//!
//! ```no_run
//! use ossature::readline::{Editor, Printer, ReadOutcome, Step, Terminal};
//!
//! let mut terminal = Terminal::stdio()?; // what `read_line` takes by itself
//! assert!(terminal.is_interactive());
//! if let Step::Line(_secret) = terminal.read_password(b"password: ")? {}
//! let printer: Printer = terminal.printer();
//! std::thread::spawn(move || printer.print("news above the line"));
//!
//! let mut editor = Editor::new();
//! for bad in editor.read_init_file(None)? {
//!     eprintln!("{bad}");
//! }
//! editor.set_hinter(|line| (line == "he").then(|| "lp".to_owned()));
//! editor.set_highlighter(|line, _| line.replace("help", "\x1b[1mhelp\x1b[0m"));
//! editor.set_terminal(terminal);
//! while let ReadOutcome::Line(line) = editor.read_line("> ")? {
//!     println!("{line}");
//! }
//! let any_bytes = editor.read_line_os("file: ")?;
//! # Ok::<(), ossature::Error>(())
//! ```

mod buffer;
mod command;
mod complete;
mod editor;
mod history;
mod hooks;
mod inputrc;
mod keymap;
mod keys;
mod kill;
mod machine;
mod modes;
mod render;
mod secret;
mod terminal;
mod undo;
mod variables;
mod width;

pub use command::Command;
pub use complete::{Candidate, Completer, CompletionContext, CompletionKind, Filenames};
pub use editor::{Backend, Config, Editor, LIBRARY_VERSION, ReadOutcome, VERSION};
pub use history::{History, HistoryForm};
pub use hooks::{Context, Validation};
pub use inputrc::InitError;
pub use keymap::{Binding, KeymapName};
pub use machine::Step;
pub use terminal::{Printer, Terminal};
pub use variables::{BellStyle, EditingMode, SetError, Variables};
