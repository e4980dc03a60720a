//! The directives `$if`, `$else` and `$endif`, which select the lines that take effect.

use crate::readline::variables::Variables;

/// The version of GNU readline that `$if version` compares with.
const VERSION: u32 = 82;

/// The open conditions, from the outermost.
#[derive(Clone, Debug, Default)]
pub(super) struct Conditions {
    /// Whether lines are skipped now.
    skips: bool,
    /// For each open condition, whether the lines around it are skipped.
    around: Vec<bool>,
}

impl Conditions {
    pub(super) fn skips(&self) -> bool {
        self.skips
    }

    pub(super) fn depth(&self) -> usize {
        self.around.len()
    }

    pub(super) fn open(&mut self, holds: bool) {
        self.around.push(self.skips);
        self.skips |= !holds;
    }

    /// Executes `$else`, in a file that opened the conditions beyond `base`.
    pub(super) fn otherwise(&mut self, base: usize) -> Result<(), String> {
        if self.around.len() <= base {
            return Err(String::from("$else without $if"));
        }
        if !self.around.contains(&true) {
            self.skips = !self.skips;
        }
        Ok(())
    }

    /// Executes `$endif`, in a file that opened the conditions beyond `base`.
    pub(super) fn close(&mut self, base: usize) -> Result<(), String> {
        if self.around.len() <= base {
            return Err(String::from("$endif without $if"));
        }
        self.skips = self.around.pop().unwrap_or(false);
        Ok(())
    }

    /// Closes the conditions that a file left open; returns how many.
    pub(super) fn close_down_to(&mut self, base: usize) -> usize {
        let open = self.around.len().saturating_sub(base);
        if let Some(&skips) = self.around.get(base) {
            self.skips = skips;
            self.around.truncate(base);
        }
        open
    }
}

/// Returns the text after `start` if the text begins with `start`, ignoring case.
fn after<'a>(text: &'a [u8], start: &[u8]) -> Option<&'a [u8]> {
    let (head, rest) = text.split_at_checked(start.len())?;
    head.eq_ignore_ascii_case(start).then_some(rest)
}

/// The facts that a condition tests.
pub(super) struct Facts<'s> {
    pub(super) variables: &'s Variables,
    /// The name of the application.
    pub(super) application: &'s str,
    /// The value of TERM.
    pub(super) terminal: &'s str,
}

/// Whether the condition after `$if` holds.
pub(super) fn holds(test: &[u8], facts: &Facts<'_>) -> Result<bool, String> {
    let variables = facts.variables;
    if let Some(rest) = after(test, b"term=") {
        let (name, terminal) = (word(rest).0, facts.terminal.as_bytes());
        let family = terminal.split(|&byte| byte == b'-').next().unwrap_or_default();
        return Ok(name.eq_ignore_ascii_case(terminal) || name.eq_ignore_ascii_case(family));
    }
    if let Some(rest) = after(test, b"mode=") {
        let mode: &[u8] = if variables.is_vi() { b"vi" } else { b"emacs" };
        return Ok(word(rest).0.eq_ignore_ascii_case(mode));
    }
    if let Some(rest) = after(test, b"version") {
        return version(rest.trim_ascii());
    }
    let (name, rest) = word(test);
    if !name.is_empty() && name.eq_ignore_ascii_case(facts.application.as_bytes()) {
        return Ok(true);
    }
    let Some(value) = std::str::from_utf8(name).ok().and_then(|name| variables.get(name)) else { return Ok(false) };
    let (equal, operand) = match rest {
        [b'!', b'=', operand @ ..] => (false, operand),
        [b'=', b'=', operand @ ..] | [b'=', operand @ ..] => (true, operand),
        _ => return Err(format!("$if {}: `==` or `!=` must follow the variable", show(test))),
    };
    match word(operand.trim_ascii_start()).0 {
        b"" => Err(format!("$if {}: a value must follow", show(test))),
        wanted => Ok(value.eq_ignore_ascii_case(wanted) == equal),
    }
}

/// Tests `>= 8.2` and the like against the version whose behaviour the editor follows. As in GNU readline, a version
/// counts as ten times the major number plus the minor number, so `8.10` equals `9.0`.
fn version(test: &[u8]) -> Result<bool, String> {
    let wrong = |what: &str| Err(format!("$if version {}: {what}", show(test)));
    type Compare = fn(&u32, &u32) -> bool;
    let (compare, number): (Compare, &[u8]) = match test {
        [b'<', b'=', rest @ ..] => (u32::le, rest),
        [b'>', b'=', rest @ ..] => (u32::ge, rest),
        [b'!', b'=', rest @ ..] => (u32::ne, rest),
        [b'=', b'=', rest @ ..] | [b'=', rest @ ..] => (u32::eq, rest),
        [b'<', rest @ ..] => (u32::lt, rest),
        [b'>', rest @ ..] => (u32::gt, rest),
        _ => return wrong("one of = == != < > <= >= must follow"),
    };
    let number = number.trim_ascii_start();
    let (major, rest) = digits(number);
    if rest.len() == number.len() {
        return wrong("a version like 8.2 must follow");
    }
    let (minor, rest) = rest.strip_prefix(b".").map_or((0, rest), digits);
    if !rest.is_empty() {
        return wrong("nothing may follow the version");
    }
    Ok(compare(&VERSION, &major.saturating_mul(10).saturating_add(minor)))
}

/// Returns the number at the beginning, 0 if there is none, and the rest.
fn digits(text: &[u8]) -> (u32, &[u8]) {
    let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number =
        text[..length].iter().fold(0_u32, |sum, &digit| sum.saturating_mul(10).saturating_add(u32::from(digit - b'0')));
    (number, &text[length..])
}

/// Returns the first word, and the rest after the blanks.
pub(super) fn word(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| matches!(byte, b' ' | b'\t')).unwrap_or(text.len());
    (&text[..end], text[end..].trim_ascii_start())
}

/// Shows bytes of a file in a message: at most a readable length.
pub(super) fn show(text: &[u8]) -> String {
    let cut = &text[..text.len().min(80)];
    format!("{}{}", cut.escape_ascii(), if cut.len() < text.len() { "..." } else { "" })
}
