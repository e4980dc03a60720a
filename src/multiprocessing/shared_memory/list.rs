//! A list of numbers and texts in a named block.

use std::fmt;

use ossature_sys::mmap::Region;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::layout::Shape;
use super::{Item, Layout, SharedMemory, SharedMemoryBuilder};
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::sharedctypes::Index;

/// A list of fixed length that any program of the same user can open by name: Python's `ShareableList`.
///
/// An [`Item`] may be replaced by one of another type; a text has to fit in the slot that its place was made with. The
/// name lasts as that of a [`SharedMemory`].
///
/// There is no lock: an item that another process replaces at the same moment may be seen half old and half new. A
/// [`NamedLock`](crate::multiprocessing::sync::NamedLock) excludes others, in Python too.
///
/// | CPython | here |
/// | --- | --- |
/// | `L['é' * 15]`: a slot is measured in characters, and the text is cut when it is stored | a slot is measured in bytes |
/// | nulls at the end of a text or of bytes are lost | such an item is refused with [`InvalidInput`](ErrorKind::InvalidInput); for an item that CPython stored, [`raw`](Self::raw) returns the bytes |
/// | a name of an existing block in `ShareableList(seq, name=...)` is an error | the same: `EEXIST` |
/// | `len()` and offsets are trusted | everything in the block is checked; an invalid value is an error |
///
/// # Examples
/// ```
/// use ossature::multiprocessing::shared_memory::{Item, ShareableList};
///
/// let list = ShareableList::new([Item::from("two"), 2.5.into(), 7.into(), Item::None])?;
/// let same = ShareableList::open(list.memory().name())?;
/// same.set(0, "seven")?;
/// same.set(-1, true)?;
/// assert_eq!(list.to_vec()?, ["seven".into(), 2.5.into(), 7.into(), Item::from(true)]);
/// assert_eq!((list.count(7)?, list.index(2.5)?, list.len(), list.is_empty()), (1, 1, 4, false));
/// assert_eq!(list.format()?, "8sdqxxxxxxx?");
/// assert_eq!(list.raw(0)?, b"seven\0\0\0");
/// assert!(list.set(0, "a longer text").is_err());
/// for item in list.iter() {
///     println!("{:?}", item?);
/// }
/// # Ok::<(), ossature::Error>(())
/// ```
#[must_use = "dropping the last user of a list removes its name"]
pub struct ShareableList {
    memory: SharedMemory,
    shape: Shape,
}

impl ShareableList {
    /// Makes a list of these items, under a name of CPython's form.
    ///
    /// # Errors
    /// As for [`ShareableListBuilder::create`].
    pub fn new<I: Into<Item>>(items: impl IntoIterator<Item = I>) -> Result<Self> {
        Self::builder().create(items)
    }

    /// Opens an existing list: `ShareableList(name=name)`.
    ///
    /// # Errors
    /// As for [`SharedMemory::open`]; [`Decode`](ErrorKind::Decode) if what is in the block is not a list.
    pub fn open(name: &str) -> Result<Self> {
        Self::from_memory(SharedMemory::open(name)?)
    }

    /// Makes a builder for a list with a name of the program's choice, without tracking, or for CPython 3.8.
    ///
    /// # Examples
    /// See the example of [`ShareableListBuilder`].
    pub fn builder() -> ShareableListBuilder {
        ShareableListBuilder::default()
    }

    fn from_memory(memory: SharedMemory) -> Result<Self> {
        let shape = Shape::read(memory.as_region())?;
        Ok(Self { memory, shape })
    }

    /// Makes a second handle of the same list, for another owner in this process.
    ///
    /// # Errors
    /// As for [`SharedMemory::try_clone`].
    ///
    /// # Examples
    /// ```
    /// use ossature::multiprocessing::shared_memory::ShareableList;
    ///
    /// let list = ShareableList::new([1, 2])?;
    /// list.try_clone()?.set(0, 5)?;
    /// assert_eq!(list.get(0)?.as_int(), Some(5));
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn try_clone(&self) -> Result<Self> {
        Ok(Self { memory: self.memory.try_clone()?, shape: self.shape.clone() })
    }

    /// Returns the number of items.
    pub fn len(&self) -> usize {
        self.shape.len()
    }

    /// Returns whether the list has no items.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns one item: `L[index]`.
    ///
    /// # Errors
    /// [`OutOfRange`](ErrorKind::OutOfRange) for an index out of range; [`Decode`](ErrorKind::Decode) if the slot
    /// is not an item, or is a text that CPython has cut.
    pub fn get(&self, index: impl Index) -> Result<Item> {
        self.shape.get(self.region(), self.place(index)?)
    }

    /// Replaces one item: `L[index] = item`.
    ///
    /// # Errors
    /// [`OutOfRange`](ErrorKind::OutOfRange) for an index out of range; [`InvalidInput`](ErrorKind::InvalidInput) for a
    /// text or bytes that are longer than the slot, or that end with a null. Nothing is changed then.
    pub fn set(&self, index: impl Index, item: impl Into<Item>) -> Result<()> {
        self.shape.set(self.region(), self.place(index)?, &item.into())
    }

    /// Returns all bytes of a slot, whatever their meaning: a text with the nulls after it.
    ///
    /// # Errors
    /// [`OutOfRange`](ErrorKind::OutOfRange) for an index out of range.
    pub fn raw(&self, index: impl Index) -> Result<Vec<u8>> {
        self.shape.slot(self.region(), self.place(index)?)
    }

    /// Iterates over the items.
    pub fn iter(&self) -> Iter<'_> {
        Iter { list: self, next: 0 }
    }

    /// Returns all items: `list(L)`.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub fn to_vec(&self) -> Result<Vec<Item>> {
        self.iter().collect()
    }

    /// Returns the number of items that [equal](Item::equals) this one: `L.count(item)`.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub fn count(&self, item: impl Into<Item>) -> Result<usize> {
        let item = item.into();
        self.iter().try_fold(0, |count, other| Ok(count + usize::from(other?.equals(&item))))
    }

    /// Finds the first item that [equals](Item::equals) this one, and returns its index: `L.index(item)`.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) if no item does (Python's `ValueError`); as for [`get`](Self::get).
    pub fn index(&self, item: impl Into<Item>) -> Result<usize> {
        let item = item.into();
        for (place, other) in self.iter().enumerate() {
            if other?.equals(&item) {
                return Ok(place);
            }
        }
        Err(Error::new(ErrorKind::InvalidInput, format!("{item:?} is not in the list {}", self.memory.name())))
    }

    /// Returns the formats of all items, in the notation of Python's `struct`: `L.format`.
    ///
    /// # Errors
    /// [`Decode`](ErrorKind::Decode) for a format that is not text.
    pub fn format(&self) -> Result<String> {
        (0..self.len()).map(|index| self.shape.format(self.region(), index)).collect()
    }

    /// Returns the layout of the list, which depends on the version of CPython.
    ///
    /// # Examples
    /// See the example of [`Layout`].
    pub fn layout(&self) -> Layout {
        self.shape.layout
    }

    /// Returns the block of the list: `L.shm`.
    #[doc(alias = "shm")]
    pub fn memory(&self) -> &SharedMemory {
        &self.memory
    }

    fn region(&self) -> &Region {
        self.memory.as_region()
    }

    fn place(&self, index: impl Index) -> Result<usize> {
        let len = self.len();
        index.resolve(len).filter(|place| *place < len).ok_or_else(|| {
            Error::new(ErrorKind::OutOfRange, format!("index {index} is out of range: the list has {len} items"))
        })
    }
}

impl fmt::Debug for ShareableList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ShareableList([")?;
        for (place, item) in self.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            match item {
                Ok(item) => write!(f, "{comma}{item:?}")?,
                Err(error) => write!(f, "{comma}<{error}>")?,
            }
        }
        write!(f, "], name={:?})", self.memory.name())
    }
}

/// An iterator over the items of a list.
///
/// # Examples
/// See the example of [`ShareableList`].
#[derive(Debug)]
pub struct Iter<'l> {
    list: &'l ShareableList,
    next: usize,
}

impl Iterator for Iter<'_> {
    type Item = Result<Item>;

    fn next(&mut self) -> Option<Result<Item>> {
        let index = self.next;
        self.next += usize::from(index < self.list.len());
        (index < self.list.len()).then(|| self.list.get(index))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.list.len() - self.next;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Iter<'_> {}

impl<'l> IntoIterator for &'l ShareableList {
    type Item = Result<Item>;
    type IntoIter = Iter<'l>;

    fn into_iter(self) -> Iter<'l> {
        self.iter()
    }
}

/// The settings of a list before it is made.
///
/// # Examples
/// ```
/// use ossature::multiprocessing::shared_memory::{Layout, ShareableList, ShareableListBuilder, unlink};
///
/// let name = format!("ossature-doc-list-{}", std::process::id());
/// let builder: ShareableListBuilder = ShareableList::builder().name(&name).track(false);
/// drop(builder.layout(Layout::Python39).create(["one", "two"])?);
/// assert_eq!(ShareableList::open(&name)?.get(1)?.as_str(), Some("two"));
/// unlink(&name)?;
/// # Ok::<(), ossature::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "`create` makes the list"]
pub struct ShareableListBuilder {
    memory: SharedMemoryBuilder,
    layout: Layout,
}

impl ShareableListBuilder {
    /// Sets the name: [`SharedMemoryBuilder::name`].
    pub fn name(self, name: impl Into<String>) -> Self {
        Self { memory: self.memory.name(name), ..self }
    }

    /// Sets whether the name is removed with the last user: [`SharedMemoryBuilder::track`].
    pub fn track(self, track: bool) -> Self {
        Self { memory: self.memory.track(track), ..self }
    }

    /// Sets the layout, and so the version of CPython, for the list. The default is the layout of 3.9 and newer.
    pub fn layout(self, layout: Layout) -> Self {
        Self { layout, ..self }
    }

    /// Makes a list of these items. No process can open the list before it contains all of them.
    ///
    /// # Errors
    /// As for [`SharedMemoryBuilder::create`]; [`InvalidInput`](ErrorKind::InvalidInput) for a text or bytes that end
    /// with a null, [`TooLong`](ErrorKind::TooLong) for 9,999,992 bytes or more.
    pub fn create<I: Into<Item>>(self, items: impl IntoIterator<Item = I>) -> Result<ShareableList> {
        let items: Vec<Item> = items.into_iter().map(Into::into).collect();
        let shape = Shape::of(&items, self.layout)?;
        // Beyond what can be addressed there is no memory either.
        let size = shape.size().unwrap_or(usize::MAX);
        let memory = self.memory.create_with(size, |region| shape.fill(region, &items))?;
        Ok(ShareableList { memory, shape })
    }
}

/// Serialises the [block](SharedMemory) of the list.
impl Serialize for ShareableList {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.memory.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ShareableList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        Self::from_memory(SharedMemory::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}
