//! Words in quotes, and file names that need quotes.

use std::ops::Range;

/// The quotes that completion closes if one is directly before the word, even if the program sets no quotes.
const BASIC: &[u8] = b"\"'";

/// The characters that quote words, and the characters that make a file name need quotes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Quoting {
    /// GNU readline's `rl_completer_quote_characters`.
    pub(crate) quotes: Vec<u8>,
    /// GNU readline's `rl_filename_quote_characters`.
    pub(crate) quoted: Vec<u8>,
}

/// The word that is completed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    /// The range of the word in the line, without its quote.
    pub(crate) range: Range<usize>,
    /// The open quote before the word: one of [`Quoting::quotes`].
    open: Option<u8>,
    /// The quote before the word that is only a delimiter.
    delimiter: Option<u8>,
}

/// The replacement of a word: its start, its text, and the quote that closes it if nothing else can follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Replacement {
    pub(crate) start: usize,
    pub(crate) text: Vec<u8>,
    pub(crate) close: Option<u8>,
}

impl Word {
    /// Finds the word before the point: after the open quote, or else after the last delimiter.
    pub(crate) fn before(line: &[u8], point: usize, delimiters: &[u8], quoting: &Quoting) -> Self {
        if let Some((open, start)) = quoting.open_quote(&line[..point]) {
            return Self { range: start..point, open: Some(open), delimiter: None };
        }
        let start = line[..point].iter().rposition(|byte| delimiters.contains(byte)).map_or(0, |at| at + 1);
        let before = start.checked_sub(1).map(|at| line[at]);
        let delimiter = before.filter(|byte| start < point && BASIC.contains(byte));
        Self { range: start..point, open: None, delimiter }
    }

    /// Returns the text to insert in place of this word.
    pub(crate) fn replacement(&self, text: &[u8], is_file: bool, quoting: &Quoting) -> Replacement {
        let needs_quotes = is_file && text.iter().any(|byte| quoting.quoted.contains(byte));
        let quote = quoting.quotes.first().copied().filter(|_| needs_quotes).or(self.open);
        Replacement {
            start: self.range.start - usize::from(self.open.is_some()),
            text: quote.into_iter().chain(text.iter().copied()).collect(),
            close: quote.or(self.delimiter),
        }
    }
}

impl Quoting {
    /// Returns the quote that is open at the end of a text, and where the quoted part begins. A backslash escapes the
    /// next character, but not within `'`.
    fn open_quote(&self, text: &[u8]) -> Option<(u8, usize)> {
        let mut open = None;
        let mut bytes = text.iter().copied().enumerate();
        while let Some((at, byte)) = bytes.next() {
            match open {
                _ if self.quotes.is_empty() => return None,
                Some((b'\'', _)) if byte != b'\'' => {}
                _ if byte == b'\\' => drop(bytes.next()),
                Some((quote, _)) if byte == quote => open = None,
                None if self.quotes.contains(&byte) => open = Some((byte, at + 1)),
                _ => {}
            }
        }
        open
    }
}

#[cfg(test)]
mod tests {
    use super::{Quoting, Word};

    const DELIMITERS: &[u8] = b" \"'(";

    fn quoting() -> Quoting {
        Quoting { quotes: b"\"'".to_vec(), quoted: b" \"'".to_vec() }
    }

    fn word(line: &str, quoting: &Quoting) -> (String, Option<u8>, Option<u8>) {
        let word = Word::before(line.as_bytes(), line.len(), DELIMITERS, quoting);
        (line[word.range].to_owned(), word.open, word.delimiter)
    }

    #[test]
    fn a_word_begins_behind_an_open_quote_or_a_delimiter() {
        let (none, all) = (Quoting::default(), quoting());
        assert_eq!(word("a b c", &none), ("c".into(), None, None));
        assert_eq!(word("f(\"b c", &none), ("c".into(), None, None));
        assert_eq!(word("f(\"b", &none), ("b".into(), None, Some(b'"')));
        assert_eq!(word("f(\"", &none), ("".into(), None, None));
        assert_eq!(word("f(\"b c", &all), ("b c".into(), Some(b'"'), None));
        assert_eq!(word("\"b c\" d", &all), ("d".into(), None, None));
        assert_eq!(word("\"b \\\" d", &all), ("b \\\" d".into(), Some(b'"'), None));
        assert_eq!(word("'b \\' d", &all), ("d".into(), None, None));
        assert_eq!(word("\\\"b d", &all), ("d".into(), None, None));
        assert_eq!(word("\"it's", &all), ("it's".into(), Some(b'"'), None));
    }

    #[test]
    fn a_name_that_needs_quotes_gets_them() {
        let all = quoting();
        let put = |line: &str, text: &str| {
            let word = Word::before(line.as_bytes(), line.len(), DELIMITERS, &all);
            let put = word.replacement(text.as_bytes(), true, &all);
            (format!("{}{}", &line[..put.start], String::from_utf8(put.text).unwrap()), put.close)
        };
        assert_eq!(put("x tw", "two words"), ("x \"two words".into(), Some(b'"')));
        assert_eq!(put("x pl", "plain"), ("x plain".into(), None));
        assert_eq!(put("x \"pl", "plain"), ("x \"plain".into(), Some(b'"')));
        assert_eq!(put("x 'two w", "two words"), ("x \"two words".into(), Some(b'"')));
        assert_eq!(put("x 'pl", "plain"), ("x 'plain".into(), Some(b'\'')));
        let word = Word::before(b"tw", 2, DELIMITERS, &all);
        assert_eq!(word.replacement(b"two words", false, &all).text, b"two words", "not a file name");
    }
}
