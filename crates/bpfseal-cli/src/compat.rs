//! What bpftool's command line allows and ours would not: options in front of the verb.
//!
//! `bpftool -L -S -k K -i C gen skeleton OBJ` has the options of `gen skeleton` before `gen`; they
//! are moved behind it.

use std::ffi::{OsStr, OsString};

/// Options of `gen skeleton`, and whether a value follows.
const OPTIONS: [(&str, bool); 7] = [
    ("-L", false),
    ("--use-loader", false),
    ("-S", false),
    ("--sign", false),
    ("-k", true),
    ("-i", true),
    ("-d", false),
];

/// The arguments in the order that our parser takes.
pub(crate) fn arguments(all: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut all: Vec<OsString> = all.collect();
    let mut at = 1;
    while let Some((_, has_value)) = all.get(at).and_then(|word| {
        OPTIONS
            .iter()
            .find(|(option, _)| matches_option(word, option))
    }) {
        // `-kKEY` carries its value.
        let separate = *has_value && all[at].len() == 2;
        at += if separate { 2 } else { 1 };
    }
    if at > 1 && all.get(at).is_some_and(|verb| verb == "gen") {
        all[1..=at].rotate_right(1);
    }
    all
}

fn matches_option(word: &OsStr, option: &str) -> bool {
    if word == option {
        return true;
    }
    // Short options may be joined: `-LS`, `-kKEY`.
    let text = word.to_string_lossy();
    !option.starts_with("--") && text.len() > 2 && text.starts_with(option)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(given: &str, expect: &str) {
        let given = given.split(' ').map(OsString::from);
        let expect: Vec<_> = expect.split(' ').map(OsString::from).collect();
        assert_eq!(arguments(given), expect);
    }

    #[test]
    fn options_move_behind_the_verb() {
        check("b -L gen skeleton x.o", "b gen -L skeleton x.o");
        check(
            "b -LS -k K -iC gen skeleton x.o",
            "b gen -LS -k K -iC skeleton x.o",
        );
        check("b gen skeleton -L x.o", "b gen skeleton -L x.o");
        check("b seal x.o -k K", "b seal x.o -k K");
        check("b -k", "b -k");
    }
}
