//! The calls of a region on a mapping with another owner.

use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ops::Deref;
use core::ptr::NonNull;

use super::{Backing, Protection, Region, page_size};

/// A borrowed [`Region`]: its calls on a mapping of another library, which unmaps it.
///
/// # Examples
/// ```
/// use ossature_sys::mmap::{Protection, Region, RegionRef};
///
/// let owner = Region::anonymous(100)?;
/// // SAFETY: `owner` keeps these bytes mapped for as long as `same` lives, and lends no slice of them.
/// let same = unsafe { RegionRef::new(owner.as_ptr(), owner.len(), Protection::READ) };
/// owner.copy_in(0, b"bones")?;
/// let mut bytes = [0; 5];
/// same.copy_out(0, &mut bytes)?;
/// assert_eq!(&bytes, b"bones");
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[derive(Debug)]
pub struct RegionRef<'m> {
    region: ManuallyDrop<Region>,
    mapping: PhantomData<&'m ()>,
}

impl RegionRef<'_> {
    /// The `len` bytes from `start` on, as memory that any process may write.
    ///
    /// # Safety
    /// While the value lives:
    /// * these bytes are mapped from pages of the ordinary size, and allow what `protection` says;
    /// * no `&mut [u8]` of them is in use, and no `&[u8]` while something is copied in.
    ///
    /// # Examples
    /// See the example of [`RegionRef`].
    pub unsafe fn new(start: NonNull<u8>, len: usize, protection: Protection) -> Self {
        let page = page_size();
        let skew = start.addr().get() & (page - 1);
        let region = Region { start, len, skew, protection, backing: Backing::File, page };
        Self { region: ManuallyDrop::new(region), mapping: PhantomData }
    }
}

impl Deref for RegionRef<'_> {
    type Target = Region;

    fn deref(&self) -> &Region {
        &self.region
    }
}
