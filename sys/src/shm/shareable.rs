//! The types that may be in shared memory, and their initialisers.

use core::marker::PhantomData;
use core::sync::atomic::{AtomicI8, AtomicI16, AtomicI32, AtomicI64, AtomicIsize};
use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize};

use super::fingerprint::{Description, Fingerprint};
use crate::errno::Result;

/// A type whose values may be in shared memory.
///
/// Numbers, their atomics, arrays, [`Racy`](super::Racy), the primitives in scope [`Shared`](crate::scope::Shared), and
/// structs of those made with [`shareable!`](crate::shareable). Not `bool`, `char`, enums or references, nor anything
/// [`Private`](crate::scope::Private).
///
/// # Safety
/// - A pointer, reference, handle or index to anything outside the value is followed only by the process that made
///   it.
/// - No `Drop`, and a fixed layout (`repr(C)`, or a primitive).
/// - Any bytes that a cooperating process may leave, half-written by a kill included, are a valid value.
/// - `nodes` visits every lock in the value, and `LOCKS` is true if there is one.
/// - A value with a primitive of this crate in it is made only where all bytes are zero, as [`Init::init`] requires.
///
/// # Examples
/// ```
/// use ossature_sys::shm::{Description, Fingerprint, Plain, Shareable, Shm};
///
/// #[derive(Clone, Copy)]
/// #[repr(transparent)]
/// struct Metres(f64);
///
/// // SAFETY: transparent around a number.
/// unsafe impl Shareable for Metres {
///     const FINGERPRINT: Fingerprint = Description::of("metres").part(f64::FINGERPRINT).fingerprint();
/// }
/// // SAFETY: as above, so every bit pattern is a valid value.
/// unsafe impl Plain for Metres {}
///
/// assert_eq!(Shm::place(Metres(1.5))?.0, 1.5);
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot live in shared memory",
    note = "numbers, atomics, arrays, `Racy` and the primitives in scope `Shared` can; make a struct of them with `shareable!`",
    note = "use `u8` for a `bool` or a C-like enum, `u32` for a `char`, `sync::Lock<T, Shared>` for a `Mutex`"
)]
pub unsafe trait Shareable: Send + Sync + 'static {
    /// A digest of names, types, counts and offsets, with which two processes check that they use the same layout. A
    /// [`Description`] makes the digest.
    const FINGERPRINT: Fingerprint;

    /// Whether the value contains a lock or another waiting primitive, and must therefore not be moved.
    #[doc(hidden)]
    const LOCKS: bool = false;

    /// The number of the first bytes that have pages when the value is made, if the value is placed alone. The type
    /// allocates pages for the other bytes before their first use.
    #[doc(hidden)]
    const BACKED: usize = usize::MAX;

    /// The offset of the last bytes that have pages then as well.
    #[doc(hidden)]
    const BACKED_FROM: usize = usize::MAX;

    /// Passes every lock in the value to `visit`.
    ///
    /// # Safety
    /// `place` points to a value in a mapping.
    #[doc(hidden)]
    unsafe fn nodes(place: *const Self, visit: &mut Nodes) {
        let _ = (place, visit);
    }
}

/// A type whose values may be read and written in shared memory without a lock.
///
/// # Safety
/// Every bit pattern is a valid value, and there is no padding.
///
/// # Examples
/// ```
/// use ossature_sys::shm::{Plain, Racy};
///
/// fn swap<T: Plain>(one: &Racy<T>, two: &Racy<T>) {
///     let (first, second) = (one.get(), two.get());
///     one.set(second);
///     two.set(first);
/// }
/// let (one, two) = (Racy::new(1), Racy::new(2));
/// swap(&one, &two);
/// assert_eq!((one.get(), two.get()), (2, 1));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be copied into shared memory as it is",
    note = "numbers and arrays of them can, and a struct of numbers without padding made with `shareable! {{ plain struct .. }}`",
    note = "use `u8` for a `bool` or a C-like enum, `u32` for a `char`; text is an array of bytes of a fixed length"
)]
pub unsafe trait Plain: Shareable + Copy {}

/// Makes a value in place in shared memory.
///
/// # Safety
/// On success `init` has made the place a valid `T`.
///
/// # Examples
/// ```
/// use ossature_sys::shm::{Init, Shm};
///
/// fn place(init: impl Init<u64>) -> ossature_sys::errno::Result<u64> {
///     Ok(*Shm::<u64>::place(init)?)
/// }
/// assert_eq!(place(7_u64)?, 7);
/// assert_eq!(place(ossature_sys::shm::Zeroed)?, 0);
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be placed in shared memory",
    label = "cannot be placed in shared memory",
    note = "numbers, atomics, arrays and the primitives in scope `Shared` can",
    note = "a struct of numbers without padding is declared by `shareable! {{ plain struct .. }}` and placed as it is; another \
            struct is declared by `shareable! {{ struct .. }}` and placed by its `init(..)`",
    note = "text is an array of bytes of a fixed length; `String`, `Vec` and `Box` point into the memory of one process",
    note = "use `u8` for a `bool` or a C-like enum, `u32` for a `char`, `sync::Lock<T, Shared>` for a `Mutex`; a `Value` and an \
            `Array` have a lock already, and `CodedValue` chooses its type at run time"
)]
pub unsafe trait Init<T> {
    /// Writes the value.
    ///
    /// # Errors
    /// The error of making the value; `place` may then hold anything.
    ///
    /// # Safety
    /// `place` is aligned, valid for writes of a `T`, and in shared memory that no other thread or process uses yet.
    /// That memory stays mapped for as long as the value is in use. If there is a primitive of this crate in a `T`, all
    /// bytes of the place are zero.
    unsafe fn init(self, place: *mut T) -> Result<()>;
}

/// The state of the locks of a value, as needed to unmap the value.
///
/// # Examples
/// A type around another passes the visit on:
/// ```
/// use ossature_sys::{scope::Shared, shm::{Description, Fingerprint, Nodes, Shareable}, sync::Lock};
///
/// type Inner = Lock<u64, Shared>;
/// #[repr(transparent)]
/// struct Total(Inner);
///
/// // SAFETY: transparent around a shareable value, whose locks are visited.
/// unsafe impl Shareable for Total {
///     const FINGERPRINT: Fingerprint = Description::of("total").part(Inner::FINGERPRINT).fingerprint();
///     const LOCKS: bool = Inner::LOCKS;
///
///     unsafe fn nodes(place: *const Self, visit: &mut Nodes) {
///         // SAFETY: the caller's promise, passed on to the field at the same address.
///         unsafe { Inner::nodes(place.cast(), visit) };
///     }
/// }
/// assert!(Total::LOCKS);
/// ```
#[derive(Debug, Default)]
pub struct Nodes {
    linked: bool,
}

impl Nodes {
    /// Records one lock: whether a thread of this process holds it through this mapping.
    pub(crate) fn note(&mut self, linked: bool) {
        self.linked |= linked;
    }

    pub(super) fn any_linked(&self) -> bool {
        self.linked
    }
}

macro_rules! numbers {
    ($($number:ident)+) => {$(
        // SAFETY: a number holds no pointer, has no Drop and a fixed layout, and all its bit patterns are valid.
        unsafe impl Shareable for $number {
            const FINGERPRINT: Fingerprint = Fingerprint::number(stringify!($number), size_of::<$number>());
        }
        // SAFETY: as above, and there is no padding in a number.
        unsafe impl Plain for $number {}
    )+};
}

macro_rules! atomics {
    ($($atomic:ident)+) => {$(
        // SAFETY: an atomic has the layout of its number.
        unsafe impl Shareable for $atomic {
            const FINGERPRINT: Fingerprint = Fingerprint::number(stringify!($atomic), size_of::<$atomic>());
        }
        // SAFETY: the atomic is moved into the place.
        unsafe impl Init<$atomic> for $atomic {
            unsafe fn init(self, place: *mut $atomic) -> Result<()> {
                // SAFETY: the caller's obligation.
                unsafe { place.write(self) };
                Ok(())
            }
        }
    )+};
}

numbers!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize f32 f64);
atomics!(AtomicU8 AtomicU16 AtomicU32 AtomicU64 AtomicUsize AtomicI8 AtomicI16 AtomicI32 AtomicI64 AtomicIsize);

// SAFETY: `()` holds no pointer. It cannot be placed alone, but inside a lock that guards no data in
// memory.
unsafe impl Shareable for () {
    const FINGERPRINT: Fingerprint = Description::of("nothing").fingerprint();
}
// SAFETY: there is nothing to write.
unsafe impl Init<()> for () {
    unsafe fn init(self, _place: *mut ()) -> Result<()> {
        Ok(())
    }
}

// SAFETY: an array is its elements, one after the other.
unsafe impl<T: Shareable, const N: usize> Shareable for [T; N] {
    const FINGERPRINT: Fingerprint = {
        assert!(
            size_of::<T>() > 0,
            "an array in shared memory has elements with a size: for a count of things use a number, for nothing use `()` itself"
        );
        Description::of("array").number(N as u64).part(T::FINGERPRINT).fingerprint()
    };
    const LOCKS: bool = T::LOCKS;

    unsafe fn nodes(place: *const Self, visit: &mut Nodes) {
        // SAFETY: an array of N is a slice of N; the caller vouches for the place.
        unsafe { <[T]>::nodes(core::ptr::slice_from_raw_parts(place.cast(), N), visit) };
    }
}
// SAFETY: no padding between elements, and none in them.
unsafe impl<T: Plain, const N: usize> Plain for [T; N] {}

// SAFETY: a slice is its elements, one after the other.
unsafe impl<T: Shareable> Shareable for [T] {
    const FINGERPRINT: Fingerprint = Description::of("slice").part(T::FINGERPRINT).fingerprint();
    const LOCKS: bool = T::LOCKS;

    unsafe fn nodes(place: *const Self, visit: &mut Nodes) {
        if !T::LOCKS {
            return;
        }
        for index in 0..place.len() {
            let element = place.cast::<T>().wrapping_add(index);
            // SAFETY: the element is inside the slice that the caller vouches for.
            unsafe { T::nodes(element, visit) };
        }
    }
}

// SAFETY: a plain value is moved into the place.
#[diagnostic::do_not_recommend]
unsafe impl<T: Plain> Init<T> for T {
    unsafe fn init(self, place: *mut T) -> Result<()> {
        // SAFETY: the caller's obligation.
        unsafe { place.write(self) };
        Ok(())
    }
}

/// The initialiser that makes any plain value from zero bytes: the number 0, in each field or item.
///
/// ```
/// use ossature_sys::shm::{Racy, Shm, Zeroed};
///
/// let cells = Shm::place_slice::<Zeroed>(1000, |_| Zeroed)?;
/// let _: &[Racy<f64>] = &cells;
/// assert_eq!(cells[999].get(), 0.0);
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Zeroed;

// SAFETY: every bit pattern of a plain value is valid, so zeroes are.
unsafe impl<T: Plain> Init<T> for Zeroed {
    unsafe fn init(self, place: *mut T) -> Result<()> {
        // SAFETY: the caller's obligation.
        unsafe { place.write_bytes(0, 1) };
        Ok(())
    }
}

/// An initialiser from a function that writes the value in place; [`shareable!`](crate::shareable) structs use it.
#[doc(hidden)]
pub struct InitWith<T, F> {
    write: F,
    makes: PhantomData<fn() -> T>,
}

impl<T, F: FnOnce(*mut T) -> Result<()>> InitWith<T, F> {
    /// # Safety
    /// `write` may be called with a place as [`Init::init`] describes it, and makes it a valid `T` on success.
    pub unsafe fn new(write: F) -> Self {
        Self { write, makes: PhantomData }
    }
}

impl<T> InitWith<T, fn(*mut T) -> Result<()>> {
    /// An initialiser for a value of zero bytes.
    ///
    /// # Safety
    /// Zero bytes are a valid `T`.
    pub(crate) unsafe fn zeroed() -> Self {
        fn write<T>(place: *mut T) -> Result<()> {
            // SAFETY: the place meets the conditions of `Init::init`, and only `InitWith` uses this function.
            unsafe { place.write_bytes(0, 1) };
            Ok(())
        }
        Self { write, makes: PhantomData }
    }
}

/// Makes one field of a struct in place. The type of the field is inferred from the function that returns it.
///
/// # Safety
/// `place` is as [`Init::init`] describes it, and the field is at offset `offset` in it.
#[doc(hidden)]
pub unsafe fn init_field<S, F>(place: *mut S, offset: usize, init: impl Init<F>, _field: fn(&S) -> &F) -> Result<()> {
    let part = place.cast::<u8>().wrapping_add(offset).cast::<F>();
    // SAFETY: the field is inside the place, by the caller's obligation.
    unsafe { init.init(part) }
}

/// Visits the locks in one field of a struct. The type of the field is inferred from the function that returns it.
///
/// # Safety
/// `place` points to a value in a mapping, and the field is at offset `offset` in it.
#[doc(hidden)]
pub unsafe fn visit_field<S, F: Shareable>(place: *const S, offset: usize, visit: &mut Nodes, _field: fn(&S) -> &F) {
    let part = place.cast::<u8>().wrapping_add(offset).cast::<F>();
    // SAFETY: the field is inside the value, by the caller's obligation.
    unsafe { F::nodes(part, visit) };
}

impl<T, F> core::fmt::Debug for InitWith<T, F> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("InitWith")
    }
}

// SAFETY: the code that made the value promised it.
unsafe impl<T, F: FnOnce(*mut T) -> Result<()>> Init<T> for InitWith<T, F> {
    unsafe fn init(self, place: *mut T) -> Result<()> {
        (self.write)(place)
    }
}

/// An initialiser for an array: `init(index)` returns the initialiser of the element at `index`.
///
/// ```
/// use ossature_sys::{scope::Shared, shm::{Shm, array}, sync::lock::Lock};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let locks = Shm::place(array::<Lock<u32, Shared>, _, 4>(|index| Lock::shared(index as u32)))?;
/// assert_eq!(*locks[3].lock()?, 3);
/// # Ok(()) }
/// ```
pub fn array<T: Shareable, I: Init<T>, const N: usize>(mut init: impl FnMut(usize) -> I) -> impl Init<[T; N]> {
    let write = move |place: *mut [T; N]| {
        for index in 0..N {
            let element = place.cast::<T>().wrapping_add(index);
            // SAFETY: the element is inside the array's place, which meets the conditions of `Init::init`.
            unsafe { init(index).init(element) }?;
        }
        Ok(())
    };
    // SAFETY: every element is made, so the array is.
    unsafe { InitWith::new(write) }
}

/// Declares a struct that may be in shared memory.
///
/// Every field must be [`Shareable`]. The struct becomes `repr(C)` and gets a function `init` that takes an initialiser
/// for each field, in order, and returns one for the struct. With the word `plain` before `struct` it is
/// [`Plain`] as well: every field is, and there must be no padding, which is checked.
///
/// ```
/// use ossature_sys::{shareable, shm::{Racy, Shm}};
///
/// shareable! {
///     /// A point that may be read while another thread writes it.
///     #[derive(PartialEq, Debug)]
///     pub plain struct Point {
///         pub x: i32,
///         pub y: i32,
///     }
/// }
///
/// let point = Shm::place(Racy::new(Point { x: 1, y: 2 }))?;
/// point.set(Point { x: 3, y: 4 });
/// assert_eq!(point.get(), Point { x: 3, y: 4 });
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
///
/// An attribute may add traits and documentation. An attribute that adds, removes or moves fields does not compile: the
/// fields must be the written ones, in C's order. The checks apply to the struct that the compiler sees.
///
/// What another process cannot use is refused:
///
/// ```compile_fail
/// ossature_sys::shareable! { struct Named { name: &'static str } }
/// ```
///
/// ```compile_fail
/// ossature_sys::shareable! { struct Flag { up: bool } } // a half-written bool is not a bool
/// ```
///
/// ```compile_fail
/// use ossature_sys::sync::lock::Lock;
/// ossature_sys::shareable! { struct Wrong { lock: Lock<u32> } } // a private lock cannot wake another process
/// ```
///
/// ```compile_fail
/// ossature_sys::shareable! { #[repr(packed)] struct Packed { small: u8, large: u32 } } // a misaligned word is not atomic
/// let shm = ossature_sys::shm::Shm::place(Packed::init(1, 2));
/// ```
///
/// ```compile_fail
/// ossature_sys::shareable! { struct Nothing { many: [(); 3] } } // zero-sized values: use a number as a count
/// ```
///
/// ```compile_fail
/// ossature_sys::shareable! { plain struct Padded { small: u8, large: u32 } }
/// const _: ossature_sys::shm::Fingerprint = <Padded as ossature_sys::shm::Shareable>::FINGERPRINT;
/// ```
#[macro_export]
macro_rules! shareable {
    (
        $(#[$meta:meta])*
        $vis:vis plain struct $name:ident {
            $($(#[$field_meta:meta])* $field_vis:vis $field:ident : $type:ty),+ $(,)?
        }
    ) => {
        $crate::shareable! {
            $(#[$meta])*
            #[derive(Clone, Copy)]
            $vis struct $name { $($(#[$field_meta])* $field_vis $field: $type),+ }
        }
        // SAFETY: every field is Plain, and there is no padding: the sizes add up, which is checked.
        unsafe impl $crate::shm::Plain for $name {}
        const _: () = $crate::shm::PlainFields::<$name>::NONE
            $(.with(
                ::core::stringify!($field),
                ::core::mem::offset_of!($name, $field),
                |whole: &$name| &whole.$field,
            ))+
            .check();
    };
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident {
            $($(#[$field_meta:meta])* $field_vis:vis $field:ident : $type:ty),+ $(,)?
        }
    ) => {
        $(#[$meta])*
        #[repr(C)]
        $vis struct $name { $($(#[$field_meta])* $field_vis $field: $type),+ }

        const _: () = {
            // No attribute has added a field: such a field would be neither checked nor initialised.
            const _: fn(&$name) = |whole| {
                let $name { $($field: _),+ } = whole;
            };
            const FIELDS: $crate::shm::Fields<$name> = $crate::shm::Fields::of(::core::stringify!($name))
                $(.with(
                    ::core::stringify!($field),
                    ::core::mem::offset_of!($name, $field),
                    |whole: &$name| &whole.$field,
                ))+;
            // The checks of the struct run even if the struct is never placed.
            const _: $crate::shm::Fingerprint = <$name as $crate::shm::Shareable>::FINGERPRINT;

            // SAFETY: every field is Shareable, there are no others, the layout is C's, all of which is checked above;
            // and there is no Drop, which is checked where it is placed.
            unsafe impl $crate::shm::Shareable for $name {
                const FINGERPRINT: $crate::shm::Fingerprint = FIELDS.fingerprint();
                const LOCKS: bool = FIELDS.locks();

                unsafe fn nodes(place: *const Self, visit: &mut $crate::shm::Nodes) {
                    $(
                        let offset = ::core::mem::offset_of!($name, $field);
                        // SAFETY: the field is inside the value that the caller vouches for.
                        unsafe { $crate::shm::visit_field(place, offset, visit, |whole: &$name| &whole.$field) };
                    )+
                }
            }
        };

        #[allow(dead_code, reason = "a plain struct is its own initialiser")]
        impl $name {
            /// The initialiser of the struct in shared memory, from an initialiser of each field.
            #[allow(clippy::too_many_arguments, reason = "one for each field")]
            $vis fn init($($field: impl $crate::shm::Init<$type>),+) -> impl $crate::shm::Init<$name> {
                let write = move |place: *mut $name| {
                    $(
                        let offset = ::core::mem::offset_of!($name, $field);
                        // SAFETY: the field is inside the place, which meets the conditions of `Init::init`.
                        unsafe { $crate::shm::init_field(place, offset, $field, |whole: &$name| &whole.$field) }?;
                    )+
                    ::core::result::Result::Ok(())
                };
                // SAFETY: every field is made, so the struct is.
                unsafe { $crate::shm::InitWith::new(write) }
            }
        }
    };
}
