//! A plain struct with padding.
//> behind the field `channel` add a field `_pad: [u8; 7]`

#![allow(unused)]
use ossature::multiprocessing::{connection::*, *};
use ossature::sys::{scope::Shared, shareable, shm::Shm, sync::lock::Lock as SLock};

shareable! { plain struct Sample { channel: u8, volts: f64 } }
fn main() {}
