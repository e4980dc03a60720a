//! Attributes and macros that change a struct which `shareable!` describes, and the compiler's result for each.
//!
//! A `compile_fail` test does not say why it fails. So each is beside a test that differs only in the macro's name, and
//! compiles.
//!
//! # Attributes
//!
//! An attribute that changes nothing compiles:
//!
//! ```
//! ossature_sys::shareable! {
//!     #[ossature_macros_for_tests::unchanged(extra: &'static str)]
//!     #[derive(Debug)]
//!     pub struct Named { number: u64, small: u8 }
//! }
//! let named = ossature_sys::shm::Shm::place(Named::init(7, 8)).unwrap();
//! assert_eq!((named.number, named.small), (7, 8));
//! ```
//!
//! An attribute that adds a field does not compile, because the field would be unchecked and zero:
//!
//! ```compile_fail
//! ossature_sys::shareable! {
//!     #[ossature_macros_for_tests::with_field(extra: &'static str)]
//!     #[derive(Debug)]
//!     pub struct Named { number: u64, small: u8 }
//! }
//! ```
//!
//! A field in C's padding does not compile either, nor does a field without size:
//!
//! ```compile_fail
//! ossature_sys::shareable! {
//!     #[ossature_macros_for_tests::with_field(extra: bool)]
//!     pub struct Named { number: u64, small: u8 }
//! }
//! ```
//!
//! ```compile_fail
//! ossature_sys::shareable! {
//!     #[ossature_macros_for_tests::with_field(extra: ())]
//!     pub struct Named { number: u64, small: u8 }
//! }
//! ```
//!
//! An attribute that removes `repr(C)` changes the offsets of the fields. With two fields of one size there is no
//! difference:
//!
//! ```
//! ossature_sys::shareable! {
//!     #[ossature_macros_for_tests::without_repr]
//!     pub struct Even { one: u64, two: u64 }
//! }
//! ```
//!
//! ```compile_fail
//! ossature_sys::shareable! {
//!     #[ossature_macros_for_tests::without_repr]
//!     pub struct Uneven { one: u8, two: u64, three: u8 }
//! }
//! ```
//!
//! # Types
//!
//! A macro in the place of a type is expanded wherever the type is named. One that always says the same is welcome:
//!
//! ```
//! ossature_sys::shareable! {
//!     pub struct Same { field: ossature_macros_for_tests::always!(u64, u64, u64, u64, u64, u64, u64, u64) }
//! }
//! let same = ossature_sys::shm::Shm::place(Same::init(7_u64)).unwrap();
//! assert_eq!(same.field, 7);
//! ```
//!
//! One that says something else each time does not get past the check of the one and into the struct as another. The
//! list says what it is at its first expansion, at its second, and so on, of which the first is the struct's, and the
//! second after a derive:
//!
//! ```compile_fail
//! ossature_sys::shareable! {
//!     pub struct Other { field: ossature_macros_for_tests::in_turn!(&'static u64, u64, u64, u64, u64, u64, u64, u64) }
//! }
//! ```
//!
//! ```compile_fail
//! ossature_sys::shareable! {
//!     pub struct Other { field: ossature_macros_for_tests::in_turn!(u64, &'static u64, u64, u64, u64, u64, u64, u64) }
//! }
//! let other = ossature_sys::shm::Shm::place(Other::init(&7)).unwrap();
//! ```
//!
//! ```compile_fail
//! ossature_sys::shareable! {
//!     plain struct Other { field: ossature_macros_for_tests::in_turn!(u8, bool, u8, u8, u8, u8, u8, u8) }
//! }
//! ```
//!
//! ```
//! ossature_sys::shareable! {
//!     plain struct Same { field: ossature_macros_for_tests::always!(u8, u8, u8, u8, u8, u8, u8, u8) }
//! }
//! ```

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use proc_macro::{TokenStream, TokenTree};

/// Leaves the struct unchanged.
#[proc_macro_attribute]
pub fn unchanged(_: TokenStream, item: TokenStream) -> TokenStream {
    item
}

/// Adds its argument as the last field.
#[proc_macro_attribute]
pub fn with_field(field: TokenStream, item: TokenStream) -> TokenStream {
    let text = item.to_string();
    let (fields, _) = text.rsplit_once('}').expect("a struct with named fields");
    format!("{}, {field} }}", fields.trim_end().trim_end_matches(',')).parse().expect("a struct")
}

/// Removes `repr(C)`.
#[proc_macro_attribute]
pub fn without_repr(_: TokenStream, item: TokenStream) -> TokenStream {
    let text = item.to_string();
    let (before, after) = text.split_once("#[repr(C)]").expect("it is there");
    format!("{before}{after}").parse().expect("a struct")
}

/// Expands to the first of the types every time.
#[proc_macro]
pub fn always(types: TokenStream) -> TokenStream {
    nth(types, 0)
}

/// Expands to the types one after the other.
#[proc_macro]
pub fn in_turn(types: TokenStream) -> TokenStream {
    static TURN: AtomicUsize = AtomicUsize::new(0);
    nth(types, TURN.fetch_add(1, Relaxed))
}

fn nth(types: TokenStream, n: usize) -> TokenStream {
    let is_comma = |token: &TokenTree| matches!(token, TokenTree::Punct(point) if point.as_char() == ',');
    let tokens: Vec<TokenTree> = types.into_iter().collect();
    tokens.split(is_comma).nth(n).expect("as many types as expansions").iter().cloned().collect()
}
