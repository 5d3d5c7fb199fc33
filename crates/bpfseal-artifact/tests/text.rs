//! A text is canonical when it was generated, and no longer when anybody changed it.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};

use bpfseal_artifact::{
    Artifact, ArtifactFile, Bundle, CSkeleton, Interface, LoaderForm, RustSkeleton, Text,
};
use bpfseal_loader::{EmitOptions, FixedHost, Form, LoadPlan, Loader};
use bpfseal_object::{Object, object_name};
use bpfseal_seal::{Scheme, Seal, excl_prog_hash};

/// Texts of an object: C and Rust, signed, unsigned, and without libbpf.
fn texts(path: &Path) -> Option<Vec<String>> {
    let bytes = std::fs::read(path).unwrap();
    let object = Object::parse(&bytes, &object_name(&path.to_string_lossy())).ok()?;
    let host = FixedHost {
        page_size: 4096,
        possible_cpus: Some(4),
        kernel_version: Some(7 << 16),
        kconfig: Some(b"CONFIG_HZ=250\nCONFIG_BPF=y\n".to_vec()),
        kallsyms: Some(Vec::new()),
    };
    let plan = LoadPlan::new(&object, &host).ok()?;
    let mut all = Vec::new();
    for form in [Form::Signed, Form::Unsigned] {
        let loader = Loader::new(&plan, EmitOptions::new(form)).ok()?;
        let seal = (form == Form::Signed).then(|| Seal {
            scheme: Scheme::LoadTime,
            signature: (0..=255).collect(),
            excl_prog_hash: excl_prog_hash(&loader.instructions),
        });
        let skeleton = CSkeleton {
            object: &object,
            plan: &plan,
            instructions: &loader.instructions,
            metadata: &loader.metadata,
            seal: seal.as_ref(),
        };
        all.push(skeleton.to_header().unwrap().to_string());
        all.push(
            skeleton
                .to_header()
                .unwrap()
                .standalone()
                .unwrap()
                .to_string(),
        );
        let instructions = loader.instructions.clone();
        let form = match seal {
            Some(seal) => LoaderForm::Sealed { instructions, seal },
            None => LoaderForm::Unsigned { instructions },
        };
        let module = RustSkeleton {
            object: &object,
            plan: &plan,
            bundle: Bundle::from(Artifact {
                interface: Interface::new(&object, &plan.name),
                metadata: loader.metadata.clone(),
                forms: vec![form],
                endian: plan.endian,
            }),
        };
        all.push(module.into_module().unwrap().to_string());
    }
    Some(all)
}

fn text(text: &str) -> Option<Text> {
    ArtifactFile::parse(text.as_bytes()).unwrap().text
}

fn objects() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/objects");
    let mut all = Vec::new();
    for folder in [root.clone(), root.join("big-endian")] {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.to_string_lossy().ends_with(".bpf.o") {
                all.push(path);
            }
        }
    }
    all.sort();
    all
}

#[test]
fn what_is_generated_is_canonical() {
    let generator = concat!("bpfseal ", env!("CARGO_PKG_VERSION")).to_owned();
    let canonical = Some(Text::Canonical { generator });
    let mut count = 0;
    for object in objects() {
        for generated in texts(&object).unwrap_or_default() {
            let found = text(&generated);
            let line = match &found {
                Some(Text::Other { line }) => generated.lines().nth(line - 1).unwrap_or_default(),
                _ => "",
            };
            assert_eq!(found, canonical, "{}: {line}", object.display());
            count += 1;
        }
    }
    assert!(count > 100, "{count} texts");
}

/// What a reader of arrays does not see, and a compiler does.
#[test]
fn what_was_added_is_seen() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/objects");
    let all = texts(&root.join("globals.bpf.o")).unwrap();
    let check = |generated: &str, from: &str, to: &str| {
        assert!(generated.contains(from), "{from}");
        let changed = generated.replacen(from, to, 1);
        let line = 1 + generated[..generated.find(from).unwrap()]
            .matches('\n')
            .count();
        match text(&changed) {
            Some(Text::Other { line: found }) => {
                assert!(found >= line || found == 1, "{found} for {line}: {to}");
            }
            other => panic!("{from} to {to}: {other:?}"),
        }
    };
    for header in &all[..2] {
        for (from, to) in [
            (
                "static const char opts_insn[]",
                "#if 0\nstatic const char opts_insn[]",
            ),
            (
                "#include <errno.h>",
                "#include <errno.h>\n#include \"more.h\"",
            ),
            (
                "#include <errno.h>",
                "#include <errno.h>\n#define opts_insn other",
            ),
            (
                "\topts.insns = (void *)opts_insn;\n",
                "\topts.insns = (void *)opts_insn;\n\topts.insns = other;\n",
            ),
            (
                "struct globals_bpf {",
                "__attribute__((constructor)) static void f(void);\nstruct globals_bpf {",
            ),
            ("\t\t__u64 second;\n", "\t\t__u64 third;\n"),
            (
                "static const char opts_sig[]",
                "static  const char opts_sig[]",
            ),
            ("\n", "\r\n"),
            ("/* SPDX", "\u{feff}/* SPDX"),
            ("globals_bpf__mmap_sz(32)", "globals_bpf__mmap_sz(4)"),
            ("return skel;", "return skel; "),
        ] {
            check(header, from, to);
        }
        check(header, header.trim_end(), &format!("{header}int x;"));
    }
    for module in [&all[2], &all[5]] {
        for (from, to) in [
            ("mod generated {", "#[cfg(x)] mod generated {"),
            (
                "static BUNDLE",
                "static OTHER: &[u8] = b\"\";\nstatic BUNDLE",
            ),
            ("ARTIFACT.artifact()", "OTHER.artifact()"),
            ("rt::Const::new(mapping, 0)", "rt::Const::new(mapping, 4)"),
        ] {
            check(module, from, to);
        }
    }
}

/// Every line counts.
#[test]
fn no_line_can_be_left_out() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/objects");
    for generated in texts(&root.join("optional.bpf.o")).unwrap() {
        let lines: Vec<&str> = generated.lines().collect();
        for left_out in 0..lines.len() {
            let mut rest = lines.clone();
            rest.remove(left_out);
            let rest = rest.join("\n") + "\n";
            if let Ok(file) = ArtifactFile::parse(rest.as_bytes()) {
                let other = matches!(file.text, Some(Text::Other { .. }));
                // Other bytes in an array are another loader, which is the signature's business; a
                // line that is the same as its neighbour is the same text.
                let bytes = lines[left_out].starts_with("\\") || rest == generated;
                assert!(other || bytes, "{left_out}: {}", lines[left_out]);
            }
        }
    }
}

/// Headers as bpftool wrote them.
#[test]
fn headers_of_the_reference_are_canonical() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/headers");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "h") {
            continue;
        }
        let header = std::fs::read_to_string(&path).unwrap();
        let canonical = Some(Text::Canonical {
            generator: "bpftool".to_owned(),
        });
        assert_eq!(text(&header), canonical, "{}", path.display());
        count += 1;
        let lines: Vec<&str> = header.lines().collect();
        for left_out in (0..lines.len()).step_by(3) {
            let mut rest = lines.clone();
            rest.insert(left_out, "int x;");
            let rest = rest.join("\n") + "\n";
            if let Ok(file) = ArtifactFile::parse(rest.as_bytes()) {
                assert!(
                    matches!(file.text, Some(Text::Other { .. })),
                    "{left_out}: {}",
                    lines[left_out]
                );
            }
        }
    }
    assert!(count >= 3, "{count} headers");
}
