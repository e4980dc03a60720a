//! The line editor from outside: one file per topic.

#[path = "readline/completing.rs"]
mod completing;
#[path = "readline/emacs.rs"]
mod emacs;
#[path = "readline/filename.rs"]
mod filename;
#[path = "readline/history.rs"]
mod history;
#[path = "readline/hostile.rs"]
mod hostile;
#[path = "readline/inputrc.rs"]
mod inputrc;
#[path = "readline/loops.rs"]
mod loops;
#[path = "readline/panics.rs"]
mod panics;
#[path = "readline/random.rs"]
mod random;
#[path = "readline/reading.rs"]
mod reading;
#[path = "readline/recall.rs"]
mod recall;
#[path = "readline/settings.rs"]
mod settings;
#[path = "readline/signals.rs"]
mod signals;
#[path = "../sys/tests/it/support.rs"]
mod support;
#[path = "readline/suspend.rs"]
mod suspend;
#[path = "readline/table.rs"]
mod table;
#[path = "readline/terminal.rs"]
mod terminal;
#[path = "readline/typing.rs"]
mod typing;
#[path = "readline/variables.rs"]
mod variables;
#[path = "readline/vi.rs"]
mod vi;
