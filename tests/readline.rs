//! The line editor from outside: a file for each idea.
