//! Starts that the system refuses.

use crate::harness::Test;

pub const TESTS: &[Test] = &[];
