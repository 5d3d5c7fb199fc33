//! No code, only features.
//!
//! Cargo builds a dependency once for each set of features that somebody asks for, and all that
//! depends on it with it. The command of the developers, the whole workspace, and what build
//! scripts use ask for different sets; with this crate among their dependencies they ask for the
//! same. Nothing checks that: a feature that is missing here costs time, not correctness.
#![forbid(unsafe_code)]
