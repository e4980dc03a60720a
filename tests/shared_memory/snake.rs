//! A running CPython that executes one line after the other.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use crate::harness::begin_anew;
use crate::peers::{Python, installed};

/// Runs each line of its input. It prints the value for `=` and an expression, and `ok` for any other line.
const PROGRAM: &str = "
import fcntl, os, struct, sys
from multiprocessing import resource_tracker, synchronize
from multiprocessing import get_context
from multiprocessing.shared_memory import SharedMemory, ShareableList
for line in sys.stdin:
    try:
        if line.startswith('='):
            print(repr(eval(line[1:])))
        else:
            exec(line)
            print('ok')
    except Exception as error:
        print('%s: %s' % (type(error).__name__, error))
    sys.stdout.flush()
";

/// A running CPython. Its error stream is kept until its end, and so is that of its resource tracker.
pub struct Snake {
    child: Child,
    tell: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    pub new: bool,
}

/// Runs a test with each CPython that has `multiprocessing.shared_memory`. Each run has the time limit of a test.
pub fn with_each(test: impl Fn(&Python)) {
    begin_anew();
    for python in installed().iter().filter(|python| python.version >= (3, 8, 0)) {
        begin_anew();
        test(python);
    }
}

impl Snake {
    pub fn start(python: &Python) -> Self {
        let mut command = python.command();
        command.args(["-B", "-c", PROGRAM]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self { tell: child.stdin.take(), child, answers, new: python.version >= (3, 13, 0) }
    }

    /// Sends one line, and does not wait for the reply.
    pub fn tell(&mut self, line: &str) {
        writeln!(self.tell.as_ref().unwrap(), "{line}").unwrap();
    }

    /// The reply to one line.
    pub fn ask(&mut self, line: &str) -> String {
        self.tell(line);
        self.hear()
    }

    /// The next reply.
    pub fn hear(&mut self) -> String {
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        answer.trim_end().to_owned()
    }

    /// Runs a statement, which must succeed.
    #[track_caller]
    pub fn run(&mut self, statement: &str) {
        assert_eq!(self.ask(statement), "ok", "{statement}");
    }

    /// The value of an expression.
    #[track_caller]
    pub fn value(&mut self, expression: &str) -> String {
        self.ask(&format!("={expression}"))
    }

    /// Attaches without registering the block at the resource tracker.
    #[track_caller]
    pub fn attach(&mut self, name: &str) {
        self.run(&format!("shm = SharedMemory('{name}')"));
        self.untrack("shm");
    }

    /// Removes a block of Python's from its resource tracker, as `track=False` does in 3.13.
    #[track_caller]
    pub fn untrack(&mut self, block: &str) {
        self.run(&format!("resource_tracker.unregister({block}._name, 'shared_memory')"));
        if self.new {
            self.run(&format!("{block}._track = False"));
        }
    }

    /// Lets the CPython end by itself. Returns what it and its resource tracker printed, once both have ended.
    pub fn end(mut self) -> String {
        drop(self.tell.take());
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(self.child.wait().unwrap().success(), "{said}");
        said
    }
}

impl Drop for Snake {
    fn drop(&mut self) {
        // Killed and reaped here; if that fails it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
