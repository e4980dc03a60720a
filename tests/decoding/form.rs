//! The encoding of messages: postcard's, byte by byte, and error texts in the program's own words.

use std::collections::BTreeMap;

use ossature::ErrorKind;
use ossature::multiprocessing::connection::pipe;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

#[derive(Clone, Copy, Serialize, Deserialize, Debug, PartialEq)]
struct Unit;

#[derive(Clone, Serialize, Deserialize, Debug, PartialEq)]
struct Newtype(f32);

#[derive(Clone, Serialize, Deserialize, Debug, PartialEq)]
enum Kind {
    Plain,
    One(u64),
    Two(i8, String),
    Named { text: Option<char>, inside: Box<All> },
}

/// A struct with a field for each type of serde.
#[derive(Clone, Serialize, Deserialize, Debug, PartialEq)]
struct All {
    small: (bool, i8, u8, Unit, ()),
    signed: (i16, i32, i64, i128),
    plain: (u16, u32, u64, u128),
    floats: (f32, f64, Newtype),
    text: String,
    list: Vec<Option<u16>>,
    map: BTreeMap<char, [i64; 2]>,
    kinds: Vec<Kind>,
}

/// Random numbers from one seed (splitmix64), of any length in bits.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    fn number(&mut self) -> u64 {
        let bits = self.next() % 64;
        self.next() >> bits
    }

    fn wide(&mut self) -> u128 {
        let bits = self.next() % 128;
        (u128::from(self.next()) << 64 | u128::from(self.next())) >> bits
    }

    fn char(&mut self) -> char {
        char::from_u32(self.number() as u32 % 0x11_0000).unwrap_or('\u{ff}')
    }

    fn several<T>(&mut self, mut one: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.next() % 4).map(|_| one(self)).collect()
    }

    fn kind(&mut self, depth: u32) -> Kind {
        match self.next() % if depth == 0 { 3 } else { 4 } {
            0 => Kind::Plain,
            1 => Kind::One(self.number()),
            2 => Kind::Two(self.next() as i8, self.char().to_string()),
            _ => {
                Kind::Named { text: (self.next() % 2 == 0).then(|| self.char()), inside: Box::new(self.all(depth - 1)) }
            }
        }
    }

    fn all(&mut self, depth: u32) -> All {
        All {
            small: (self.next() % 2 == 0, self.next() as i8, self.next() as u8, Unit, ()),
            signed: (self.number() as i16, self.number() as i32, self.number() as i64, self.wide() as i128),
            plain: (self.number() as u16, self.number() as u32, self.number(), self.wide()),
            floats: (self.number() as f32, self.number() as f64, Newtype(-1.5)),
            text: self.several(Self::char).into_iter().collect(),
            list: self.several(|random| (random.next() % 2 == 0).then(|| random.number() as u16)),
            map: self
                .several(|random| (random.char(), [random.number() as i64, -(random.number() as i32 as i64)]))
                .into_iter()
                .collect(),
            kinds: self.several(|random| random.kind(depth)),
        }
    }
}

#[test]
fn a_message_is_what_postcard_writes_and_reads() {
    let (near, far) = pipe().unwrap();
    let mut random = Random(7);
    for _ in 0..500 {
        let value = random.all(2);
        let oracle = postcard::to_allocvec(&value).unwrap();
        near.send(&value).unwrap();
        assert_eq!(far.recv_bytes().unwrap(), oracle, "{value:?}");
        near.send_bytes(&oracle).unwrap();
        assert_eq!(far.recv::<All>().unwrap(), value);
    }
    let extremes = (i64::MIN, i64::MAX, u64::MAX, i128::MIN, i128::MAX, u128::MAX, i16::MIN, u16::MAX);
    let oracle = postcard::to_allocvec(&extremes).unwrap();
    near.send(&extremes).unwrap();
    assert_eq!(far.recv_bytes().unwrap(), oracle);
    near.send_bytes(&oracle).unwrap();
    assert_eq!(far.recv::<(i64, i64, u64, i128, i128, u128, i16, u16)>().unwrap(), extremes);
}

#[test]
fn bytes_that_postcard_refuses_are_refused() {
    let (near, far) = pipe().unwrap();
    let mut random = Random(8);
    let mut refused = 0;
    for _ in 0..5000 {
        let mut bytes = postcard::to_allocvec(&random.all(1)).unwrap();
        let place = random.next() as usize % bytes.len();
        match random.next() % 3 {
            0 => bytes[place] ^= 1 << (random.next() % 8),
            1 => bytes.truncate(place),
            _ => bytes[place] = 0xff,
        }
        near.send_bytes(&bytes).unwrap();
        match (postcard::take_from_bytes::<All>(&bytes), far.recv::<All>()) {
            // By their bytes: a NaN is not equal to itself.
            (Ok((theirs, [])), Ok(ours)) => {
                assert_eq!(postcard::to_allocvec(&ours).unwrap(), postcard::to_allocvec(&theirs).unwrap());
            }
            // It takes the first of several characters for one.
            (Ok(_), Err(error)) => {
                let error = error.to_string();
                assert!(error.contains("left over") || error.contains("not one character"), "{error}: {bytes:?}");
            }
            (Err(_), Err(error)) => {
                refused += 1;
                assert_eq!(error.kind(), ErrorKind::Decode);
            }
            (error, Ok(value)) => panic!("{error:?}, and here {value:?} of {bytes:?}"),
        }
    }
    assert!(refused > 500, "{refused}");
}

#[derive(Debug)]
struct Odd(u8);

impl Serialize for Odd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 % 2 == 0 {
            return Err(ser::Error::custom(format_args!("{} is even, which no parcel is", self.0)));
        }
        serializer.serialize_u8(self.0)
    }
}

impl<'de> Deserialize<'de> for Odd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u8::deserialize(deserializer)? {
            odd if odd % 2 == 1 => Ok(Self(odd)),
            even => Err(de::Error::custom(format_args!("{even} is even, which no parcel is"))),
        }
    }
}

#[derive(Deserialize, Debug)]
enum One {
    #[allow(dead_code, reason = "only read")]
    Only,
}

/// A list whose length is not known beforehand.
struct Unknown;

impl Serialize for Unknown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_seq(None).and_then(ser::SerializeSeq::end)
    }
}

#[test]
fn an_error_of_the_program_keeps_its_words() {
    let (near, far) = pipe().unwrap();
    let error = near.send(&vec![Odd(1), Odd(2)]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().ends_with("Odd> cannot be sent: 2 is even, which no parcel is"), "{error}");
    near.send(&[3_u8, 4]).unwrap();
    let error = far.recv::<(Odd, Odd)>().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
    assert!(error.to_string().ends_with("4 is even, which no parcel is (at byte 2)"), "{error}");
    near.send(&7_u8).unwrap();
    let error = far.recv::<One>().unwrap_err().to_string();
    assert!(error.contains("invalid value: integer `7`, expected variant index 0 <= i < 1"), "{error}");
    near.send(&[0_u8]).unwrap();
    let error = far.recv::<std::num::NonZero<u16>>().unwrap_err().to_string();
    assert!(error.contains("expected a nonzero u16"), "{error}");
    let error = near.send(&Unknown).unwrap_err().to_string();
    assert!(error.contains("a length that is not known beforehand"), "{error}");
}

/// A value that serde takes apart: only bytes and texts are copied whole.
#[derive(Serialize, Deserialize, Debug, PartialEq)]
struct Apart<T>(T);

#[test]
fn bytes_and_texts_have_one_form_alone_and_within_another_value() {
    let (near, far) = pipe().unwrap();
    for length in [0, 1, 127, 128, 300, 16_383, 16_384, 70_000] {
        let bytes: Vec<u8> = (0..length).map(|place: usize| (place * 31) as u8).collect();
        let text: String = (0..length).map(|place| char::from(b'a' + (place % 26) as u8)).collect();
        let oracle = postcard::to_allocvec(&bytes).unwrap();
        near.send(&bytes).unwrap();
        assert_eq!(far.recv_bytes().unwrap(), oracle);
        near.send(&bytes[..]).unwrap();
        assert_eq!(far.recv_bytes().unwrap(), oracle);
        near.send(&Apart(&bytes)).unwrap();
        assert_eq!(far.recv::<Vec<u8>>().unwrap(), bytes);
        near.send(&bytes).unwrap();
        assert_eq!(far.recv::<Apart<Vec<u8>>>().unwrap().0, bytes);

        let oracle = postcard::to_allocvec(&text).unwrap();
        near.send(&text).unwrap();
        assert_eq!(far.recv_bytes().unwrap(), oracle);
        near.send(text.as_str()).unwrap();
        assert_eq!(far.recv_bytes().unwrap(), oracle);
        near.send(&Apart(&text)).unwrap();
        assert_eq!(far.recv::<String>().unwrap(), text);
        near.send(&text).unwrap();
        assert_eq!(far.recv::<Apart<String>>().unwrap().0, text);
    }
}

/// The result of decoding these bytes as a `T`, without the name of the type.
fn said_of<T: de::DeserializeOwned + std::fmt::Debug>(bytes: &[u8]) -> String {
    let (near, far) = pipe().unwrap();
    far.set_max_decoded(100);
    near.send_bytes(bytes).unwrap();
    match far.recv::<T>() {
        Ok(value) => format!("{value:?}").replace("Apart(", "").replace(')', ""),
        Err(error) => error.to_string().split_once("same type").map(|(_, why)| why.to_owned()).unwrap(),
    }
}

#[test]
fn what_is_wrong_with_bytes_and_texts_is_said_as_within_another_value() {
    let too_long = [&[101][..], &[b'x'; 101]].concat();
    let messages: [&[u8]; 12] = [
        b"",
        b"\x05abc",
        b"\x02abcd",
        b"\x80",
        b"\x82\x00ab",
        b"\x82\x80\x80\x00ab",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\x82\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00ab",
        b"\x02a\xff",
        b"\x02ab",
        &too_long,
    ];
    for message in messages {
        assert_eq!(said_of::<Vec<u8>>(message), said_of::<Apart<Vec<u8>>>(message), "{message:?}");
        assert_eq!(said_of::<String>(message), said_of::<Apart<String>>(message), "{message:?}");
    }
    assert!(said_of::<String>(b"\x02a\xff").contains("not UTF-8"));
    assert!(said_of::<Vec<u8>>(&too_long).contains("set_max_decoded allows more"));
    assert!(said_of::<Vec<u8>>(b"\x02abcd").contains("2 bytes are left over"));
}
