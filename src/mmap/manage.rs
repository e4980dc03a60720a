//! Operations on a map as a whole, or on its pages: length, write-back, advice, a name.

use std::ffi::CStr;
use std::fs::File;
use std::ops::{Bound, Range, RangeBounds};

use ossature_sys::errno::{self, Errno, retry};
use ossature_sys::faults;
use ossature_sys::mmap::{Advice, Discard, Inherit, page_size};

use super::Mmap;
use super::copy::outside;
use super::options::{invalid, metadata, refused};
use crate::error::{Error, ErrorKind, Result};

/// The number of bytes that one step copies.
const STEP: usize = 64 << 10;

impl Mmap {
    /// Makes the map `len` bytes long, and its file longer or shorter with it. The map may move; the position stays.
    ///
    /// A shared map of a file that was open for writing can be resized, and so can memory without a file. But [shared
    /// memory](Self::anonymous) does not grow, because its new pages would belong to nothing. To share memory that
    /// grows, map a [`Memfd`](ossature_sys::mmap::Memfd).
    ///
    /// Differs from Python's `resize`: the content of the file *after* the map is kept. A file that was truncated below
    /// the map is not extended again. On an error the file has its old length.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when `len` is 0, to grow shared memory without a file, for a map that keeps no
    /// descriptor and for one that is private. [`ErrorKind::Truncated`] when the file is shorter than the map.
    /// [`ErrorKind::Os`] with `EACCES` for a read-only map, `EPERM` when a seal forbids it, `ENOSPC`, `EFBIG`,
    /// `ENOMEM`.
    ///
    /// # Examples
    /// ```
    /// use ossature::mmap::Mmap;
    /// use ossature::sys::mmap::Memfd;
    ///
    /// let file = Memfd::new(c"grows")?;
    /// file.set_len(100)?;
    /// let mut map = Mmap::options().map(&file)?;
    /// map.set(-1, 7)?;
    /// map.resize(10_000)?;
    /// assert_eq!((map.len(), map.file_len()?, map.get(99)?), (10_000, 10_000, 7));
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn resize(&mut self, len: usize) -> Result<()> {
        if len == 0 {
            return Err(invalid("the map cannot have 0 bytes: drop it instead"));
        }
        self.check_writable()?;
        self.window.clear();
        if self.map.is_file() {
            return self.resize_file(len);
        }
        if self.map.is_shared() && len > self.len() {
            return Err(invalid("shared memory without a file cannot grow: map a Memfd, or use Mmap::private"));
        }
        self.map.with(|_| Ok(())).map_err(|absent| absent.error("the map"))?;
        self.map.remap(len).map_err(refused("the map cannot be resized"))
    }

    fn resize_file(&mut self, len: usize) -> Result<()> {
        self.map.with(|_| Ok(())).map_err(|absent| absent.error("the map"))?;
        if !self.map.is_shared() {
            return Err(invalid("a private map cannot be resized: its file belongs to others"));
        }
        let Some(file) = &self.file else {
            return Err(invalid("the map has no descriptor of its file: map without `untracked` to resize"));
        };
        let refuse = refused("the map cannot be resized");
        let (old, size) = (self.map.len(), metadata(file).map_err(&refuse)?.len());
        self.check_file(old)?;
        let end = self.offset.checked_add(len as u64).filter(|&end| i64::try_from(end).is_ok());
        let end = end.ok_or_else(|| refuse(Errno::FBIG))?;
        if len > old {
            if end > size {
                set_len(file, end).map_err(&refuse)?;
            }
            return self.map.remap(len).map_err(|errno| {
                // Another process may have made the file even longer.
                if end > size && metadata(file).is_ok_and(|state| state.len() == end) {
                    // The file keeps zeros at its end if that fails too.
                    let _ = set_len(file, size);
                }
                refuse(errno)
            });
        }
        let behind = self.offset + (old as u64) < size;
        self.map.remap(len).map_err(&refuse)?;
        if behind || end == size {
            return Ok(());
        }
        set_len(file, end).map_err(|errno| {
            // The map stays shorter if that fails too; the file has not changed.
            let _ = self.map.remap(old);
            refuse(errno)
        })
    }

    /// `msync(..., MS_SYNC)`: writes the changes in a range to the file, and waits for the device.
    ///
    /// Does nothing for a map that is read-only or private or has no file. Differs from Python's `flush`: the start
    /// need not be a multiple of the page size. [`Write::flush`](std::io::Write::flush) is the same for the whole map.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfRange`] when the range is not within the map, [`ErrorKind::Os`] with `EIO` when the device
    /// failed.
    ///
    /// # Examples
    /// ```
    /// use ossature::mmap::Mmap;
    /// use ossature::sys::mmap::Memfd;
    ///
    /// let file = Memfd::new(c"written")?;
    /// file.set_len(100)?;
    /// let mut map = Mmap::options().map(&file)?;
    /// map.set_slice(10..15, b"bones")?;
    /// map.flush_range_async(10..15)?; // begins, does not wait
    /// map.flush_range(10..15)?;
    /// # Ok::<(), ossature::Error>(())
    /// ```
    #[doc(alias = "flush")]
    #[doc(alias = "msync")]
    pub fn flush_range(&self, range: impl RangeBounds<usize>) -> Result<()> {
        let Range { start, end } = self.strict(range)?;
        if !self.has_dirty_pages() {
            return Ok(());
        }
        self.map
            .with(|region| region.sync(start, end - start))
            .map_err(|absent| absent.error("the map cannot be flushed"))
    }

    /// `msync(..., MS_ASYNC)`: schedules the write of the changes in a range to the file; does not wait.
    ///
    /// # Errors
    /// As [`flush_range`](Self::flush_range).
    ///
    /// # Examples
    /// See the example of [`flush_range`](Self::flush_range).
    #[doc(alias = "MS_ASYNC")]
    pub fn flush_range_async(&self, range: impl RangeBounds<usize>) -> Result<()> {
        let Range { start, end } = self.strict(range)?;
        if !self.has_dirty_pages() {
            return Ok(());
        }
        let begun = self.map.with(|region| region.sync_later(start, end - start));
        begun.map_err(|absent| absent.error("the map cannot be flushed"))
    }

    fn has_dirty_pages(&self) -> bool {
        self.map.is_file() && self.map.is_shared() && self.map.writes()
    }

    /// `madvise(...)`: announces how the program will use the pages of a range, which never changes their content.
    ///
    /// The range is widened to whole pages and ends with the map. Python's other advice is
    /// [`discard`](Self::discard) and [`inherit`](Self::inherit).
    ///
    /// # Errors
    /// [`ErrorKind::OutOfRange`] when the range begins outside the map. [`ErrorKind::Os`] with `EINVAL` when the kernel
    /// does not know the advice or it does not fit this map, `EAGAIN`, `ENOMEM`.
    ///
    /// # Examples
    /// ```
    /// use ossature::mmap::{Advice, Mmap};
    ///
    /// let map = Mmap::private(1 << 20)?;
    /// map.advise(.., Advice::Random)?;
    /// map.advise(4096.., Advice::DontDump)?;
    /// # Ok::<(), ossature::Error>(())
    /// ```
    #[doc(alias = "madvise")]
    pub fn advise(&self, range: impl RangeBounds<usize>, advice: Advice) -> Result<()> {
        let Range { start, end } = self.advised(range)?;
        let advised = self.map.with(|region| region.advise(start, end - start, advice));
        advised.map_err(|absent| absent.error("the kernel refused the advice for the map"))
    }

    /// `madvise(...)`: discards the content of the pages of a range, which must be whole pages.
    ///
    /// After [`Discard::Free`] and [`Discard::Poison`] the map lends no slices any more: the kernel takes the bytes
    /// away when it likes.
    ///
    /// # Errors
    /// As [`advise`](Self::advise). [`ErrorKind::InvalidInput`] when the range begins or ends within a page, except at
    /// the end of the map. [`ErrorKind::Unsupported`] for [huge pages](super::Flags::HUGETLB): an access after their
    /// loss could end in SIGBUS. [`ErrorKind::Os`] with `EACCES` for a hole in a file that is not mapped for writing.
    ///
    /// # Examples
    /// ```
    /// use ossature::mmap::{Discard, Mmap};
    ///
    /// let mut map = Mmap::private(100)?;
    /// map.set(3, 7)?;
    /// map.discard(.., Discard::DontNeed)?;
    /// assert_eq!(map.get(3)?, 0);
    /// # Ok::<(), ossature::Error>(())
    /// ```
    #[doc(alias = "madvise")]
    pub fn discard(&mut self, range: impl RangeBounds<usize>, how: Discard) -> Result<()> {
        let Range { start, end } = self.advised(range)?;
        if how == Discard::Remove {
            // Newer kernels make the hole if the file is open for writing, even if the map is read-only.
            self.check_writable()?;
        }
        if self.map.has_huge_pages() {
            let message = "huge pages cannot be discarded: a later access would end in SIGBUS if none were free";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let into_page = (self.offset % page_size() as u64) as usize;
        let cuts = |place: usize| (into_page + place) % page_size() != 0;
        // The bytes before the map in its first page are the file's, and stay there.
        let cuts_start = if start == 0 { how == Discard::Remove && into_page != 0 } else { cuts(start) };
        let cuts_end =
            if end == self.len() { how == Discard::Remove && self.map.is_file() && cuts(end) } else { cuts(end) };
        if cuts_start || cuts_end {
            return Err(invalid(format!("bytes {start} to {end} are not whole pages of {} bytes", page_size())));
        }
        self.window.clear();
        let discarded = self.map.discard(start, end - start, how);
        discarded.map_err(|absent| absent.error("the pages of the map cannot be discarded"))
    }

    /// `madvise(...)`: sets what forked children find in a range. The range is widened to whole pages.
    ///
    /// After [`Inherit::Nothing`] each call on the map fails in a child, until a call sets [`Inherit::Pages`] for the
    /// whole map. After that and after [`Inherit::Zeros`] the map lends no slices any more, because a child could have
    /// borrowed them.
    ///
    /// # Errors
    /// As [`advise`](Self::advise).
    ///
    /// # Examples
    /// ```
    /// use ossature::mmap::{Inherit, Mmap};
    ///
    /// let mut secret = Mmap::private(100)?;
    /// secret.inherit(.., Inherit::Zeros)?;
    /// secret.set_slice(..3, b"key")?; // a child finds zeros
    /// # Ok::<(), ossature::Error>(())
    /// ```
    #[doc(alias = "madvise")]
    pub fn inherit(&mut self, range: impl RangeBounds<usize>, how: Inherit) -> Result<()> {
        let Range { start, end } = self.advised(range)?;
        let inherited = self.map.inherit(start, end - start, how);
        inherited.map_err(|absent| absent.error("the kernel refused the advice for the map"))
    }

    /// Copies a range to `to`, both within the map; they may overlap.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfRange`] when one of them is not within the map; then nothing is copied. [`ErrorKind::Os`] with
    /// `EACCES` when the map is read-only. [`ErrorKind::Truncated`] when the file was cut short; then a part may be
    /// copied.
    ///
    /// # Examples
    /// ```
    /// use ossature::mmap::Mmap;
    ///
    /// let mut map = Mmap::private(10)?;
    /// map.set_slice(.., b"0123456789")?;
    /// map.copy_within(0..5, 2)?;
    /// assert_eq!(map.slice(..)?, b"0101234789");
    /// # Ok::<(), ossature::Error>(())
    /// ```
    #[doc(alias = "move")]
    pub fn copy_within(&mut self, range: impl RangeBounds<usize>, to: usize) -> Result<()> {
        self.check_writable()?;
        let Range { start, end } = self.strict(range)?;
        let len = end - start;
        self.check_range(to, len)?;
        if let Some(bytes) = self.map.as_mut_slice() {
            bytes.copy_within(start..end, to);
            return Ok(());
        }
        let mut part = vec![0; len.min(STEP)];
        let mut done = 0;
        while done < len {
            let step = part.len().min(len - done);
            // Bytes that are not read yet must not be overwritten.
            let skip = if to > start { len - done - step } else { done };
            self.copy_out(start + skip, &mut part[..step])?;
            self.copy_in(to + skip, &part[..step])?;
            done += step;
        }
        Ok(())
    }

    /// `prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, ...)`: sets the name of memory without a file in `/proc/PID/maps`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for a map of a file. Also for a name that has more than 79 bytes, one of the
    /// characters ``[]\$` `` or one that is not printable ASCII. [`ErrorKind::Unsupported`] when the kernel keeps no
    /// such names: before Linux 5.17, for shared memory before 6.2, or built without them.
    ///
    /// # Examples
    /// ```
    /// use ossature::{ErrorKind, mmap::Mmap};
    ///
    /// let map = Mmap::private(4096)?;
    /// if let Err(error) = map.set_name(c"bones") {
    ///     assert_eq!(error.kind(), ErrorKind::Unsupported);
    /// }
    /// # Ok::<(), ossature::Error>(())
    /// ```
    #[doc(alias = "PR_SET_VMA_ANON_NAME")]
    pub fn set_name(&self, name: &CStr) -> Result<()> {
        let bytes = name.to_bytes();
        let fits = |byte: &u8| (b' '..=b'~').contains(byte) && !b"[]\\$`".contains(byte);
        if bytes.len() > 79 || !bytes.iter().all(fits) {
            return Err(invalid(format!(
                "{name:?} is not a name for memory: use at most 79 printable bytes without []\\$`"
            )));
        }
        if self.map.is_file() {
            return Err(invalid("the map cannot be named: a map of a file has the name of the file"));
        }
        self.map.with(|region| region.set_name(name)).map_err(|absent| match absent.errno() {
            Some(Errno::INVAL | Errno::BADF | Errno::NOSYS) => {
                Error::new(ErrorKind::Unsupported, "this kernel does not support names of memory without a file")
            }
            _ => absent.error("memory cannot be named"),
        })
    }

    /// Checks that a range is within the map.
    fn strict(&self, range: impl RangeBounds<usize>) -> Result<Range<usize>> {
        let (start, end) = bounds(range, self.len());
        let len = end
            .checked_sub(start)
            .ok_or_else(|| invalid(format!("the range ends at {end}, before its start {start}")))?;
        self.check_range(start, len).map(|()| start..end)
    }

    /// Checks a range for the kernel's advice: it begins within the map, and is cut at the end of the map.
    fn advised(&self, range: impl RangeBounds<usize>) -> Result<Range<usize>> {
        let (start, end) = bounds(range, self.len());
        if start >= self.len() {
            return Err(outside(start, 0, self.len()));
        }
        self.strict(start..end.min(self.len()))
    }
}

fn bounds(range: impl RangeBounds<usize>, len: usize) -> (usize, usize) {
    let after = |bound: &usize| bound.saturating_add(1);
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => after(start),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(end) => after(end),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => len,
    };
    (start, end)
}

fn set_len(file: &File, len: u64) -> errno::Result<()> {
    let errno = |error: std::io::Error| error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error);
    retry(|| faults::call("ftruncate", || file.set_len(len).map_err(errno)))
}
