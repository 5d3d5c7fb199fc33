//! No code, only features.
//!
//! Cargo builds a dependency once for each set of features that somebody asks for, and all that
//! depends on it with it. The command of the developers, the whole workspace, and what build
//! scripts use ask for different sets; with this crate among their dependencies they ask for the
//! same. `cargo xtask structure` says when one is missing here.
#![forbid(unsafe_code)]
