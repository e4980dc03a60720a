//! The line editor from outside: a file for each idea.

#[path = "readline/history.rs"]
mod history;
