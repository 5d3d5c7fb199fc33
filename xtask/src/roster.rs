//! The tests that are run in machines, and which kernels each has something to ask.

/// Which kernels a test has something to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asks {
    All,
    /// Those that verify signatures.
    Verifying,
    /// Those that verify at load time.
    LoadTime,
    /// The same, in a machine with a firmware that revokes.
    Firmware,
}

/// Which of a kernel's machines runs a test: a kernel that runs them all has two, side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Half {
    /// The corpus, which takes as long as everything else.
    First,
    Second,
}

/// The test files that are run in machines: each is a test of a crate in `tests/`.
pub(crate) const TESTS: [(&str, Asks, Half); 15] = [
    ("admission", Asks::LoadTime, Half::First),
    ("attacks", Asks::Verifying, Half::First),
    ("broken", Asks::All, Half::First),
    ("end_to_end", Asks::Verifying, Half::First),
    ("examples", Asks::LoadTime, Half::First),
    ("faults", Asks::LoadTime, Half::Second),
    ("load", Asks::Verifying, Half::Second),
    ("matrix", Asks::Verifying, Half::First),
    ("random", Asks::All, Half::Second),
    ("refusals", Asks::LoadTime, Half::First),
    ("revocation", Asks::Firmware, Half::First),
    ("scenarios", Asks::LoadTime, Half::First),
    ("signatures", Asks::LoadTime, Half::Second),
    ("taken", Asks::LoadTime, Half::Second),
    ("work", Asks::LoadTime, Half::First),
];

/// Their names.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    TESTS.into_iter().map(|(name, ..)| name)
}
