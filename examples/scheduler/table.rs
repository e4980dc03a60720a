//! The share of each command: a table that a terminal redraws in place, and that is printed once at the end elsewhere.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use ossature::sys::tty::window_size;

use crate::task::Task;

/// The time between two drawings of the table.
const PAUSE: Duration = Duration::from_millis(200);

pub struct Table {
    /// The time of the last drawing; `None` where the output is not a terminal.
    drawn: Option<Instant>,
    lines: usize,
}

impl Table {
    pub fn new() -> Self {
        Self { drawn: io::stdout().is_terminal().then(Instant::now), lines: 0 }
    }

    /// Draws the table if the output is a terminal and it is time.
    pub fn show(&mut self, tasks: &[Task]) -> io::Result<()> {
        match self.drawn {
            Some(drawn) if drawn.elapsed() >= PAUSE => self.draw(tasks),
            _ => Ok(()),
        }
    }

    /// Draws the table.
    pub fn draw(&mut self, tasks: &[Task]) -> io::Result<()> {
        // A line that the terminal breaks would count twice when the cursor goes up.
        let width =
            self.drawn.and(window_size(io::stdout()).ok()).map_or(usize::MAX, |size| size.columns.max(40).into());
        let all: Duration = tasks.iter().map(|task| task.granted).sum();
        let mut text = String::new();
        if self.lines > 0 {
            text.push_str(&format!("\x1b[{}F\x1b[J", self.lines));
        }
        text.push_str(" share   granted      used  turns  missed  command\n");
        for task in tasks {
            let share = 100.0 * task.granted.as_secs_f64() / all.as_secs_f64().max(f64::MIN_POSITIVE);
            let used = task.used().map_or("      -".into(), |used| format!("{:6.2}s", used.as_secs_f64()));
            let end = task.exit.map_or(String::new(), |exit| format!("  [{exit}]"));
            let line = format!(
                "{share:5.1}%  {:7.2}s  {used}  {:5}  {:6}  {}{end}",
                task.granted.as_secs_f64(),
                task.turns,
                task.missed,
                task.command,
            );
            text.extend(line.chars().take(width).chain(['\n']));
        }
        self.lines = tasks.len() + 1;
        self.drawn = self.drawn.map(|_| Instant::now());
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }
}
