//! Completion of names and of the names inside them, `object.attribute.method(`, over a [`Namespace`] of the program's
//! own. Python's `rlcompleter`.
//!
//! ```
//! use std::collections::BTreeMap;
//! use ossature::rlcompleter::{Callable, Completer, Namespace};
//!
//! let methods = ["balance", "withdraw"].map(|name| (name.to_owned(), Callable::new()));
//! let objects = BTreeMap::from([("account".to_owned(), BTreeMap::from(methods))]);
//! let mut completer = Completer::new(objects);
//! assert_eq!(completer.global_matches("ac"), ["account"]);
//! assert_eq!(completer.attr_matches("account.w"), ["account.withdraw("]);
//! ```
//!
//! In Python the import installs the completer. Here [`install`] does. Nothing is evaluated: a completer asks the
//! namespace for names, so no completion runs code of an object.
//!
//! | file | contents |
//! | --- | --- |
//! | `namespace` | the types that contain names: maps, references, functions |
//! | `json` | a `serde_json::Value` as a namespace, by the feature `serde_json` |

use std::collections::HashSet;

use crate::readline::{Candidate, CompletionContext, Editor};

#[cfg(feature = "serde_json")]
mod json;
mod namespace;

pub use namespace::{Callable, Kind, Namespace, Opaque, Symbol};

/// A keyword of the language that is not in the namespace, and the text to append after it: a blank or a colon, or
/// nothing. See the example of [`Completer`].
pub type Keyword = (&'static str, &'static str);

/// The keywords of Python 3.13, then its soft keywords, each with the text that CPython appends.
pub const PYTHON_KEYWORDS: &[Keyword] = &[
    ("False", ""),
    ("None", ""),
    ("True", ""),
    ("and", " "),
    ("as", " "),
    ("assert", " "),
    ("async", " "),
    ("await", " "),
    ("break", ""),
    ("class", " "),
    ("continue", ""),
    ("def", " "),
    ("del", " "),
    ("elif", " "),
    ("else", ""),
    ("except", " "),
    ("finally", ":"),
    ("for", " "),
    ("from", " "),
    ("global", " "),
    ("if", " "),
    ("import", " "),
    ("in", " "),
    ("is", " "),
    ("lambda", " "),
    ("nonlocal", " "),
    ("not", " "),
    ("or", " "),
    ("pass", ""),
    ("raise", " "),
    ("return", " "),
    ("try", ":"),
    ("while", " "),
    ("with", " "),
    ("yield", " "),
    ("_", ""),
    ("case", " "),
    ("match", " "),
    ("type", " "),
];

/// The name that is never offered, as in Python.
const HIDDEN: &str = "__builtins__";

/// A completer for the names of a namespace, and for built-in names and keywords.
///
/// Without more words there are no keywords: [`with_keywords`](Self::with_keywords) takes a language's table, such as
/// [`PYTHON_KEYWORDS`].
///
/// ```
/// use std::collections::BTreeMap;
/// use ossature::readline::Editor;
/// use ossature::rlcompleter::{Callable, Completer, Keyword, Kind, Opaque, Symbol, install};
///
/// const WORDS: &[Keyword] = &[("print", " ")];
/// let numbers = BTreeMap::from([("price".to_owned(), Opaque(3))]);
/// let builtins = [Symbol::new("prime", Kind::Callable)];
/// let mut completer = Completer::new(&numbers).with_keywords(WORDS).with_builtins(builtins);
/// assert_eq!(completer.matches_of("pri"), ["print ", "price", "prime("]);
/// assert_eq!(completer.complete_state("pri", 0).as_deref(), Some("print "));
/// assert_eq!(completer.complete_state("pri", 1).as_deref(), Some("price"));
/// assert_eq!(completer.namespace().len(), 1);
///
/// let mut editor = Editor::new();
/// install(&mut editor, BTreeMap::from([("quit".to_owned(), Callable::without_arguments())]));
/// ```
#[derive(Debug)]
pub struct Completer<N> {
    namespace: N,
    builtins: Vec<Symbol>,
    keywords: Vec<Keyword>,
    matches: Vec<String>,
}

impl<N: Namespace> Completer<N> {
    /// Makes a completer for the names in the namespace. Each completion reads the namespace again.
    pub fn new(namespace: N) -> Self {
        Self { namespace, builtins: Vec::new(), keywords: Vec::new(), matches: Vec::new() }
    }

    /// Offers these keywords before the names, in this order.
    #[must_use]
    pub fn with_keywords(mut self, keywords: &[Keyword]) -> Self {
        self.keywords = keywords.to_vec();
        self
    }

    /// Offers these built-in names after the names of the namespace, unless the namespace has the same name.
    #[must_use]
    pub fn with_builtins(mut self, builtins: impl IntoIterator<Item = Symbol>) -> Self {
        self.builtins = builtins.into_iter().collect();
        self
    }

    /// The namespace.
    pub fn namespace(&self) -> &N {
        &self.namespace
    }

    /// Returns the match with the number `state`, which counts from 0, and `None` after the last: Python's form of a
    /// completer. The number 0 looks the matches up. The only match of blank text is a tab.
    #[doc(alias = "complete")]
    pub fn complete_state(&mut self, text: &str, state: usize) -> Option<String> {
        if state == 0 {
            self.matches = self.matches_of(text);
        }
        self.matches.get(state).cloned()
    }

    /// Returns every match of the text: a tab for blank text, the names inside an object for text with a dot, or names.
    pub fn matches_of(&self, text: &str) -> Vec<String> {
        if text.trim().is_empty() {
            vec![String::from("\t")]
        } else if text.contains('.') {
            self.attr_matches(text)
        } else {
            self.global_matches(text)
        }
    }

    /// Returns keywords, names of the namespace and built-in names that begin with the text, in this order. A duplicate
    /// is returned only once, at its first place. The case matters.
    ///
    /// A name that can be called ends with `(`, or with `()` if it takes no arguments.
    pub fn global_matches(&self, text: &str) -> Vec<String> {
        let (mut matches, mut seen) = (Vec::new(), HashSet::from([HIDDEN.to_owned()]));
        for (word, suffix) in self.keywords.iter().filter(|(word, _)| word.starts_with(text)) {
            seen.insert((*word).to_owned());
            matches.push(format!("{word}{suffix}"));
        }
        for symbol in self.namespace.symbols().iter().chain(&self.builtins) {
            if symbol.name().starts_with(text) && seen.insert(symbol.name().to_owned()) {
                matches.push(symbol.spelled());
            }
        }
        matches
    }

    /// Returns the names inside the object before the last dot that begin with the part after this dot; sorted, each
    /// with the whole text before it. A text that begins with anything but names and dots has no matches, nor does a
    /// text that names no object.
    ///
    /// Names with a leading underscore are offered if the part after the dot has one, or if there are no others. The
    /// same holds for two underscores.
    pub fn attr_matches(&self, text: &str) -> Vec<String> {
        let Some((path, part)) = split(text) else { return Vec::new() };
        let symbols = self.inside(&path.split('.').collect::<Vec<_>>()).unwrap_or_default();
        let mut hidden = match part {
            "" => Some("_"),
            "_" => Some("__"),
            _ => None,
        };
        loop {
            let offered = |symbol: &&Symbol| {
                let name = symbol.name();
                name != HIDDEN && name.starts_with(part) && !hidden.is_some_and(|hidden| name.starts_with(hidden))
            };
            let mut matches: Vec<_> =
                symbols.iter().filter(offered).map(|symbol| format!("{path}.{}", symbol.spelled())).collect();
            hidden = match hidden {
                Some("_") if matches.is_empty() => Some("__"),
                Some(_) if matches.is_empty() => None,
                _ => {
                    matches.sort();
                    matches.dedup();
                    return matches;
                }
            };
        }
    }

    /// Returns the symbols inside the object with this path.
    fn inside(&self, path: &[&str]) -> Option<Vec<Symbol>> {
        let (first, rest) = path.split_first()?;
        let inside = self.namespace.inside(first)?;
        walk(&*inside, rest)
    }
}

fn walk(at: &dyn Namespace, path: &[&str]) -> Option<Vec<Symbol>> {
    match path.split_first() {
        None => Some(at.symbols()),
        Some((first, rest)) => walk(&*at.inside(first)?, rest),
    }
}

/// Splits the longest beginning of the form `name.name.part`: into the text before its last dot, and the text after the
/// dot.
fn split(text: &str) -> Option<(&str, &str)> {
    let word = |from: usize| {
        let rest = &text[from..];
        from + rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(rest.len())
    };
    let (mut end, mut dot) = (word(0), None);
    while end > dot.map_or(0, |dot| dot + 1) && text[end..].starts_with('.') {
        dot = Some(end);
        end = word(end + 1);
    }
    dot.map(|dot| (&text[..dot], &text[dot + 1..end]))
}

impl<N: Namespace> crate::readline::Completer for Completer<N> {
    fn complete(&mut self, word: &str, _: &CompletionContext<'_>) -> Vec<Candidate> {
        self.matches_of(word).into_iter().map(Candidate::new).collect()
    }
}

/// Sets a completer for the names in the namespace, and the delimiters of Python, which separate words at any character
/// except letters, digits, `_` and `.`. [`Editor::clear_completer`] removes the completer.
///
/// See the example of [`Completer`].
pub fn install(editor: &mut Editor, namespace: impl Namespace + Send + 'static) {
    editor.set_completer(Completer::new(namespace));
}
