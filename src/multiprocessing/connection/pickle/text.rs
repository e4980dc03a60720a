//! Reading the strings of protocol 0: lines of text with escapes.

/// Decodes a Python 2 string literal as `repr` writes it: within quotes, with backslash escapes.
pub(super) fn literal(line: &[u8]) -> Option<Vec<u8>> {
    let inner = match line {
        [b'\'', inner @ .., b'\''] | [b'"', inner @ .., b'"'] => inner,
        _ => return None,
    };
    let mut bytes = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        let [escape, after @ ..] = rest else { return None };
        rest = after;
        match escape {
            b'\\' | b'\'' | b'"' => bytes.push(*escape),
            b'a' => bytes.push(7),
            b'b' => bytes.push(8),
            b't' => bytes.push(b'\t'),
            b'n' => bytes.push(b'\n'),
            b'v' => bytes.push(11),
            b'f' => bytes.push(12),
            b'r' => bytes.push(b'\r'),
            b'x' => {
                let (digits, after) = rest.split_at_checked(2)?;
                bytes.push(number(digits, 16)? as u8); // two digits
                rest = after;
            }
            b'0'..=b'7' => {
                let more = rest.iter().take(2).take_while(|c| (b'0'..=b'7').contains(c)).count();
                let (digits, after) = rest.split_at_checked(more)?;
                let value = digits.iter().fold(u32::from(escape - b'0'), |sum, c| sum * 8 + u32::from(c - b'0'));
                bytes.push(value as u8); // Python, too, lets what is above 255 go
                rest = after;
            }
            // Python keeps an unknown escape unchanged.
            _ => bytes.extend([b'\\', *escape]),
        }
    }
    Some(bytes)
}

/// Decodes text in the raw-unicode-escape form: Latin-1, with `\uXXXX` and `\UXXXXXXXX` for the rest.
///
/// Two escapes that are a surrogate pair make one character; half a pair is not a text.
pub(super) fn raw_unicode(line: &[u8]) -> Option<String> {
    let mut text = String::with_capacity(line.len());
    let mut rest = line;
    while let [first, after @ ..] = rest {
        rest = after;
        match (first, after) {
            (b'\\', [b'u' | b'U', ..]) => {
                let (code, after) = escape(after)?;
                rest = after;
                let whole = match code {
                    0xd800..=0xdbff => {
                        let (low @ 0xdc00..=0xdfff, after) = escape(after.strip_prefix(b"\\")?)? else { return None };
                        rest = after;
                        0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00)
                    }
                    code => code,
                };
                text.push(char::from_u32(whole)?);
            }
            // Python takes what follows a backslash with it, so the second of two begins no escape.
            (b'\\', [other, after @ ..]) => {
                text.extend(['\\', char::from(*other)]);
                rest = after;
            }
            _ => text.push(char::from(*first)),
        }
    }
    Some(text)
}

/// Returns the code of an escape that begins at its letter, and the bytes after the escape.
fn escape(rest: &[u8]) -> Option<(u32, &[u8])> {
    let (letter, after) = rest.split_first()?;
    let length = match letter {
        b'u' => 4,
        b'U' => 8,
        _ => return None,
    };
    let (digits, after) = after.split_at_checked(length)?;
    Some((number(digits, 16)?, after))
}

/// Parses `digits`, all of them, without a sign.
pub(super) fn number(digits: &[u8], radix: u32) -> Option<u32> {
    if digits.is_empty() || !digits.iter().all(|digit| char::from(*digit).is_digit(radix)) {
        return None;
    }
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, radix).ok()
}
