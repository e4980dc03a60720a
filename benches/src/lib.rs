//! The house beside its rivals.
