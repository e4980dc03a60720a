//! A line editor with GNU readline's commands, key bindings and init file. Python's `readline`.
//!
//! The editor is a state machine: bytes go in, what to draw comes out, and at last a line. [`Editor::feed`] lets an event
//! loop of the caller's run it.
//!
//! | file | what it has |
//! | --- | --- |
//! | `buffer`, `undo`, `kill` | the line, the point, the mark; the changes of a line; the kill ring |
//! | `command` | the names of the commands |
//! | `keys`, `keymap` | keys in the notation of init files, and what they are bound to |
//! | `variables`, `inputrc` | the variables, and the init files that set them and bind keys |
//! | `history` | the lines before, and the files that keep them |
//! | `machine` | keys to commands, and the commands |
//! | `terminal` | the line is read from a terminal, which is given back whatever happens |
//! | `complete` | completers, candidates, names of files, lists in columns |
//! | `width` | columns of text |
//! | `render` | what to write so that a terminal shows prompt and line |
//! | `editor`, `hooks` | the face: configuration, hooks, Python's functions |

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
mod render;
mod terminal;
mod undo;
mod variables;
mod width;

pub use command::Command;
pub use complete::{Candidate, Completer, CompletionContext, CompletionKind, Filenames};
pub use editor::{Backend, Config, Editor, ReadOutcome, VERSION};
pub use history::{History, HistoryForm};
pub use hooks::Context;
pub use inputrc::InitError;
pub use keymap::{Binding, KeymapName};
pub use machine::{Step, Validation};
pub use terminal::{Printer, Terminal};
pub use variables::{BellStyle, EditingMode, SetError, Variables};
