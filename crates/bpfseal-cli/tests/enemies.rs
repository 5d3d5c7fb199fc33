//! Artifacts that somebody changed, by what was changed, the kind of file, and the verb: one table of
//! verdicts and exit codes.
//!
//! Nothing here needs a kernel: what `load` refuses, it refuses before it asks for anything.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use bpfseal::artifact::{Artifact, Bundle, CSkeleton, DetachedSeal, LoaderForm, RustSkeleton};
use bpfseal::loader::FixedHost;
use bpfseal::seal::{Certificate, Scheme, SigningKey};
use bpfseal::{Sealed, Sealer, Source};
use common::{Bench, testdata};

/// What a file looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A bundle with several forms.
    Bundle,
    /// A detached seal beside its object.
    Detached,
    /// A C header, which has one form.
    Header,
    /// A Rust skeleton, which has a bundle in it.
    Skeleton,
}

/// What there is to make enemies of.
struct Honest {
    /// By every scheme that a kernel checks.
    sealed: Sealed,
    /// By Hornet.
    hornet: Sealed,
    /// Of another object.
    other: Sealed,
}

const KEY: &str = "rsa2048";

fn sealed(object: &str, schemes: &[Scheme]) -> Sealed {
    let read = |name: String| std::fs::read(testdata().join(name)).unwrap();
    let certificate = Certificate::from_bytes(&read(format!("keys/{KEY}.cert.pem"))).unwrap();
    let key = SigningKey::from_pem(&read(format!("keys/{KEY}.key.pem"))).unwrap();
    let source = Source::parse(&read(format!("objects/{object}.bpf.o")), object).unwrap();
    let sealer = Sealer::new(&certificate).schemes(schemes);
    sealer
        .host(&FixedHost::default())
        .seal(source, &key)
        .unwrap()
}

impl Honest {
    fn new() -> Self {
        Self {
            sealed: sealed("sample", &Scheme::KERNELS),
            hornet: sealed("sample", &[Scheme::Hornet]),
            other: sealed("minimal", &Scheme::KERNELS),
        }
    }
}

/// One change: forms and metadata, in the order load-time, in-loader-exclusive, in-loader.
type Change = fn(&mut Artifact, &Honest);

fn parts(form: &mut LoaderForm) -> (&mut Vec<u8>, &mut bpfseal::seal::Seal) {
    match form {
        LoaderForm::Sealed { instructions, seal } => (instructions, seal),
        LoaderForm::Unsigned { .. } => panic!("a signed form"),
    }
}

fn label(artifact: &mut Artifact, form: usize, scheme: Scheme) {
    parts(&mut artifact.forms[form]).1.scheme = scheme;
}

/// What each verb comes to: exit codes, and words of its verdict.
struct Row {
    name: &'static str,
    change: Change,
    /// `verify`.
    verify: i32,
    words: &'static str,
    /// `verify --min-scheme load-time`.
    least: i32,
    /// `explain`, for 7.3 and for 7.2; of a header, which has one form, 7.2 takes none.
    new: i32,
    old: i32,
    /// What `load` refuses by itself; none where it asks the kernel.
    load: Option<&'static str>,
    /// What all of them say of a header; none where it has nothing of the change.
    header: Option<&'static str>,
    /// Whether the loader that a detached seal is for cannot be made again.
    lost: bool,
}

const fn bad(name: &'static str, change: Change, words: &'static str) -> Row {
    Row {
        name,
        change,
        verify: 1,
        words,
        least: 1,
        new: 1,
        old: 1,
        load: Some(words),
        header: None,
        lost: false,
    }
}

impl Row {
    const fn header(self, words: &'static str) -> Self {
        Self {
            header: Some(words),
            ..self
        }
    }

    const fn lost(self) -> Self {
        Self { lost: true, ..self }
    }
}

const ROWS: &[Row] = &[
    Row {
        name: "nothing",
        change: |_, _| {},
        verify: 0,
        words: "load-time, in-loader-exclusive and in-loader are verified",
        least: 0,
        new: 0,
        old: 0,
        load: None,
        header: Some("load-time is verified"),
        lost: false,
    },
    bad(
        "labels of load-time and in-loader exchanged",
        |a, _| {
            label(a, 0, Scheme::InLoader);
            label(a, 2, Scheme::LoadTime);
        },
        "labelled `in-loader`, but its loader checks no metadata",
    )
    .lost(),
    bad(
        "in-loader called exclusive",
        |a, _| {
            a.forms.remove(1);
            label(a, 1, Scheme::InLoaderExclusive);
        },
        "labelled `in-loader-exclusive`, but its loader is one of `in-loader`",
    )
    .lost(),
    bad(
        "exclusive called in-loader",
        |a, _| {
            a.forms.remove(2);
            label(a, 1, Scheme::InLoader);
        },
        "labelled `in-loader`, but its loader is one of `in-loader-exclusive`",
    )
    .lost(),
    bad(
        "loaders of two forms exchanged",
        |a, _| {
            let instructions = parts(&mut a.forms[0]).0.clone();
            let other = std::mem::replace(parts(&mut a.forms[2]).0, instructions);
            *parts(&mut a.forms[0]).0 = other;
        },
        "excl_prog_hash is",
    )
    .header("excl_prog_hash is"),
    Row {
        name: "the strongest form taken away",
        change: |a, _| {
            a.forms.remove(0);
        },
        verify: 0,
        words: "no signature covers the metadata at admission",
        least: 1,
        new: 1,
        old: 0,
        load: None,
        header: None,
        lost: false,
    },
    Row {
        name: "the older forms taken away",
        change: |a, _| a.forms.truncate(1),
        verify: 0,
        words: "load-time is verified",
        least: 0,
        new: 0,
        old: 1,
        load: None,
        header: Some("load-time is verified"),
        lost: false,
    },
    bad("metadata emptied", |a, _| a.metadata.clear(), "metadata")
        .header("the artifact has no metadata"),
    bad(
        "in-loader called load-time, metadata emptied",
        |a, _| {
            a.forms = vec![a.forms.remove(2)];
            label(a, 0, Scheme::LoadTime);
            a.metadata.clear();
        },
        "the artifact has no metadata",
    )
    .header("the artifact has no metadata"),
    bad(
        "one byte of the metadata",
        |a, _| *a.metadata.last_mut().unwrap() ^= 1,
        "checks its metadata for SHA-256",
    )
    .header("does not hold"),
    bad(
        "metadata of another object",
        |a, honest| {
            a.metadata
                .clone_from(&honest.other.clone().into_artifact().metadata)
        },
        "checks its metadata for SHA-256",
    )
    .header("does not hold"),
    bad(
        "digest of another loader",
        |a, honest| {
            let other = honest.other.sealed_loader().seal.excl_prog_hash;
            parts(&mut a.forms[0]).1.excl_prog_hash = other;
        },
        "excl_prog_hash is",
    )
    .header("excl_prog_hash is")
    .lost(),
    Row {
        name: "a form without a signature beside them",
        change: |a, honest| {
            let instructions = honest.sealed.sealed_loader().instructions.to_vec();
            a.forms.push(LoaderForm::Unsigned { instructions });
        },
        verify: 1,
        words: "one form is not signed; load-time, in-loader-exclusive and in-loader are good",
        least: 1,
        new: 0,
        old: 0,
        load: Some("one form is not signed"),
        header: None,
        lost: false,
    },
    bad(
        "signature of another loader",
        |a, honest| {
            let other = honest.other.clone().into_artifact();
            for (form, from) in a.forms.iter_mut().zip(&other.forms) {
                let signature = from.seal().unwrap().signature.clone();
                parts(form).1.signature = signature;
            }
        },
        "does not hold",
    )
    .header("does not hold"),
    Row {
        old: 0,
        ..bad(
            "the signature of the weakest form at all",
            |a, _| {
                let signature = parts(&mut a.forms[2]).1.signature.clone();
                for form in &mut a.forms {
                    parts(form).1.signature.clone_from(&signature);
                }
            },
            "does not hold",
        )
        .header("does not hold")
    },
    bad(
        "the signature left out",
        |a, _| parts(&mut a.forms[0]).1.signature.clear(),
        "the signature has 0 bytes",
    )
    .header("the signature has 0 bytes"),
    bad(
        "a signature by Hornet, whose loader checks nothing, called in-loader",
        |a, honest| {
            a.forms = vec![blank_cheque(honest)];
            label(a, 0, Scheme::InLoader);
        },
        "labelled `in-loader`, but its loader checks no metadata",
    )
    .lost(),
    Row {
        name: "the same, under its own name",
        change: |a, honest| a.forms = vec![blank_cheque(honest)],
        verify: 1,
        words: "would take it for any metadata",
        least: 1,
        new: 1,
        old: 1,
        load: Some("would take it for any metadata"),
        header: None,
        lost: true,
    },
    Row {
        name: "Hornet as it is sealed here",
        change: |a, honest| a.forms = honest.hornet.clone().into_artifact().forms,
        verify: 0,
        words: "hornet: no kernel checks it",
        least: 1,
        new: 1,
        old: 1,
        load: Some("a proposal, which no kernel checks"),
        header: None,
        lost: false,
    },
    // It is one: its loader checks the metadata, and a kernel of that scheme takes the signature.
    Row {
        name: "Hornet called in-loader",
        change: |a, honest| {
            a.forms = honest.hornet.clone().into_artifact().forms;
            label(a, 0, Scheme::InLoader);
        },
        verify: 0,
        words: "in-loader is verified",
        least: 1,
        new: 1,
        old: 0,
        load: None,
        header: None,
        lost: false,
    },
];

/// Hornet's signature as its own tool makes it: over a loader that checks nothing.
fn blank_cheque(honest: &Honest) -> LoaderForm {
    let read = |name: String| std::fs::read(testdata().join(name)).unwrap();
    let certificate = Certificate::from_bytes(&read(format!("keys/{KEY}.cert.pem"))).unwrap();
    let key = SigningKey::from_pem(&read(format!("keys/{KEY}.key.pem"))).unwrap();
    let loader = honest.sealed.sealed_loader();
    let options = bpfseal::seal::SealOptions::default();
    let seal = bpfseal::seal::seal(
        Scheme::Hornet,
        loader.instructions,
        loader.metadata,
        &key,
        &certificate,
        &options,
    );
    LoaderForm::Sealed {
        instructions: loader.instructions.to_vec(),
        seal: seal.unwrap(),
    }
}

/// Writes an artifact as a file of a kind; the arguments that name it. None for what such a file cannot
/// say.
fn write(bench: &Bench, kind: Kind, artifact: Artifact, honest: &Honest) -> Option<String> {
    let made = &honest.sealed.made;
    let (name, bytes) = match kind {
        Kind::Bundle => ("e.bpfseal", bundle(artifact).encode()),
        Kind::Skeleton => {
            let skeleton = RustSkeleton {
                object: &made.object,
                plan: &made.plan,
                bundle: bundle(artifact),
            };
            let text = skeleton.into_module().ok()?.to_string();
            ("e.rs", text.into_bytes())
        }
        Kind::Header => {
            let [LoaderForm::Sealed { instructions, seal }] = artifact.forms.as_slice() else {
                return None;
            };
            // It does not name its scheme.
            if seal.scheme != Scheme::LoadTime {
                return None;
            }
            let skeleton = CSkeleton {
                object: &made.object,
                plan: &made.plan,
                instructions,
                metadata: &artifact.metadata,
                seal: Some(seal),
            };
            let text = skeleton.to_header().ok()?.to_string();
            ("e.lskel.h", text.into_bytes())
        }
        Kind::Detached => {
            let good = honest.sealed.clone().into_detached(&FixedHost::default());
            let mut seal: DetachedSeal = good.unwrap();
            // It has signatures alone.
            if artifact.metadata != made.loader.metadata {
                return None;
            }
            let seals = artifact.forms.iter().map(|form| form.seal().cloned());
            let seals: Vec<_> = seals.collect::<Option<_>>()?;
            let honest = honest.sealed.clone().into_artifact();
            if seals == seal.seals && artifact != honest {
                return None;
            }
            seal.seals = seals;
            ("e.seal", seal.encode())
        }
    };
    std::fs::write(bench.path(name), bytes).unwrap();
    Some(match kind {
        Kind::Detached => format!("sample.bpf.o --seal {name}"),
        // Their text is the business of another test.
        Kind::Header | Kind::Skeleton => format!("{name} --bytes-only"),
        Kind::Bundle => name.to_owned(),
    })
}

fn bundle(artifact: Artifact) -> Bundle {
    Bundle {
        artifact,
        object_digest: None,
        certificates: Vec::new(),
        provenance: None,
    }
}

#[test]
fn enemies_are_told_by_every_verb() {
    let (bench, honest) = (Bench::new(), Honest::new());
    let mut told = 0;
    for row in ROWS {
        for kind in [Kind::Bundle, Kind::Detached, Kind::Header, Kind::Skeleton] {
            let mut artifact = honest.sealed.clone().into_artifact();
            (row.change)(&mut artifact, &honest);
            if kind == Kind::Header {
                if row.header.is_none() {
                    continue;
                }
                artifact.forms.truncate(1);
            }
            if let Some(file) = write(&bench, kind, artifact, &honest) {
                told += told_by_every_verb(&bench, row, kind, &file);
            }
        }
    }
    assert!(told > 250, "{told}");
}

/// Runs every verb on a file; how many verdicts there were.
fn told_by_every_verb(bench: &Bench, row: &Row, kind: Kind, file: &str) -> usize {
    let (words, old) = match (kind, row.header) {
        (Kind::Header, Some(words)) => (words, 1),
        _ => (row.words, row.old),
    };
    let load = row
        .load
        .map(|load| if kind == Kind::Header { words } else { load });
    let verify = format!("verify {file} --trust cert.pem");
    let explain = format!("explain {file} --keyring cert.pem --kernel");
    let mut verdicts = vec![
        (verify.clone(), row.verify, words),
        (format!("{verify} --min-scheme load-time"), row.least, ""),
        (format!("{explain} 7.3"), row.new, ""),
        (format!("{explain} 7.2"), old, ""),
    ];
    // Before the kernel is asked, whoever is trusted.
    if let Some(load) = load {
        verdicts.push((format!("load {file} --trust cert.pem"), 1, load));
    }
    for (line, code, words) in &verdicts {
        let place = format!("{} / {kind:?}: {line}", row.name);
        let lost = row.lost && kind == Kind::Detached;
        let (code, words) = match lost {
            true => (3, "is not the one that was signed"),
            false => (*code, *words),
        };
        let ran = bench.run(line);
        let said = format!("{}{}", ran.out, ran.err);
        assert_eq!(ran.code, code, "{place}: {said}");
        let first = said.lines().next().unwrap_or_default();
        let verdict = match (line.split(' ').next(), code) {
            (_, 3) => "error: ",
            (Some("verify"), 0) => "good: ",
            (Some("verify"), _) => "rejected: ",
            (Some("explain"), 0) => "taken: ",
            _ => "refused: ",
        };
        assert!(first.starts_with(verdict), "{place}: {said}");
        assert!(first.contains(words), "{place}: no `{words}` in {said}");
    }
    verdicts.len()
}
