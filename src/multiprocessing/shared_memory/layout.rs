//! The layout of a list in its block. Everything that is read from a block is checked, because any process may have
//! written it.
//!
//! | part | bytes, of N items |
//! | --- | --- |
//! | N | 8 |
//! | offsets of the slots within the data and the length of the data (3.9); or sizes of the slots (3.8) | 8 (N + 1), or 8 N |
//! | the data: a slot of 8 bytes for a number, of more for a text | the sum of the slots |
//! | formats of `struct`, padded with nulls | 8 N |
//! | codes: 0 for a number, 1 for a text, 2 for bytes, 3 for `None` | N |
//!
//! All numbers are in the machine's byte order.

use ossature_sys::mmap::Region;

use super::Item;
use crate::error::{Error, ErrorKind, Result};

/// The form in which a block describes the slots of its list.
///
/// An existing list reports its own layout.
///
/// # Examples
/// ```
/// use ossature::multiprocessing::shared_memory::{Layout, ShareableList};
///
/// let old = ShareableList::builder().layout(Layout::Python38).create([1, 2])?;
/// assert_eq!(ShareableList::open(old.memory().name())?.layout(), Layout::Python38);
/// # Ok::<(), ossature::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Layout {
    /// The block contains the sizes of the slots: CPython 3.8.
    Python38,
    /// The block contains the offsets of the slots: CPython 3.9 and newer.
    #[default]
    Python39,
}

/// The size of a number, of a format, and of an entry of the first table.
const WORD: usize = 8;
/// The length from which a text is too long: its format has room for seven digits and an `s`, and slots are multiples
/// of 8.
const MOST: usize = 9_999_992;

/// The length of the longest slot that a format can describe.
const LONGEST_SLOT: usize = 9_999_999;

/// The positions of a list's parts.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) layout: Layout,
    /// The offset of each slot in the data, and the end of the last slot.
    offsets: Vec<usize>,
}

/// The content of a slot, with its format and code.
struct Packed {
    format: String,
    code: u8,
    bytes: Vec<u8>,
}

impl Shape {
    /// Computes the positions for these items.
    pub(super) fn of(items: &[Item], layout: Layout) -> Result<Self> {
        let (mut offsets, mut end) = (vec![0], 0_usize);
        for item in items {
            end = end.checked_add(room_of(item)?).ok_or_else(|| too_long(usize::MAX))?;
            offsets.push(end);
        }
        Ok(Self { layout, offsets })
    }

    /// Reads the positions that a block describes.
    pub(super) fn read(region: &Region) -> Result<Self> {
        let word = |index: usize| -> Result<usize> {
            let mut bytes = [0; WORD];
            region.copy_out(index * WORD, &mut bytes).map_err(|_| broken("it ends too early"))?;
            usize::try_from(i64::from_ne_bytes(bytes)).map_err(|_| broken("a length is negative or too large"))
        };
        let count = word(0)?;
        // Each item has an entry, a slot, a format and a code.
        if count > region.len() / (3 * WORD + 1) {
            return Err(broken("it is too small for its number of items"));
        }
        let layout = match count {
            0 if region.len() < 2 * WORD => Layout::Python38,
            0 => Layout::Python39,
            _ if word(1)? == 0 => Layout::Python39, // no size is 0, and the first offset always is
            _ => Layout::Python38,
        };
        let mut offsets = vec![0_usize];
        for index in 0..count {
            let begin = offsets[index];
            let end = match layout {
                Layout::Python38 => begin.checked_add(word(1 + index)?),
                Layout::Python39 => Some(word(2 + index)?),
            };
            let end = end.filter(|end| *end >= begin + WORD && *end <= region.len());
            let end = end.ok_or_else(|| broken("a slot is too short or lies outside"))?;
            // A file with holes may be far longer than the memory of the machine.
            if end - begin > LONGEST_SLOT {
                return Err(broken("a slot is longer than a format can describe"));
            }
            offsets.push(end);
        }
        let shape = Self { layout, offsets };
        if shape.size().is_none_or(|size| size > region.len()) { Err(broken("it ends too early")) } else { Ok(shape) }
    }

    pub(super) fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// The length of the block; `None` beyond the address space.
    pub(super) fn size(&self) -> Option<usize> {
        self.formats().checked_add(self.len().checked_mul(WORD + 1)?)
    }

    fn data(&self) -> usize {
        WORD * (1 + self.len() + usize::from(self.layout == Layout::Python39))
    }

    fn formats(&self) -> usize {
        self.data() + self.offsets[self.len()]
    }

    /// The room for text in a slot, in bytes.
    pub(super) fn capacity(&self, index: usize) -> usize {
        self.offsets[index + 1] - self.offsets[index]
    }

    /// Writes all items into a new block.
    pub(super) fn fill(&self, region: &Region, items: &[Item]) -> Result<()> {
        let words: Vec<usize> = match self.layout {
            Layout::Python38 => (0..self.len()).map(|index| self.capacity(index)).collect(),
            Layout::Python39 => self.offsets.clone(),
        };
        for (index, word) in [self.len()].into_iter().chain(words).enumerate() {
            region.copy_in(index * WORD, &(word as i64).to_ne_bytes())?;
        }
        items.iter().enumerate().try_for_each(|(index, item)| self.set(region, index, item))
    }

    /// Replaces an item: its format, its code, then its value, as CPython does.
    pub(super) fn set(&self, region: &Region, index: usize, item: &Item) -> Result<()> {
        let capacity = self.capacity(index);
        let packed = pack(item, capacity)?;
        let mut format = [0; WORD];
        format.iter_mut().zip(packed.format.bytes()).for_each(|(place, byte)| *place = byte);
        region.copy_in(self.formats() + index * WORD, &format)?;
        region.copy_in(self.formats() + self.len() * WORD + index, &[packed.code])?;
        region.copy_in(self.data() + self.offsets[index], &packed.bytes)?;
        Ok(())
    }

    /// Reads the item of a slot.
    pub(super) fn get(&self, region: &Region, index: usize) -> Result<Item> {
        let mut code = [0];
        region.copy_out(self.formats() + self.len() * WORD + index, &mut code)?;
        let format = self.format(region, index)?;
        let word = || -> Result<[u8; WORD]> {
            let mut word = [0; WORD];
            region.copy_out(self.data() + self.offsets[index], &mut word)?;
            Ok(word)
        };
        let text = || -> Result<Option<Vec<u8>>> {
            let len = format.strip_suffix('s').and_then(|digits| digits.parse().ok());
            let Some(len) = len.filter(|len| *len <= self.capacity(index)) else { return Ok(None) };
            let mut bytes = vec![0; len];
            region.copy_out(self.data() + self.offsets[index], &mut bytes)?;
            let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            bytes.truncate(end);
            Ok(Some(bytes))
        };
        let strange = || strange(index, &format, code[0]);
        match (code[0], format.as_str()) {
            (3, _) => Ok(Item::None),
            (0, "q") => Ok(Item::Int(i64::from_ne_bytes(word()?))),
            (0, "d") => Ok(Item::Float(f64::from_ne_bytes(word()?))),
            (0, "xxxxxxx?") => Ok(Item::Bool(word()?[7] != 0)),
            (1, _) => {
                let bytes = text()?.ok_or_else(strange)?;
                String::from_utf8(bytes).map(Item::Str).map_err(|_| {
                    let message = format!(
                        "item {index} is not UTF-8: CPython, which measures texts in characters, may have cut it; raw() returns the bytes"
                    );
                    Error::new(ErrorKind::Decode, message)
                })
            }
            (2, _) => text()?.map(Item::Bytes).ok_or_else(strange),
            _ => Err(strange()),
        }
    }

    /// Reads all bytes of a slot.
    pub(super) fn slot(&self, region: &Region, index: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; self.capacity(index)];
        region.copy_out(self.data() + self.offsets[index], &mut bytes)?;
        Ok(bytes)
    }

    /// Reads the format of a slot, without the nulls after it.
    pub(super) fn format(&self, region: &Region, index: usize) -> Result<String> {
        let mut format = [0; WORD];
        region.copy_out(self.formats() + index * WORD, &mut format)?;
        let end = format.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let text = String::from_utf8_lossy(&format[..end]).into_owned();
        if text.is_ascii() { Ok(text) } else { Err(strange(index, &text, 0)) }
    }
}

/// Returns the size of the slot for an item.
fn room_of(item: &Item) -> Result<usize> {
    let len = match item {
        Item::Str(text) => text.len(),
        Item::Bytes(bytes) => bytes.len(),
        _ => return Ok(WORD),
    };
    // One word more than the text needs, as in CPython.
    if len >= MOST { Err(too_long(len)) } else { Ok(WORD * (len / WORD + 1)) }
}

/// Encodes an item for a slot of `capacity` bytes.
fn pack(item: &Item, capacity: usize) -> Result<Packed> {
    let word =
        |format: &str, code, bytes: [u8; WORD]| Ok(Packed { format: format.to_owned(), code, bytes: bytes.to_vec() });
    let text = |code, bytes: &[u8]| {
        if bytes.last() == Some(&0) {
            let message = "a text or bytes with a null at the end cannot be told from a shorter one in a list: \
                           put something behind it";
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        if bytes.len() > capacity {
            let message =
                format!("{} bytes do not fit into a slot of {capacity}: a slot keeps its original size", bytes.len());
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        let mut padded = bytes.to_vec();
        padded.resize(capacity, 0);
        Ok(Packed { format: format!("{capacity}s"), code, bytes: padded })
    };
    match item {
        Item::Int(number) => word("q", 0, number.to_ne_bytes()),
        Item::Float(number) => word("d", 0, number.to_ne_bytes()),
        Item::Bool(truth) => word("xxxxxxx?", 0, [0, 0, 0, 0, 0, 0, 0, u8::from(*truth)]),
        Item::None => word("xxxxxx?x", 3, [0; WORD]),
        Item::Str(string) => text(1, string.as_bytes()),
        Item::Bytes(bytes) => text(2, bytes),
    }
}

#[cold]
fn too_long(len: usize) -> Error {
    Error::new(
        ErrorKind::TooLong,
        format!("an item of {len} bytes is too long: a list takes texts of up to {} bytes", MOST - 1),
    )
}

#[cold]
fn broken(why: &str) -> Error {
    Error::new(ErrorKind::Decode, format!("the shared memory is not a ShareableList: {why}"))
}

#[cold]
fn strange(index: usize, format: &str, code: u8) -> Error {
    let message = format!("item {index} of the ShareableList has the format {format:?} and the code {code}");
    Error::new(ErrorKind::Decode, message)
}
