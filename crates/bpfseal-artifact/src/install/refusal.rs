//! What the answers of a kernel mean: one table, by step, errno, what the log says, and what is
//! known besides.
//!
//! Sources: the order of checks in `BPF_PROG_LOAD` of Linux 6.18 to 7.3, and what was seen on real
//! kernels. What to do about a refusal depends on who is told of it, and is not said here.

use std::fmt;

use bpfseal_seal::Scheme;
use bpfseal_uapi::Errno;

use super::plan::{Call, InstallPlan};
use super::step::Step;

/// What a kernel is known to check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Checks {
    /// It is not known.
    #[default]
    Unknown,
    /// No signatures: it has neither these nor exclusive maps.
    Nothing,
    /// One scheme.
    Scheme(Scheme),
}

/// What is known besides the kernel's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Circumstances {
    /// The scheme that the loader is signed by; none for an unsigned one.
    pub scheme: Option<Scheme>,
    /// Whether the loader has no metadata at all.
    pub no_metadata: bool,
    /// What the kernel checks.
    pub checks: Checks,
}

impl Circumstances {
    /// Whether the kernel checks the bytes that were signed, where that is known.
    fn same_bytes(self) -> Option<bool> {
        match (self.scheme, self.checks) {
            (Some(own), Checks::Scheme(checked)) => {
                let both = own.checks_in_loader() && checked.checks_in_loader();
                Some(own == checked || both)
            }
            _ => None,
        }
    }
}

/// What has to be the case for a row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Always,
    /// The loader is signed.
    Signed,
    /// The loader is not signed.
    Unsigned,
    /// The loader has no metadata.
    NoMetadata,
    /// The kernel is known to check the bytes that the loader's scheme signs.
    SameBytes,
    /// The kernel is known to check other bytes.
    OtherBytes,
    /// The loader reads the mark of exclusive maps, which the kernel is known not to show.
    UnreadableMark,
    /// The loader checks its metadata itself.
    InLoader,
}

impl When {
    fn holds(self, known: Circumstances) -> bool {
        match self {
            Self::Always => true,
            Self::Signed => known.scheme.is_some(),
            Self::Unsigned => known.scheme.is_none(),
            Self::NoMetadata => known.no_metadata,
            Self::SameBytes => known.same_bytes() == Some(true),
            Self::OtherBytes => known.same_bytes() == Some(false),
            Self::UnreadableMark => {
                known.scheme == Some(Scheme::InLoaderExclusive)
                    && known.checks == Checks::Scheme(Scheme::InLoader)
            }
            Self::InLoader => known.scheme.is_some_and(Scheme::checks_in_loader),
        }
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $code:ident, $name:literal, $meaning:literal;)*) => {
        /// What a refusal means, in a word.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[$doc])* $code,)*
        }

        impl Code {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$code),*];

            /// A word for programs.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$code => $name,)*
                }
            }

            /// What it means, in words.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Self::$code => $meaning,)*
                }
            }
        }
    };
}

codes! {
    /// The mark of exclusive maps cannot be read by programs.
    MarkNotReadable, "mark-not-readable",
    "the loader reads the mark of exclusive maps, which this kernel does not show to programs";
    /// A map is bound to another program.
    BoundToAnother, "bound-to-another",
    "the metadata map is bound to another program: the instructions or the digest were changed";
    /// A BTF is bound to a signed program.
    BindsBtf, "binds-btf",
    "the loader uses type information or functions of a module, which no signature covers";
    /// The signature holds for other bytes.
    Changed, "changed",
    "the signature does not match: instructions or metadata were changed, or the key is revoked";
    /// The same, or the kernel checks another scheme.
    ChangedOrOtherScheme, "changed-or-other-scheme",
    "the signature does not match: instructions or metadata were changed, the key is revoked, or the kernel checks another scheme";
    /// A loader of an in-loader scheme on a kernel that verifies at load time.
    InLoaderScheme, "in-loader-scheme",
    "the loader is signed by an in-loader scheme, which binds no map to the signature; this kernel verifies at load time";
    /// The running loader was not given enough memory.
    ObjectMemory, "object-memory",
    "there is not enough memory for the maps of the object";
    /// The object needs more files than the process may have open.
    ObjectFiles, "object-files",
    "this process has too many open files for all maps and programs of the object";
    /// A function or type of the kernel is missing.
    ObjectFunction, "object-function",
    "this kernel does not have a function or type that the object needs";
    /// A symbol of the kernel is missing.
    ObjectSymbol, "object-symbol",
    "this kernel does not have a symbol that the object needs";
    /// The verifier refused a program.
    ObjectVerifier, "object-verifier",
    "the verifier refused a program of the object";
    /// A map or program is not what the kernel takes.
    ObjectInvalid, "object-invalid",
    "this kernel does not accept a map or program of the object";
    /// The same, or the loader refused its metadata.
    ObjectInvalidOrMetadata, "object-invalid-or-metadata",
    "the loader refused its metadata, or this kernel does not accept a map or program of the object";
    /// Rights, or a security module.
    ObjectNotPermitted, "object-not-permitted",
    "this process is not permitted to create a map or program of the object, or a security module refused it";
    /// A map or program is too large.
    ObjectTooLarge, "object-too-large",
    "a map or program of the object is larger than the kernel accepts";
    /// Anything else that a loader is answered.
    ObjectRefused, "object-refused",
    "a map or program of the object was refused";
    /// What the loader leaves is no result of a loader.
    NotALoader, "not-a-loader",
    "the program left something other than descriptors: it is not a loader that libbpf or bpfseal made";
    /// A map is reached by its descriptor.
    MapByDescriptor, "map-by-descriptor",
    "the loader names a map by its descriptor, which no signature can cover";
    /// A bound map is no array.
    MapNotArray, "map-not-array",
    "a bound map is not an array, and only arrays can be covered by a signature";
    /// A map is reached that is not bound.
    MapNotCovered, "map-not-covered",
    "the loader uses a map that the signature does not cover";
    /// A bound map is not frozen or not exclusive.
    MapNotReady, "map-not-ready",
    "the metadata map is not frozen or not exclusive, as a signature requires";
    /// A bound map has writers.
    MetadataBusy, "metadata-busy",
    "the metadata map is being written to";
    /// A seal does not go with its loader.
    Mismatch, "mismatch",
    "the seal does not go with its loader";
    /// The loader refused its metadata.
    MetadataChanged, "metadata-changed",
    "the loader refuses to run: the metadata does not match the digest in its instructions";
    /// The algorithm is missing.
    NoAlgorithm, "no-algorithm",
    "this kernel does not have the algorithm of the signature";
    /// There is no BPF.
    NoBpf, "no-bpf",
    "this kernel has no BPF";
    /// There are no exclusive maps.
    NoExclusiveMaps, "no-exclusive-maps",
    "this kernel has neither exclusive maps nor signatures of BPF programs";
    /// The signer's key is not there.
    NoKey, "no-key",
    "the signer's key is not in the keyring";
    /// The keyring is not there.
    NoKeyring, "no-keyring",
    "the keyring does not exist";
    /// The loader has no metadata.
    NoMetadata, "no-metadata",
    "the loader has no metadata";
    /// Signatures are not in this kernel.
    NoSignatures, "no-signatures",
    "this kernel does not know signatures of BPF programs";
    /// Verification is not built in.
    NoVerification, "no-verification",
    "this kernel does not verify signatures of BPF programs";
    /// Something bound is no map.
    NotAMap, "not-a-map",
    "a descriptor that is bound is not a map";
    /// Something bound is closed.
    NotOpen, "not-open",
    "a descriptor that is bound is not open";
    /// This process has no right to it.
    NotPermitted, "not-permitted",
    "this process may not use BPF";
    /// The message cannot be read.
    NotPkcs7, "not-pkcs7",
    "the signature is not a PKCS#7 message";
    /// The kernel checks another scheme.
    OtherScheme, "other-scheme",
    "this kernel checks another scheme: it expects the signature to cover other bytes";
    /// Instructions and metadata are too large.
    PayloadTooLarge, "payload-too-large",
    "instructions and metadata are larger than the kernel verifies, about 16 MiB";
    /// A policy of a security module.
    Policy, "policy",
    "the policy of a security module refuses it";
    /// A policy that refuses what a loader installs.
    PolicyOnObject, "policy-on-object",
    "the policy of a security module refuses what the loader installs";
    /// Any other answer.
    Refused, "refused",
    "the kernel refused a call";
    /// The run was refused.
    RunNotPermitted, "run-not-permitted",
    "this process may not run programs, or a security module refused";
    /// A security module, or rights.
    SecurityModule, "security-module",
    "a security module refused the loader, or this process may not load programs";
    /// The size of the signature, or something else about the load.
    SignatureSize, "signature-size",
    "the kernel does not accept the size of the signature (1 to 8,192 bytes) or the instructions of the loader";
    /// Too many maps are bound.
    TooManyMaps, "too-many-maps",
    "more than 4,096 maps are bound";
    /// Too many open files.
    TooManyFiles, "too-many-files",
    "this process has too many open files";
    /// Hornet, which wants digests of maps.
    Unlisted, "unlisted",
    "the security module refuses programs that are not signed with the digests of their maps";
    /// The verifier, or a security module.
    Verifier, "verifier",
    "the verifier or a security module refused the loader";
    /// What the kernel accepts, an unsigned loader is not.
    LoaderInvalid, "loader-invalid",
    "the kernel does not accept the instructions of the loader";
}

/// Step, errno, part of the log if that tells cases apart, what has to be the case, what it means.
type Row = (Step, Option<Errno>, &'static str, When, Code);

/// The first row that fits counts: what the log says comes before what only an errno says. None for
/// an errno is any.
#[rustfmt::skip]
const ROWS: &[Row] = {
    use Step::{
        CreateMetadata as Create, InstallObject as Object, LoadLoader as Load, RunLoader as Run,
    };
    use When::{
        Always, InLoader, NoMetadata, OtherBytes, SameBytes, Signed, UnreadableMark, Unsigned,
    };
    &[
        (Create, Some(Errno::EPERM), "", Always, Code::NotPermitted),
        (Create, Some(Errno::ENOSYS), "", Always, Code::NoBpf),
        (Create, Some(Errno::EMFILE), "", Always, Code::TooManyFiles),
        (Create, Some(Errno::EINVAL), "", NoMetadata, Code::NoMetadata),
        (Create, Some(Errno::EINVAL), "", Unsigned, Code::Refused),
        (Create, Some(Errno::EINVAL), "", Always, Code::NoExclusiveMaps),
        (Create, Some(Errno::E2BIG), "", Unsigned, Code::Refused),
        (Create, Some(Errno::E2BIG), "", Always, Code::NoExclusiveMaps),
        (Load, Some(Errno::EMFILE), "", Always, Code::TooManyFiles),
        (Load, Some(Errno::ENOKEY), "", Signed, Code::NoKey),
        (Load, Some(Errno::EKEYREJECTED), "", OtherBytes, Code::OtherScheme),
        (Load, Some(Errno::EKEYREJECTED), "", SameBytes, Code::Changed),
        (Load, Some(Errno::EKEYREJECTED), "", Signed, Code::ChangedOrOtherScheme),
        (Load, Some(Errno::EBADMSG), "", Signed, Code::NotPkcs7),
        (Load, Some(Errno::ENOPKG), "", Signed, Code::NoAlgorithm),
        (Load, Some(Errno::EOPNOTSUPP), "", Signed, Code::NoVerification),
        (Load, Some(Errno::E2BIG), "payload too large", Signed, Code::PayloadTooLarge),
        (Load, Some(Errno::E2BIG), "fd_array has too many entries", Always, Code::TooManyMaps),
        (Load, Some(Errno::E2BIG), "", Unsigned, Code::LoaderInvalid),
        (Load, Some(Errno::E2BIG), "", Signed, Code::NoSignatures),
        (Load, Some(Errno::EINVAL), "cannot resolve signing keyring", Signed, Code::NoKeyring),
        (Load, Some(Errno::EINVAL), "must be an array", Signed, Code::MapNotArray),
        (Load, Some(Errno::EINVAL), "not pointing to valid bpf_map", Always, Code::NotAMap),
        (Load, Some(Errno::EINVAL), "by fd", Signed, Code::MapByDescriptor),
        (Load, Some(Errno::EINVAL), "", Unsigned, Code::LoaderInvalid),
        (Load, Some(Errno::EINVAL), "", Signed, Code::SignatureSize),
        (Load, Some(Errno::EBADF), "", Always, Code::NotOpen),
        (Load, Some(Errno::EBUSY), "", Always, Code::MetadataBusy),
        (Load, Some(Errno::EPERM), "must be", Signed, Code::MapNotReady),
        (Load, Some(Errno::EPERM), "", Always, Code::SecurityModule),
        (Load, Some(Errno::EACCES), "excl_prog_hash", Always, Code::BoundToAnother),
        (Load, Some(Errno::EACCES), "cannot bind any BTF", Signed, Code::BindsBtf),
        (Load, Some(Errno::EACCES), "must bind maps", Signed, Code::InLoaderScheme),
        (Load, Some(Errno::EACCES), "signed program", Signed, Code::MapNotCovered),
        (Load, Some(Errno::EACCES), "", UnreadableMark, Code::MarkNotReadable),
        (Load, Some(Errno::EACCES), "", Always, Code::Verifier),
        (Run, Some(Errno::EPERM), "", Always, Code::RunNotPermitted),
        (Object, Some(Errno::EMFILE), "", Always, Code::ObjectFiles),
        (Object, Some(Errno::ENOMEM), "", Always, Code::ObjectMemory),
        (Object, Some(Errno::ESRCH), "", Always, Code::ObjectFunction),
        (Object, Some(Errno::ENOENT), "", Always, Code::ObjectSymbol),
        (Object, Some(Errno::EACCES), "", Always, Code::ObjectVerifier),
        (Object, Some(Errno::EINVAL), "", InLoader, Code::ObjectInvalidOrMetadata),
        (Object, Some(Errno::EINVAL), "", Always, Code::ObjectInvalid),
        (Object, Some(Errno::EPERM), "", Always, Code::ObjectNotPermitted),
        (Object, Some(Errno::E2BIG), "", Always, Code::ObjectTooLarge),
        (Object, None, "", Always, Code::ObjectRefused),
    ]
};

/// A refusal, and what it means. Displayed in words.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// Where.
    pub step: Step,
    /// The kernel's answer.
    pub errno: Errno,
    /// What it logged, line by line; empty where it was not asked to, or says nothing.
    pub log: String,
    /// What it means.
    pub code: Code,
    /// Whether the loader is signed.
    pub signed: bool,
    /// What was refused in particular, where that is known.
    pub what: Option<String>,
    /// The security module that refused it, where that is known.
    pub module: Option<&'static str>,
}

impl Refusal {
    /// Looks up what an answer means.
    #[must_use]
    pub fn new(step: Step, errno: Errno, log: String, known: Circumstances) -> Self {
        let fits = |row: &&Row| {
            row.0 == step
                && row.1.is_none_or(|wanted| wanted == errno)
                && log.contains(row.2)
                && row.3.holds(known)
        };
        let code = ROWS.iter().find(fits).map_or(Code::Refused, |row| row.4);
        Self {
            step,
            errno,
            code,
            signed: known.scheme.is_some(),
            log,
            what: None,
            module: None,
        }
    }

    /// At which step, in words.
    #[must_use]
    pub fn describe_step(&self) -> &'static str {
        if self.signed {
            self.step.describe_signed()
        } else {
            self.step.describe()
        }
    }

    /// The same, where more is known of what it means.
    #[must_use]
    pub fn with_code(self, code: Code) -> Self {
        Self { code, ..self }
    }

    /// The same, of something in particular, such as ``loading program `x` ``.
    #[must_use]
    pub fn of(self, what: impl Into<String>) -> Self {
        Self {
            what: Some(what.into()),
            ..self
        }
    }

    /// The same, by a security module.
    #[must_use]
    pub fn by(self, module: &'static str) -> Self {
        Self {
            module: Some(module),
            ..self
        }
    }
}

impl InstallPlan<'_> {
    /// What an answer to one of its steps means, on a kernel that checks this.
    #[must_use]
    pub fn refusal(
        &self,
        step: Step,
        errno: Errno,
        log: impl Into<String>,
        checks: Checks,
    ) -> Refusal {
        let empty = |call: &Call<'_>| matches!(call, Call::CreateMap(map) if map.value_size == 0);
        let circumstances = Circumstances {
            scheme: self.scheme,
            no_metadata: self.calls.iter().any(empty),
            checks,
        };
        Refusal::new(step, errno, log.into(), circumstances)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = self.what.as_deref();
        match (self.code, self.module) {
            (Code::Policy | Code::PolicyOnObject, Some(module)) => {
                let what = what.unwrap_or("the loader");
                return write!(f, "the policy `{module}` refuses {what}");
            }
            _ if self.step == Step::InstallObject && self.code != Code::MetadataChanged => {
                let before = if self.signed {
                    "the signature was good"
                } else {
                    "the loader ran"
                };
                write!(f, "{before}, but {}", self.code.meaning())?;
            }
            _ => f.write_str(self.code.meaning())?,
        }
        match what {
            Some(what) => write!(f, " ({what})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(step: Step, errno: Errno, log: &str, known: Circumstances) -> Code {
        Refusal::new(step, errno, log.to_owned(), known).code
    }

    fn signed(scheme: Scheme, checks: Checks) -> Circumstances {
        Circumstances {
            scheme: Some(scheme),
            checks,
            ..Circumstances::default()
        }
    }

    #[test]
    fn the_log_tells_cases_apart() {
        let known = signed(Scheme::LoadTime, Checks::Unknown);
        let load = |errno, log| code(Step::LoadLoader, errno, log, known);
        let large = "signed payload too large: 9 bytes";
        assert_eq!(load(Errno::E2BIG, large), Code::PayloadTooLarge);
        assert_eq!(load(Errno::E2BIG, ""), Code::NoSignatures);
        assert_eq!(load(Errno::ENOKEY, ""), Code::NoKey);
        let sparse = "signed program must bind maps via a continuous fd_array (fd_array_cnt)";
        assert_eq!(load(Errno::EACCES, sparse), Code::InLoaderScheme);
        assert_eq!(load(Errno(9999), ""), Code::Refused);
    }

    #[test]
    fn what_is_known_tells_cases_apart() {
        let rejected = |scheme, checks| {
            let known = signed(scheme, checks);
            code(Step::LoadLoader, Errno::EKEYREJECTED, "", known)
        };
        let (new, old) = (Scheme::LoadTime, Scheme::InLoader);
        let of = Checks::Scheme;
        assert_eq!(rejected(new, Checks::Unknown), Code::ChangedOrOtherScheme);
        assert_eq!(rejected(new, of(new)), Code::Changed);
        assert_eq!(rejected(new, of(old)), Code::OtherScheme);
        assert_eq!(rejected(old, of(Scheme::InLoaderExclusive)), Code::Changed);
        let unsigned = Circumstances::default();
        let create = |known| code(Step::CreateMetadata, Errno::EINVAL, "", known);
        assert_eq!(create(unsigned), Code::Refused);
        assert_eq!(create(signed(old, of(old))), Code::NoExclusiveMaps);
        let none = Circumstances {
            no_metadata: true,
            ..signed(old, of(old))
        };
        assert_eq!(create(none), Code::NoMetadata);
    }

    /// Of an unsigned loader nothing is said about signatures, whatever a kernel answers and logs.
    #[test]
    fn of_unsigned_loaders_no_signature_is_spoken() {
        let known = [false, true].map(|no_metadata| Circumstances {
            no_metadata,
            ..Circumstances::default()
        });
        let logs = ROWS.iter().map(|row| row.2);
        for (step, log) in Step::ALL
            .into_iter()
            .flat_map(|s| logs.clone().map(move |l| (s, l)))
        {
            for (errno, known) in (0..600).flat_map(|e| known.map(|known| (Errno(e), known))) {
                let refusal = Refusal::new(step, errno, log.to_owned(), known);
                let text = format!("{refusal} {}", refusal.describe_step());
                assert!(!text.contains("sign"), "{step:?} {errno}: {text}");
            }
        }
    }

    #[test]
    fn particulars_are_named() {
        let known = signed(Scheme::LoadTime, Checks::Unknown);
        let refusal = Refusal::new(Step::InstallObject, Errno::EACCES, String::new(), known);
        let refusal = refusal.of("loading program `x`");
        assert_eq!(
            refusal.to_string(),
            "the signature was good, but the verifier refused a program of the object (loading program `x`)"
        );
        let policy = refusal.with_code(Code::PolicyOnObject).by("signed");
        assert_eq!(
            policy.to_string(),
            "the policy `signed` refuses loading program `x`"
        );
    }

    #[test]
    fn no_row_hides_behind_another() {
        for (i, row) in ROWS.iter().enumerate() {
            for other in &ROWS[..i] {
                let hidden = other.0 == row.0
                    && (other.1.is_none() || other.1 == row.1)
                    && row.2.contains(other.2)
                    && (other.3 == When::Always || other.3 == row.3);
                assert!(!hidden, "{:?} {:?} {:?}", row.0, row.1, row.4);
            }
        }
    }

    /// A code that nothing leads to would be a promise that nobody keeps.
    #[test]
    fn every_code_is_reached() {
        // Set by those who know more than the answer.
        let known_better = [
            Code::MetadataChanged,
            Code::Mismatch,
            Code::NotALoader,
            Code::Policy,
            Code::PolicyOnObject,
            Code::Refused,
            Code::Unlisted,
        ];
        for code in Code::ALL {
            let listed = ROWS.iter().any(|row| row.4 == *code);
            assert!(listed || known_better.contains(code), "{code:?}");
        }
    }

    #[test]
    fn names_and_meanings_are_unique() {
        for (i, code) in Code::ALL.iter().enumerate() {
            for other in &Code::ALL[..i] {
                assert_ne!(code.name(), other.name());
                assert_ne!(code.meaning(), other.meaning());
            }
            let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            assert!(code.name().chars().all(word), "{}", code.name());
        }
    }
}
