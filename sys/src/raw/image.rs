//! The image in memory that contains this code: its program headers and notes, by dl_iterate_phdr(3).

use core::ffi::{c_int, c_void};
use core::slice;

use crate::errno::Result;
use crate::raw;

#[cfg(target_pointer_width = "64")]
type Header = libc::Elf64_Phdr;
#[cfg(target_pointer_width = "32")]
type Header = libc::Elf32_Phdr;

/// The state of one walk through the loaded images.
struct Walk<'a> {
    /// An address in the wanted image.
    inside: usize,
    visit: &'a mut dyn FnMut(&[u8]),
}

/// Passes the program headers of this code's image to `visit`, then each of its notes. Neither depends on the address
/// of the image.
pub(crate) fn for_each_part(visit: &mut dyn FnMut(&[u8])) -> Result<()> {
    let mut walk = Walk { inside: for_each_part as fn(&mut dyn FnMut(&[u8])) -> Result<()> as usize, visit };
    raw::call("dl_iterate_phdr", || {
        // SAFETY: the callback has the signature that dl_iterate_phdr(3) requires, and takes the data for this `Walk`.
        unsafe { libc::dl_iterate_phdr(Some(one_image), (&raw mut walk).cast()) };
        Ok(())
    })
}

/// Ends the walk at the wanted image, by returning 1.
unsafe extern "C" fn one_image(info: *mut libc::dl_phdr_info, _size: usize, data: *mut c_void) -> c_int {
    // SAFETY: dl_iterate_phdr(3) passes a description that is valid during the call.
    let info = unsafe { &*info };
    // SAFETY: `data` is the pointer that `for_each_part` passed, which no other code uses meanwhile.
    let walk = unsafe { &mut *data.cast::<Walk<'_>>() };
    if info.dlpi_phdr.is_null() {
        return 0;
    }
    // SAFETY: dl_iterate_phdr(3) says that there are `dlpi_phnum` headers, which stay as long as the image is loaded.
    let headers: &[Header] = unsafe { slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
    let base = info.dlpi_addr as usize;
    let within = |segment: &Header, start: usize, len: usize| {
        let offset = start.wrapping_sub(base.wrapping_add(segment.p_vaddr as usize));
        segment.p_type == libc::PT_LOAD
            && segment.p_flags & libc::PF_R != 0
            && offset.checked_add(len).is_some_and(|end| end <= segment.p_memsz as usize)
    };
    if !headers.iter().any(|segment| within(segment, walk.inside, 1)) {
        return 0;
    }
    // SAFETY: a header is numbers without padding, as C lays them out.
    let bytes = unsafe { slice::from_raw_parts(headers.as_ptr().cast(), size_of_val(headers)) };
    (walk.visit)(bytes);
    for note in headers.iter().filter(|header| header.p_type == libc::PT_NOTE) {
        let (start, len) = (base.wrapping_add(note.p_vaddr as usize), note.p_memsz as usize);
        if headers.iter().any(|segment| within(segment, start, len)) {
            // SAFETY: the note is in a segment that is loaded and readable, and no code writes to notes.
            let bytes = unsafe { slice::from_raw_parts(core::ptr::with_exposed_provenance(start), len) };
            (walk.visit)(bytes);
        }
    }
    1
}
