//! The ends that a forked child keeps, and those that it closes.

use std::rc::Rc;
use std::sync::Arc;

use ossature_sys::errno;
use ossature_sys::fd::Placeholder;

use super::Process;
use super::descriptors::List;
use crate::error::{Error, Result};

/// The ends with which a child can be [forked][fork_with]: pipe ends, connections, listeners,
/// and handles of other processes. The child keeps these and no others.
///
/// Implemented for these types, for references to them, and for the usual collections. A struct implements the trait by
/// listing its fields:
/// ```
/// use ossature::multiprocessing::connection::{Connection, Listener};
/// use ossature::multiprocessing::process::{Ends, Kept};
///
/// struct Server {
///     listener: Listener,
///     clients: Vec<Connection>,
/// }
///
/// impl Ends for Server {
///     fn keep(&self, kept: &mut Kept) {
///         self.listener.keep(kept);
///         self.clients.keep(kept);
///     }
/// }
/// ```
///
/// [fork_with]: crate::multiprocessing::process::ProcessBuilder::fork_with
#[diagnostic::on_unimplemented(
    message = "`{Self}` holds no ends that a forked child can keep",
    note = "pass the connections, listeners and processes that the child keeps, by value or by reference; the closure may capture everything else"
)]
pub trait Ends {
    /// Adds every end in `self` to the list of ends that the child keeps.
    fn keep(&self, kept: &mut Kept);
}

/// The list of the ends that a forked child keeps.
///
/// # Examples
/// See the example of [`Ends`].
#[derive(Debug, Default)]
pub struct Kept {
    /// The addresses of the descriptors' owners, which identify them.
    places: Vec<usize>,
}

impl Kept {
    /// Adds the owner of a descriptor, by its address.
    pub(crate) fn add(&mut self, place: usize) {
        self.places.push(place);
    }
}

/// The preparation before a fork: the child needs no new descriptor and no memory to close the other ends.
pub(crate) struct LettingGo {
    kept: Kept,
    placeholder: Placeholder,
}

impl LettingGo {
    pub(crate) fn of_all_but(ends: &impl Ends) -> Result<Self> {
        let mut kept = Kept::default();
        ends.keep(&mut kept);
        let placeholder = Placeholder::new()
            .map_err(|errno| Error::os(errno, "cannot fork: cannot create the placeholder socket for closed ends"))?;
        Ok(Self { kept, placeholder })
    }

    /// Whether the child keeps the owner at this address.
    pub(super) fn keeps(&self, place: usize) -> bool {
        self.kept.places.contains(&place)
    }

    /// Closes the descriptors on the list, except for the kept ones.
    pub(crate) fn of(self, list: &List) -> errno::Result<()> {
        list.detach_all_but(&self.kept.places, &self.placeholder)
    }
}

impl Ends for Process {
    fn keep(&self, kept: &mut Kept) {
        kept.add(self.place());
    }
}

/// Implements [`Ends`] for wrappers, which keep the ends of the value inside.
macro_rules! through {
    ($($pointer:ty),*) => {$(
        impl<T: Ends + ?Sized> Ends for $pointer {
            fn keep(&self, kept: &mut Kept) {
                (**self).keep(kept);
            }
        }
    )*};
}

through!(&T, &mut T, Box<T>, Rc<T>, Arc<T>);

impl<T: Ends> Ends for [T] {
    fn keep(&self, kept: &mut Kept) {
        self.iter().for_each(|end| end.keep(kept));
    }
}

impl<T: Ends, const N: usize> Ends for [T; N] {
    fn keep(&self, kept: &mut Kept) {
        self.as_slice().keep(kept);
    }
}

impl<T: Ends> Ends for Vec<T> {
    fn keep(&self, kept: &mut Kept) {
        self.as_slice().keep(kept);
    }
}

impl<T: Ends> Ends for Option<T> {
    fn keep(&self, kept: &mut Kept) {
        self.as_slice().keep(kept);
    }
}

macro_rules! tuples {
    () => {
        impl Ends for () {
            fn keep(&self, _: &mut Kept) {}
        }
    };
    ($first:ident $($rest:ident)*) => {
        impl<$first: Ends, $($rest: Ends),*> Ends for ($first, $($rest,)*) {
            #[allow(non_snake_case, reason = "a type parameter and the element of its type have one name")]
            fn keep(&self, kept: &mut Kept) {
                let ($first, $($rest,)*) = self;
                $first.keep(kept);
                $($rest.keep(kept);)*
            }
        }
        tuples!($($rest)*);
    };
}

tuples!(A B C D E F G H);
