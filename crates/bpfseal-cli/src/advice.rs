//! What to do about a refusal, in terms of this command: one table, by what the refusal means.
//!
//! What it means is the library's to say (`bpfseal::artifact::install`); which verb or flag helps is
//! known here only.

use bpfseal::artifact::install::Code;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asker {
    /// `load`: on this machine, now.
    Load,
    /// `explain`: of some kernel.
    Explain,
}

const RESEAL: &str = "seal it for this kernel too: `bpfseal seal --scheme all-kernels`";
const AGAIN: &str =
    "get the artifact from its maker again; `bpfseal verify` says which part is wrong";
const FILES: &str = "raise the limit with `ulimit -n`";
const REPORT: &str = "this is a fault of whoever loads it; please report it if that was bpfseal";
const REMAKE: &str = "make the loader with bpfseal or bpftool, which name maps by their place";
const LOG: &str = "the log says why; `bpfseal load --log-level 1` shows the whole way to it";

/// What it means, what to do, and what else `explain` says about it.
type Row = (Code, &'static str, Option<&'static str>);

#[rustfmt::skip]
const ROWS: &[Row] = &[
    (Code::MarkNotReadable, RESEAL, None),
    (Code::BoundToAnother, AGAIN, None),
    (Code::BindsBtf, "make the loader with bpfseal or bpftool", None),
    (Code::Changed, AGAIN, None),
    (Code::ChangedOrOtherScheme,
        "get the artifact from its maker again; `bpfseal verify` says which part is wrong, and `bpfseal explain` which kernels take it",
        None),
    (Code::InLoaderScheme, RESEAL, None),
    (Code::ObjectMemory, "make its maps smaller, or the memory larger", None),
    (Code::ObjectFiles, FILES, None),
    (Code::ObjectFunction, "load it on a kernel that has it, or make its program `SEC(\"?…\")`", None),
    (Code::ObjectSymbol, "load it on a kernel that has it, or declare it `__weak`", None),
    (Code::ObjectVerifier, LOG, Some("`bpfseal audit` says what the loader does")),
    (Code::ObjectInvalid, LOG, Some("`bpfseal audit` says what the loader does")),
    (Code::ObjectInvalidOrMetadata, LOG, Some("`bpfseal audit` says what the loader does")),
    (Code::ObjectNotPermitted,
        "run as root, or with CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN; or ask the security module's policy",
        None),
    (Code::ObjectTooLarge, LOG, Some("`bpfseal audit` says what the loader does")),
    (Code::ObjectRefused, LOG, Some("`bpfseal audit` says what the loader does")),
    (Code::NotALoader, "look at it with `bpfseal inspect`", None),
    (Code::MapByDescriptor, REMAKE, None),
    (Code::MapNotArray, REPORT, None),
    (Code::MapNotCovered, "the loader is not one for load-time verification: seal the object again", None),
    (Code::MapNotReady, REPORT, None),
    (Code::MetadataBusy, "let nobody else write to it, and try again", None),
    (Code::Mismatch, AGAIN, None),
    (Code::MetadataChanged, AGAIN, None),
    (Code::NoAlgorithm, "sign with RSA or ECDSA and SHA-256; `bpfseal doctor` says what this kernel has",
        Some("sign with RSA or ECDSA and SHA-256")),
    (Code::NoBpf, "use a kernel with CONFIG_BPF_SYSCALL", None),
    (Code::NoExclusiveMaps, "use Linux 6.18 or later; signatures cover everything since 7.3", None),
    (Code::NoKey, "add its certificate with --trust, or name the keyring that has it with --keyring",
        Some("add its certificate to the keyring; for a signer with an embedded chain, that of its issuer")),
    (Code::NoKeyring, "name another one with --keyring", Some("name another one with --keyring-id")),
    (Code::NoMetadata, "get the artifact from its maker again", None),
    (Code::NoSignatures, "use Linux 7.3 or later", None),
    (Code::NoVerification, "use Linux 7.3 or later with CONFIG_SYSTEM_DATA_VERIFICATION", None),
    (Code::NotAMap, REPORT, None),
    (Code::NotOpen, REPORT, None),
    (Code::NotPermitted, "run as root, or with CAP_BPF and CAP_PERFMON", None),
    (Code::NotPkcs7, AGAIN, None),
    (Code::OtherScheme, RESEAL, None),
    (Code::PayloadTooLarge, "make the object smaller, its zeroed data first", None),
    (Code::Policy,
        "sign it with a key that the policy takes; `bpfseal keyring` puts certificates into keyrings",
        None),
    (Code::PolicyOnObject,
        "what a loader installs comes from the kernel and has no signature of its own: a policy has to let it through",
        None),
    (Code::Refused, "look at the kernel's log, and at `dmesg`", Some(AGAIN)),
    (Code::RunNotPermitted, "run as root, or with CAP_BPF", None),
    (Code::SecurityModule, "ask the module's policy, or run as root", None),
    (Code::SignatureSize, "look at the artifact with `bpfseal inspect`, and get it from its maker again", None),
    (Code::TooManyMaps, REPORT, None),
    (Code::TooManyFiles, FILES, None),
    (Code::Unlisted, "sign with --scheme hornet", None),
    (Code::Verifier, "look at the kernel's log above", Some("`bpfseal audit` says what the loader does")),
    (Code::LoaderInvalid, "look at it with `bpfseal inspect`", None),
];

/// What to do about a refusal.
pub(crate) fn advice(code: Code, asker: Asker) -> &'static str {
    let row = ROWS.iter().find(|row| row.0 == code);
    // A test sees that each code has a row.
    row.map_or(AGAIN, |row| match asker {
        Asker::Load => row.1,
        Asker::Explain => row.2.unwrap_or(row.1),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_one_row() {
        for code in Code::ALL {
            let rows = ROWS.iter().filter(|row| row.0 == *code);
            assert_eq!(rows.count(), 1, "{code:?}");
        }
        assert_eq!(ROWS.len(), Code::ALL.len());
    }

    /// Flags that an advice names are those of a verb that it is given for.
    #[test]
    fn advice_names_flags_that_there_are() {
        use clap::CommandFactory as _;
        let command = crate::Cli::command();
        let has = |verb: &str, flag: &str| {
            let verb = command.find_subcommand(verb);
            let arguments = verb.into_iter().flat_map(clap::Command::get_arguments);
            arguments
                .filter_map(clap::Arg::get_long)
                .any(|long| long == flag)
        };
        for (code, load, explain) in ROWS {
            let explain = explain.unwrap_or(load);
            for (asker, text) in [("load", *load), ("explain", explain)] {
                for word in text.split_whitespace() {
                    let word = word.trim_matches(|c: char| !c.is_ascii_alphanumeric() && c != '-');
                    let Some(flag) = word.strip_prefix("--") else {
                        continue;
                    };
                    // A verb that is named with a flag is the one that has it.
                    let named = ["seal", "load"].into_iter();
                    let named = named.filter(|verb| text.contains(&format!("bpfseal {verb}")));
                    let verbs: Vec<_> = match named.collect::<Vec<_>>() {
                        none if none.is_empty() => vec![asker, "seal"],
                        named => named,
                    };
                    let known = verbs.iter().any(|verb| has(verb, flag));
                    assert!(known, "{code:?}: --{flag} of {verbs:?}");
                }
            }
        }
    }
}
