//! A plain struct with padding at its end.
//> behind the field `last` add a field `_pad: [u8; 4]`

#![allow(unused)]
use ossature::multiprocessing::{connection::*, *};
use ossature::sys::{scope::Shared, shareable, shm::Shm, sync::lock::Lock as SLock};

shareable! { #[repr(align(16))] plain struct Sample { first: f64, last: f32 } }
fn main() {}
