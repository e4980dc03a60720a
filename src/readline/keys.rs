//! Keys in the notation of init files, and as a terminal sends them: `\C-x\M-f` and `Control-Meta-f` to bytes, and
//! back.
//!
//! [`bytes`] and [`named_key`] read, [`notation`] writes. What they mean was observed of GNU readline 8.2.

/// The escape key, which begins the sequences of meta and of special keys.
pub(crate) const ESC: u8 = 0x1b;

/// The key that is named `DEL` and `Rubout`.
pub(crate) const DEL: u8 = 0x7f;

/// The names of single keys, in lower case.
const NAMES: &[(&str, u8)] = &[
    ("del", DEL),
    ("esc", ESC),
    ("escape", ESC),
    ("lfd", b'\n'),
    ("newline", b'\n'),
    ("ret", b'\r'),
    ("return", b'\r'),
    ("rubout", DEL),
    ("space", b' '),
    ("spc", b' '),
    ("tab", b'\t'),
];

/// Returns the character of a key with control; control and `?` are `DEL` in a key sequence.
const fn control(key: u8) -> u8 {
    key.to_ascii_uppercase() & 0x1f
}

/// Appends one key; with `convert_meta`, a key of the upper half becomes an escape and the key of the lower half.
fn push(key: u8, convert_meta: bool, keys: &mut Vec<u8>) {
    if convert_meta && key >= 0x80 {
        keys.extend([ESC, key & 0x7f]);
    } else {
        keys.push(key);
    }
}

/// Converts a key sequence or macro in its quoted form, without the quotes, to bytes. The escapes are `\C-x`, `\M-a`,
/// `\e`, `\\`, `\"`, `\'`, `\a`, `\b`, `\d`, `\f`, `\n`, `\r`, `\t`, `\v`, `\nnn` in octal, and `\xHH`. A backslash
/// before another character is dropped.
#[doc(alias = "rl_translate_keyseq")]
pub(crate) fn bytes(text: &[u8], convert_meta: bool) -> Vec<u8> {
    let mut keys = Vec::with_capacity(text.len());
    let (mut controlled, mut meta) = (false, false);
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        let key = match (first, after) {
            (b'\\', [b'C', b'-', after @ ..]) => {
                (controlled, rest) = (true, after);
                if !after.is_empty() {
                    continue;
                }
                0 // control of nothing
            }
            (b'\\', [b'M', b'-', after @ ..]) => {
                (meta, rest) = (true, after);
                if !after.is_empty() {
                    continue;
                }
                0
            }
            (b'\\', [_, ..]) => {
                let (key, length) = escaped(after);
                rest = &after[length..];
                key
            }
            _ => first,
        };
        let key = match key {
            b'?' if controlled => DEL,
            key if controlled => control(key),
            key => key,
        };
        push(if meta { key | 0x80 } else { key }, convert_meta, &mut keys);
        (controlled, meta) = (false, false);
    }
    keys
}

/// Decodes the escape after a backslash, which is not empty: the key, and the number of its bytes.
fn escaped(after: &[u8]) -> (u8, usize) {
    let digits = |from: usize, most: usize, radix: u32| {
        let digits = after[from..].iter().take(most).map_while(|&byte| char::from(byte).to_digit(radix));
        digits.fold((0_u32, from), |(value, length), digit| (value * radix + digit, length + 1))
    };
    let (key, length) = match after[0] {
        b'a' => (7, 1),
        b'b' => (8, 1),
        b'd' => (u32::from(DEL), 1),
        b'e' => (u32::from(ESC), 1),
        b'f' => (12, 1),
        b'n' => (10, 1),
        b'r' => (13, 1),
        b't' => (9, 1),
        b'v' => (11, 1),
        b'0'..=b'7' => digits(0, 3, 8),
        b'x' if after.get(1).is_some_and(u8::is_ascii_hexdigit) => digits(1, 2, 16),
        other => (u32::from(other), 1),
    };
    (key as u8, length) // `\400` is one byte as well: its lower eight bits
}

/// Converts a key in its unquoted form to bytes: `Control-k`, `C-Meta-rubout`, `TAB`, `x`. Names and modifiers may be
/// in either case; of another word only the first byte counts. `None` if the text before the last `-` has no modifier
/// in it.
pub(crate) fn named_key(name: &[u8], convert_meta: bool) -> Option<Vec<u8>> {
    let lower = name.to_ascii_lowercase();
    let has = |modifier: &[u8]| lower.windows(modifier.len()).any(|window| window == modifier);
    let controlled = has(b"control-") || has(b"c-");
    let meta = has(b"meta-") || has(b"m-");
    let start = match lower.iter().rposition(|&byte| byte == b'-') {
        Some(_) if !controlled && !meta => return None,
        Some(dash) => dash + 1,
        None => 0,
    };
    let word = &lower[start..];
    let known = NAMES.iter().find(|(known, _)| known.as_bytes() == word);
    let mut key = known.map_or_else(|| name.get(start).copied().unwrap_or(0), |&(_, key)| key);
    if controlled {
        key = control(key);
    }
    let mut keys = Vec::new();
    push(if meta { key | 0x80 } else { key }, convert_meta, &mut keys);
    Some(keys)
}

/// Writes keys in an init file's notation between quotes, so that [`bytes`] reads the same keys. With `convert_meta` an
/// escape before another key is written as `\M-`.
pub(crate) fn notation(keys: &[u8], convert_meta: bool, out: &mut Vec<u8>) {
    for (n, &key) in keys.iter().enumerate() {
        match key {
            ESC if convert_meta && n + 1 < keys.len() => out.extend(b"\\M-"),
            ESC => out.extend(b"\\e"),
            DEL => out.extend(b"\\C-?"),
            b'"' | b'\\' => out.extend([b'\\', key]),
            0x1c => out.extend(b"\\C-\\\\"),
            0..0x20 => out.extend([b'\\', b'C', b'-', (key | 0x40).to_ascii_lowercase()]),
            0x20..0x7f => out.push(key),
            _ => out.extend(format!("\\{key:o}").into_bytes()),
        }
    }
}

/// Writes a macro's text as [`notation`] does, but leaves UTF-8 characters as they are.
pub(crate) fn macro_notation(text: &[u8], out: &mut Vec<u8>) {
    for chunk in text.utf8_chunks() {
        for character in chunk.valid().chars() {
            match u8::try_from(character).ok().filter(u8::is_ascii) {
                Some(key) => notation(&[key], false, out),
                None => out.extend(character.encode_utf8(&mut [0; 4]).bytes()),
            }
        }
        notation(chunk.invalid(), false, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_keys_are_read_as_gnu_readline_reads_them() {
        let table: &[(&str, &[u8])] = &[
            (r"\C-x\C-y", b"\x18\x19"),
            (r"\M-x", b"\xf8"),
            (r"\M-\C-x", b"\x98"),
            (r"\C-\M-q", b"\x91"),
            (r"\C-?", b"\x7f"),
            (r"\C-@", b"\0"),
            (r"\e\e\e", b"\x1b\x1b\x1b"),
            (r"\101", b"A"),
            (r"\x41", b"A"),
            (r"\x4", b"\x04"),
            (r"\xzz", b"xzz"),
            (r"\8", b"8"),
            (r"\q", b"q"),
            (r"\a\b\d\f\n\r\t\v", b"\x07\x08\x7f\x0c\n\r\t\x0b"),
            (r#"\"\'\\"#, b"\"'\\"),
            (r"\1234", b"S4"),
            (r"\x4142", b"A42"),
            (r"\C-", b"\0"),
            (r"\M-", b"\x80"),
            (r"\C", b"C"),
            (r"\C-\e", b"\x1b"),
            (r"\C-\101", b"\x01"),
            (r"\M-\101", b"\xc1"),
            (r"\C-1", b"\x11"),
            (r"\400", b"\0"),
            (r"\C-\M-\C-x", b"\x98"),
            (r"a\", b"a\\"),
            ("\u{e9}", b"\xc3\xa9"),
        ];
        for (text, keys) in table {
            assert_eq!(bytes(text.as_bytes(), false), *keys, "{text}");
        }
    }

    #[test]
    fn convert_meta_makes_an_escape_of_the_eighth_bit() {
        let table: &[(&str, &[u8])] = &[
            (r"\M-x", b"\x1bx"),
            (r"\M-\C-b", b"\x1b\x02"),
            (r"\C-\M-b", b"\x1b\x02"),
            (r"\M-\e", b"\x1b\x1b"),
            (r"\x41\xe9", b"A\x1bi"),
            (r"\M-ab", b"\x1bab"),
            ("\u{e9}", b"\x1bC\x1b)"),
        ];
        for (text, keys) in table {
            assert_eq!(bytes(text.as_bytes(), true), *keys, "{text}");
        }
        assert_eq!(named_key(b"M-SPC", true).unwrap(), b"\x1b ");
        assert_eq!(named_key("\u{e9}".as_bytes(), true).unwrap(), b"\x1bC");
    }

    #[test]
    fn named_keys_are_read_as_gnu_readline_reads_them() {
        let table: &[(&str, Option<&[u8]>)] = &[
            ("Control-k", Some(b"\x0b")),
            ("C-Meta-z", Some(b"\x9a")),
            ("M-a", Some(b"\xe1")),
            ("M-A", Some(b"\xc1")),
            ("Meta-Rubout", Some(b"\xff")),
            ("Rubout", Some(b"\x7f")),
            ("ESCAPE", Some(b"\x1b")),
            ("Ret", Some(b"\r")),
            ("LFD", Some(b"\n")),
            ("SPC", Some(b" ")),
            ("tab", Some(b"\t")),
            ("xyz", Some(b"x")),
            ("RETURNS", Some(b"R")),
            ("C-", Some(b"\0")),
            ("C--", Some(b"\0")),
            ("M-", Some(b"\x80")),
            ("C-?", Some(b"\x1f")),
            ("C-DEL", Some(b"\x1f")),
            ("C-1", Some(b"\x11")),
            ("Meta-a-b", Some(b"\xe2")),
            (r"\C-z", Some(b"\x1a")),
            (r"\C-\M-z", Some(b"\x9a")),
            ("foo-C-y", Some(b"\x19")),
            ("a-b", None),
            ("-", None),
            ("Contro-y", None),
        ];
        for (text, keys) in table {
            assert_eq!(named_key(text.as_bytes(), false).as_deref(), *keys, "{text}");
        }
    }

    #[test]
    fn every_key_survives_the_way_into_its_notation_and_back() {
        for first in 0..=255 {
            for second in [0, ESC, b'-', b'\\', b'"', DEL, 0xc3, b'7', b'a'] {
                let (keys, mut text) = ([first, second], Vec::new());
                notation(&keys, false, &mut text);
                assert_eq!(bytes(&text, false), keys, "{}", String::from_utf8_lossy(&text));
                text.clear();
                macro_notation(&keys, &mut text);
                assert_eq!(bytes(&text, false), keys, "{}", String::from_utf8_lossy(&text));
            }
        }
    }
}
