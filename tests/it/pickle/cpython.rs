//! Every installed CPython as the peer: it reads our pickles, and we read its pickles, in each protocol.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ossature::multiprocessing::connection::pickle::{Decoder, Encoder, OldStr, Value, encode};

/// The interpreters of a pyenv, and those in the search path.
pub(super) fn interpreters() -> Vec<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let root = std::env::var_os("PYENV_ROOT").map_or_else(|| home.join(".pyenv"), PathBuf::from);
    let versions = std::fs::read_dir(root.join("versions")).into_iter().flatten().flatten();
    let mut found: Vec<_> = versions.map(|version| version.path().join("bin/python")).collect();
    found.extend(["python3".into(), "python2".into()]);
    found.retain(|python| {
        Command::new(python)
            .arg("-V")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    });
    found.sort();
    found
}

/// Feeds the lines of `input` to `script`. Returns the lines that it printed.
fn ask(python: &Path, script: &str, input: String) -> Vec<String> {
    let mut child = Command::new(python)
        .args(["-c", &format!("{DESCRIBE}\n{script}")])
        .env("PYTHONHASHSEED", "0") // the same sets in the same order
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the interpreter starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    let feeder = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().expect("it can be waited for");
    assert!(output.status.success(), "{}: {}", python.display(), output.status);
    feeder.join().expect("the feeder does not panic").expect("the script reads all");
    String::from_utf8(output.stdout).expect("ASCII").lines().map(str::to_owned).collect()
}

/// Python code that describes a value in a line that does not depend on the order of sets and dicts.
const DESCRIBE: &str = r#"
import binascii, collections, pickle, struct, sys
text, binary = type(u""), type(b"")
ints = (int,) if sys.version_info > (3,) else (int, long)
def hexed(data):
    return binascii.hexlify(data).decode("ascii")
def describe(x):
    if x is None or isinstance(x, bool):
        return str(x)
    if isinstance(x, ints):
        return "int " + hexed(pickle.encode_long(x))
    if isinstance(x, float):
        return "float " + hexed(struct.pack(">d", x))
    if isinstance(x, complex):
        return "complex " + hexed(struct.pack(">dd", x.real, x.imag))
    if isinstance(x, text):
        return "str " + hexed(x.encode("utf-8"))
    if isinstance(x, binary):
        return "bytes " + hexed(x)
    if isinstance(x, bytearray):
        return "bytearray " + hexed(bytes(x))
    if isinstance(x, (list, tuple)):
        return type(x).__name__ + "(" + ",".join(map(describe, x)) + ")"
    if isinstance(x, (set, frozenset)):
        return type(x).__name__ + "(" + ",".join(sorted(map(describe, x))) + ")"
    return "dict(" + ",".join(sorted(describe(k) + ":" + describe(v) for k, v in x.items())) + ")"
"#;

/// The same description of our value.
pub(super) fn describe(value: &Value) -> String {
    let joined = |mut parts: Vec<String>, in_order: bool| {
        if !in_order {
            parts.sort();
        }
        parts.join(",")
    };
    let all = |items: &[Value]| items.iter().map(describe).collect::<Vec<_>>();
    let name = value.type_name();
    match value {
        Value::None => "None".into(),
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        Value::Int(number) => {
            let mut bytes = number.to_le_bytes().to_vec();
            // As few as can be, none for zero.
            while let [.., next, last] = bytes[..] {
                if !matches!((last, next >> 7), (0, 0) | (255, 1)) {
                    break;
                }
                bytes.pop();
            }
            if *number == 0 { "int ".into() } else { format!("int {}", hex(&bytes)) }
        }
        Value::BigInt(big) => format!("int {}", hex(big.as_le_bytes())),
        Value::Float(number) => format!("float {}", hex(&number.to_be_bytes())),
        Value::Complex(re, im) => format!("complex {}{}", hex(&re.to_be_bytes()), hex(&im.to_be_bytes())),
        Value::Text(text) => format!("str {}", hex(text.as_bytes())),
        Value::Bytes(bytes) | Value::ByteArray(bytes) => format!("{name} {}", hex(bytes)),
        Value::List(items) | Value::Tuple(items) => format!("{name}({})", joined(all(items), true)),
        Value::Set(items) | Value::FrozenSet(items) => format!("{name}({})", joined(all(items), false)),
        Value::Dict(pairs) => {
            let pairs = pairs.iter().map(|(key, value)| format!("{}:{}", describe(key), describe(value)));
            format!("dict({})", joined(pairs.collect(), false))
        }
        other => panic!("{other:?} is new to this test"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// Random values from one seed (splitmix64).
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn int(&mut self) -> Value {
        let bits = self.below(127) as u32;
        let number = i128::from(self.next()) << 64 | i128::from(self.next());
        Value::from(number >> bits)
    }

    fn text(&mut self) -> String {
        let planes = [0x20, 0x80, 0x100, 0x3000, 0x1_0000];
        let length = if self.below(20) == 0 { 300 } else { self.below(8) };
        let any = |random: &mut Self| {
            let plane = planes[random.below(5) as usize];
            char::from_u32(random.below(plane) as u32 + plane as u32).unwrap_or('\\')
        };
        (0..length).map(|_| any(self)).collect()
    }

    fn bytes(&mut self) -> Vec<u8> {
        let length = if self.below(20) == 0 { 300 } else { self.below(8) };
        (0..length).map(|_| self.next() as u8).collect()
    }

    /// A key that equals no other key, in any Python: in Python 2 text and bytes can be equal, and in both 1 and True
    /// are.
    fn key(&mut self, depth: u32) -> Value {
        match self.below(if depth == 0 { 3 } else { 5 }) {
            0 => self.int(),
            1 => Value::Text(format!("t{}", self.text())),
            2 => Value::Bytes([b"\xff".to_vec(), self.bytes()].concat()),
            3 => Value::Tuple(self.several(|random| random.key(depth - 1))),
            _ => Value::FrozenSet(
                self.distinct(|random| (random.key(depth - 1), ())).into_iter().map(|(k, ())| k).collect(),
            ),
        }
    }

    pub(super) fn value(&mut self, depth: u32) -> Value {
        match self.below(if depth == 0 { 8 } else { 13 }) {
            0 => Value::None,
            1 => Value::Bool(self.below(2) == 0),
            2 => self.int(),
            3 => Value::Float(f64::from_bits(self.next() & !(1 << 62))), // neither infinite nor a NaN
            4 => Value::Complex(self.below(9) as f64, -0.0),
            5 => Value::Text(self.text()),
            6 => Value::Bytes(self.bytes()),
            7 => Value::ByteArray(self.bytes()),
            8 => Value::List(self.several(|random| random.value(depth - 1))),
            9 => Value::Tuple(self.several(|random| random.value(depth - 1))),
            10 => Value::Dict(self.distinct(|random| (random.key(depth - 1), random.value(depth - 1)))),
            11 => {
                Value::Set(self.distinct(|random| (random.key(depth - 1), ())).into_iter().map(|(k, ())| k).collect())
            }
            _ => self.key(depth),
        }
    }

    fn several(&mut self, mut one: impl FnMut(&mut Self) -> Value) -> Vec<Value> {
        (0..self.below(6)).map(|_| one(self)).collect()
    }

    fn distinct<V>(&mut self, mut one: impl FnMut(&mut Self) -> (Value, V)) -> Vec<(Value, V)> {
        let mut pairs: Vec<(Value, V)> = Vec::new();
        for _ in 0..self.below(6) {
            let (key, value) = one(self);
            if !pairs.iter().any(|(other, _)| describe(other) == describe(&key)) {
                pairs.push((key, value));
            }
        }
        pairs
    }
}

pub(super) fn decoder() -> Decoder {
    Decoder::new().old_str(OldStr::Bytes)
}

#[test]
fn random_data_is_the_same_to_every_cpython_in_every_protocol() {
    let mut random = Random(4);
    let values: Vec<_> = (0..400).map(|_| random.value(4)).collect();
    let lines: String = values.iter().map(|value| hex(&encode(value).unwrap()) + "\n").collect();
    let script = r#"
for line in sys.stdin:
    x = pickle.loads(binascii.unhexlify(line.strip()))
    print(describe(x))
    print(" ".join(hexed(pickle.dumps(x, p)) for p in range(pickle.HIGHEST_PROTOCOL + 1)))
"#;
    for python in interpreters() {
        let answers = ask(&python, script, lines.clone());
        assert_eq!(answers.len(), 2 * values.len());
        let mut protocols = 0;
        for (value, answer) in values.iter().zip(answers.chunks(2)) {
            assert_eq!(answer[0], describe(value), "{} reads what we write", python.display());
            for (protocol, pickle) in answer[1].split(' ').enumerate() {
                let read = decoder().decode(&unhex(pickle)).unwrap_or_else(|error| panic!("{pickle}: {error}"));
                assert_eq!(describe(&read), describe(value), "{} protocol {protocol}", python.display());
                protocols = protocols.max(protocol + 1);
            }
        }
        println!("{}: {} values, {protocols} protocols", python.display(), values.len());
    }
}

/// The pickles that we write in each protocol. Lengths around 256 and 65,536 have opcodes of their own.
#[test]
fn what_is_written_in_newer_protocols_every_cpython_that_has_them_reads() {
    let mut random = Random(9);
    let mut values: Vec<_> = (0..200).map(|_| random.value(4)).collect();
    for length in [0, 1, 63, 64, 65, 255, 256, 70_000] {
        let bytes: Vec<u8> = (0..length).map(|place: usize| (place * 7) as u8).collect();
        values.extend([Value::ByteArray(bytes.clone()), Value::Text("ä".repeat(length)), Value::Bytes(bytes)]);
        values.push(Value::Bytes(vec![b'x'; length]));
    }
    let script = r#"
sys.stdout.write("%d\n" % pickle.HIGHEST_PROTOCOL)
for line in sys.stdin:
    print(describe(pickle.loads(binascii.unhexlify(line.strip()))))
"#;
    for python in interpreters() {
        let highest: u8 = ask(&python, script, String::new())[0].parse().unwrap();
        for protocol in 2..=highest.min(5) {
            let encoder = Encoder::new().protocol(protocol);
            let pickles: Vec<_> = values.iter().map(|value| encoder.encode(value).unwrap()).collect();
            let lines: String = pickles.iter().map(|pickle| hex(pickle) + "\n").collect();
            let answers = ask(&python, script, lines);
            assert_eq!(answers.len(), values.len() + 1);
            for ((value, pickle), answer) in values.iter().zip(&pickles).zip(&answers[1..]) {
                assert_eq!(*answer, describe(value), "{} protocol {protocol}", python.display());
                assert_eq!(describe(&decoder().decode(pickle).unwrap()), *answer, "protocol {protocol}");
            }
        }
    }
    for protocol in [0, 1, 6, 255] {
        let error = Encoder::new().protocol(protocol).encode(&Value::None).unwrap_err().to_string();
        assert_eq!(error, format!("pickle: cannot write protocol {protocol}; choose 2 to 5"));
    }
}

/// Data whose pickle has a form of its own: long, shared, batched, framed.
const FORMS: &str = r#"
shared = [u"key", {u"k": u"key"}]
forms = [
    list(range(3000)), dict((i, str(i)) for i in range(3000)), set(range(3000)), tuple(range(300)),
    u"x" * 70000, b"y" * 70000, bytearray(b"z" * 70000), [u"a" * 40000, b"b" * 40000],
    [shared, shared, tuple(shared)], [u"same"] * 1000, [[]] * 300, (shared, (shared,)), [()] * 3, [(1,)] * 3,
    collections.OrderedDict([(2, 1), (1, 2)]), collections.OrderedDict(), frozenset([frozenset(), (1, 2)]),
    1 << 3000, -(1 << 3000), (1 << 2047) - 1, -(1 << 2047), 2 ** 31, -2 ** 31 - 1, 2 ** 31 - 1,
    1e308, 5e-324, -0.0, float("inf"), 0.1, u"\\", u"\\u0041\\\\u", u"a\r\n\t\0'\"\x7f\x85\xff", u"\u20ac\U0001f600",
    b"'\"\\\n\r\t\0\x80\xff", b"'", b'"', u"", b"", bytearray(), [], (), {}, set(), frozenset(),
]
for x in forms:
    print(describe(x))
    print(" ".join(hexed(pickle.dumps(x, p)) for p in range(pickle.HIGHEST_PROTOCOL + 1)))
"#;

#[test]
fn every_form_that_cpython_writes_is_read() {
    for python in interpreters() {
        let answers = ask(&python, FORMS, String::new());
        assert!(answers.len() > 80);
        for answer in answers.chunks(2) {
            for (protocol, pickle) in answer[1].split(' ').enumerate() {
                let read = decoder().decode(&unhex(pickle)).unwrap_or_else(|error| panic!("{pickle}: {error}"));
                assert!(describe(&read) == answer[0], "{} protocol {protocol}: {read:?}", python.display());
            }
        }
    }
}

/// Whether Python regards two keys or items of the value as equal, which ours are not.
fn has_equal_keys(value: &Value) -> bool {
    let clash = |keys: Vec<&Value>| {
        let mut names: Vec<_> = keys.iter().map(|key| describe(key)).collect();
        names.sort();
        // 1 == 1.0 == True == 1+0j
        let number = |name: &String| ["True", "False", "float", "complex"].iter().any(|kind| name.contains(kind));
        let several = keys.len() > 1 && names.iter().any(number);
        several || names.windows(2).any(|pair| pair[0] == pair[1]) || keys.into_iter().any(has_equal_keys)
    };
    match value {
        Value::List(items) | Value::Tuple(items) => items.iter().any(has_equal_keys),
        Value::Set(items) | Value::FrozenSet(items) => clash(items.iter().collect()),
        Value::Dict(pairs) => {
            clash(pairs.iter().map(|(key, _)| key).collect()) || pairs.iter().any(|(_, value)| has_equal_keys(value))
        }
        _ => false,
    }
}

/// The errors of CPython where it reads less than we do. It keeps the memo in an array, however high the numbers are.
/// From protocol 3 on it does not take the names of Python 2. Old versions do not know new protocols.
const EXCUSES: [&str; 3] =
    ["MemoryError", "ModuleNotFoundError No module named '__builtin__'", "ValueError unsupported pickle protocol"];

#[test]
fn what_is_still_read_of_damaged_pickles_cpython_reads_alike() {
    let script = r#"
import random
random.seed(7)
def some(depth):
    kinds = [None, True, random.getrandbits(random.randrange(1, 90)), -5, 1.5, 2j, u"text\u20ac", b"by\xff", bytearray(b"ba")]
    if depth == 0 or random.random() < 0.3:
        return random.choice(kinds)
    items = [some(depth - 1) for _ in range(random.randrange(4))]
    keys = [random.choice([u"k%d" % i, i, (i,), frozenset([i])]) for i in range(random.randrange(4))]
    return random.choice([items, tuple(items), [items, items], dict((k, some(depth - 1)) for k in keys), set(keys), frozenset(keys)])
for _ in range(200):
    print(" ".join(hexed(pickle.dumps(some(3), p)) for p in range(pickle.HIGHEST_PROTOCOL + 1)))
"#;
    let reader = r#"
import resource
resource.setrlimit(resource.RLIMIT_AS, (1 << 28, 1 << 28))
for line in sys.stdin:
    try:
        print(describe(pickle.loads(binascii.unhexlify(line.strip()))))
    except Exception as e:
        print("%s %s" % (type(e).__name__, e))
"#;
    let mut random = Random(9);
    for python in interpreters().into_iter().filter(|python| !python.to_string_lossy().contains("2.7")) {
        let (mut lines, mut ours) = (String::new(), Vec::new());
        for pickle in ask(&python, script, String::new()).iter().flat_map(|line| line.split(' ')) {
            let whole = unhex(pickle);
            for _ in 0..20 {
                let mut bytes = whole.clone();
                for _ in 0..=random.below(2) {
                    let at = random.below(bytes.len() as u64) as usize;
                    match random.below(4) {
                        0 => drop(bytes.remove(at)),
                        1 => bytes.insert(at, whole[random.below(whole.len() as u64) as usize]),
                        2 => bytes[at] ^= 1 << random.below(8),
                        _ => bytes[at] = whole[random.below(whole.len() as u64) as usize],
                    }
                }
                // Only what we read is shown to Python, which would run the rest.
                let Ok(value) = Decoder::new().decode(&bytes) else { continue };
                if !has_equal_keys(&value) {
                    lines += &(hex(&bytes) + "\n");
                    ours.push((describe(&value), bytes));
                }
            }
        }
        assert!(ours.len() > 1000, "{} were still read", ours.len());
        for (theirs, (ours, bytes)) in ask(&python, reader, lines).into_iter().zip(ours) {
            if !EXCUSES.iter().any(|excuse| theirs.starts_with(excuse)) {
                assert_eq!(theirs, ours, "{}: {}", python.display(), bytes.escape_ascii());
            }
        }
    }
}

#[test]
fn whatever_cpython_makes_of_more_than_plain_data_is_refused() {
    let script = r#"
class Old:
    pass
class New(object):
    __slots__ = ()
    def __reduce__(self):
        return (print_, (1,))
class Dict(dict):
    pass
def print_(x):
    raise SystemExit("it ran")
import datetime, fractions
knot = []
knot.append(({1: knot},))
for x in [Old(), New(), Dict(), len, int, print_, datetime.date(2000, 1, 1), fractions.Fraction(1, 3), ValueError(1), knot]:
    for p in range(pickle.HIGHEST_PROTOCOL + 1):
        try:
            print(hexed(pickle.dumps(x, p)))
        except TypeError:
            pass # Python itself cannot
"#;
    for python in interpreters() {
        let pickles = ask(&python, script, String::new());
        assert!(pickles.len() >= 20);
        for pickle in pickles {
            let error = decoder().decode(&unhex(&pickle)).expect_err(&pickle).to_string();
            assert!(error.contains(" at offset "), "{error}");
        }
    }
}
