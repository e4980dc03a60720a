//! Values in the notation of a call and of shown results: Python's literals.

use ossature::multiprocessing::connection::pickle::Value;

/// The maximum depth of nested lists.
const DEEPEST: usize = 32;

/// Parses `name(value, value)` into the name and the values.
pub fn call(text: &str) -> Result<(&str, Vec<Value>), String> {
    let (name, rest) = text.split_once('(').ok_or_else(|| format!("{text}: not a call; parentheses are missing"))?;
    let mut reader = Reader { rest };
    let values = reader.values(')', 0)?;
    match reader.rest.trim() {
        "" => Ok((name.trim(), values)),
        more => Err(format!("{more}: unexpected text after the call")),
    }
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn skip(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn takes(&mut self, sign: char) -> bool {
        self.skip();
        let taken = self.rest.strip_prefix(sign);
        self.rest = taken.unwrap_or(self.rest);
        taken.is_some()
    }

    /// Parses values separated by commas, up to the closing character.
    fn values(&mut self, close: char, depth: usize) -> Result<Vec<Value>, String> {
        let mut values = Vec::new();
        while !self.takes(close) {
            if !values.is_empty() && !self.takes(',') {
                return Err(format!("{}: a comma or {close} is missing", self.rest));
            }
            values.push(self.value(depth)?);
        }
        Ok(values)
    }

    fn value(&mut self, depth: usize) -> Result<Value, String> {
        if depth > DEEPEST {
            return Err(format!("lists are nested more than {DEEPEST} deep"));
        }
        if self.takes('[') {
            return self.values(']', depth + 1).map(Value::List);
        }
        for quote in ['"', '\''] {
            if self.takes(quote) {
                return self.text(quote).map(Value::Text);
            }
        }
        let end = self.rest.find([',', ')', ']']).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        match word.trim() {
            "True" | "true" => Ok(Value::Bool(true)),
            "False" | "false" => Ok(Value::Bool(false)),
            "None" | "null" => Ok(Value::None),
            word => match (word.parse(), word.parse()) {
                (Ok(number), _) => Ok(Value::Int(number)),
                (_, Ok(number)) => Ok(Value::Float(number)),
                _ => Err(format!("{word:?} is not a number, a text in quotes, True, False, None or a list")),
            },
        }
    }

    fn text(&mut self, quote: char) -> Result<String, String> {
        let (mut text, mut letters) = (String::new(), self.rest.char_indices());
        while let Some((at, letter)) = letters.next() {
            match letter {
                '\\' => match letters.next().map(|(_, letter)| letter) {
                    Some('n') => text.push('\n'),
                    Some('t') => text.push('\t'),
                    other => text.extend(other),
                },
                letter if letter == quote => {
                    self.rest = &self.rest[at + letter.len_utf8()..];
                    return Ok(text);
                }
                letter => text.push(letter),
            }
        }
        Err(format!("{}: the closing quote is missing", self.rest))
    }
}

/// Formats a value as Python does, if [`call`] can read it; any other value as Rust does.
pub fn shown(value: &Value) -> String {
    let all = |items: &[Value]| items.iter().map(shown).collect::<Vec<_>>().join(", ");
    match value {
        Value::None => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => format!("{number:?}"),
        Value::Text(text) => format!("{text:?}"),
        Value::List(items) => format!("[{}]", all(items)),
        Value::Tuple(items) => format!("({})", all(items)),
        Value::Dict(pairs) => {
            let pairs = pairs.iter().map(|(key, value)| format!("{}: {}", shown(key), shown(value)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
        }
        other => format!("{other:?}"),
    }
}
