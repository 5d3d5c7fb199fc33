//! Every format keeps what it is given, and says what it is.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use bpfseal_artifact::{
    Artifact, ArtifactError, ArtifactFile, ArtifactKind, Bundle, CSkeleton, Interface, LoaderForm,
    Provenance, RustSkeleton,
};
use bpfseal_loader::{EmitOptions, FixedHost, Form, LoadPlan, Loader};
use bpfseal_object::{Endian, Object, object_name};
use bpfseal_seal::{Scheme, Seal, excl_prog_hash};

struct Made {
    object: Object,
    plan: LoadPlan,
    loader: Loader,
}

fn make(file: &str) -> Made {
    let name = object_name(file);
    let objects = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/objects");
    let bytes = std::fs::read(objects.join(format!("{file}.bpf.o"))).unwrap();
    let object = Object::parse(&bytes, &name).unwrap();
    let plan = LoadPlan::new(&object, &FixedHost::default()).unwrap();
    let loader = Loader::new(&plan, EmitOptions::new(Form::Signed)).unwrap();
    Made {
        object,
        plan,
        loader,
    }
}

/// A seal of the right form; who signed is nobody's business here.
fn seal(loader: &Loader) -> Seal {
    Seal {
        scheme: Scheme::LoadTime,
        signature: (0..=255).collect(),
        excl_prog_hash: excl_prog_hash(&loader.instructions),
    }
}

fn bundle(made: &Made) -> Bundle {
    let instructions = made.loader.instructions.clone();
    Bundle {
        object_digest: Some([7; 32]),
        certificates: vec![vec![1, 2, 3]],
        provenance: Some(Provenance {
            tool: "a tool 1".to_owned(),
            ..Provenance::default()
        }),
        ..Bundle::from(Artifact {
            interface: Interface::new(&made.object, &made.plan.name),
            metadata: made.loader.metadata.clone(),
            forms: vec![
                LoaderForm::Sealed {
                    instructions: instructions.clone(),
                    seal: seal(&made.loader),
                },
                LoaderForm::Unsigned { instructions },
            ],
            endian: made.plan.endian,
        })
    }
}

const OURS: &str = concat!("bpfseal ", env!("CARGO_PKG_VERSION"));

#[test]
fn a_rust_skeleton_is_its_bundle() {
    for name in ["minimal", "work_tracing", "work_syscall"] {
        let made = make(name);
        let bundle = bundle(&made);
        let module = RustSkeleton {
            object: &made.object,
            plan: &made.plan,
            bundle: bundle.clone(),
        };
        let text = module.into_module().unwrap().to_string();
        // Earlier ones use a module of the crate `bpfseal`.
        let earlier = text.replace("use ::bpfseal_rt::skeleton", "use ::bpfseal::skeleton");
        assert_ne!(earlier, text);
        for text in [text, earlier] {
            let file = ArtifactFile::parse(text.as_bytes()).unwrap();
            assert_eq!(file.kind, ArtifactKind::RustSkeleton);
            assert_eq!(file.generator.as_deref(), Some(OURS));
            assert_eq!(file.into_bundle(), bundle);
        }
    }
}

#[test]
fn a_header_has_the_bytes_and_the_names() {
    for file in ["work_tracing", "big-endian/minimal"] {
        let made = make(file);
        let seal = seal(&made.loader);
        check_header(&made, Some(&seal));
        check_header(&made, None);
    }
}

#[track_caller]
fn check_header(made: &Made, seal: Option<&Seal>) {
    let skeleton = CSkeleton {
        object: &made.object,
        plan: &made.plan,
        instructions: &made.loader.instructions,
        metadata: &made.loader.metadata,
        seal,
    };
    let text = skeleton.to_header().unwrap().to_string();
    let file = ArtifactFile::parse(text.as_bytes()).unwrap();
    assert_eq!(file.kind, ArtifactKind::CSkeleton);
    assert_eq!(file.generator.as_deref(), Some(OURS));
    assert_eq!(file.provenance, None);
    let artifact = file.artifact;
    assert_eq!(artifact.metadata, made.loader.metadata);
    assert_eq!(artifact.endian, made.plan.endian);
    let [form] = artifact.forms.as_slice() else {
        panic!("a header has one form");
    };
    assert_eq!(form.instructions(), made.loader.instructions);
    assert_eq!(form.seal(), seal);
    let wanted = Interface::new(&made.object, &made.plan.name);
    assert_eq!(artifact.interface.name, wanted.name);
    assert_eq!(artifact.interface.maps, wanted.maps);
    let programs = artifact.interface.programs.iter().zip(&wanted.programs);
    for (found, wanted) in programs {
        assert_eq!((&found.name, &found.attach), (&wanted.name, &wanted.attach));
    }
}

/// In each format: a bundle says it, a header has it in its instructions.
#[test]
fn the_byte_order_is_kept() {
    for (endian, order) in [(Endian::Little, [0xbf, 0x16]), (Endian::Big, [0xbf, 0x61])] {
        let bundle = Bundle::from(Artifact {
            interface: Interface::default(),
            metadata: Vec::new(),
            forms: vec![LoaderForm::Unsigned {
                instructions: [order[0], order[1], 0, 0, 0, 0, 0, 0].to_vec(),
            }],
            endian,
        });
        let file = ArtifactFile::parse(&bundle.encode()).unwrap();
        assert_eq!(file.artifact.endian, endian);
        let header = format!(
            "char opts_data[] = {{ 1 }};\nchar opts_insn[] = {{ {}, {}, 0, 0, 0, 0, 0, 0 }};\n",
            order[0], order[1]
        );
        let file = ArtifactFile::parse(header.as_bytes()).unwrap();
        assert_eq!(file.artifact.endian, endian);
    }
}

#[test]
fn what_is_no_artifact_is_told_apart() {
    let error = |bytes: &[u8]| ArtifactFile::parse(bytes).unwrap_err();
    assert!(matches!(error(b"\x7fELF"), ArtifactError::Object));
    let detached = [0xd9, 0xd9, 0xf7, 0xa8, 0];
    assert!(matches!(error(&detached), ArtifactError::Detached));
    assert!(matches!(
        error(&[0xd9, 0xd9, 0xf7]),
        ArtifactError::Bundle(_)
    ));
    assert!(matches!(error(b"int x;"), ArtifactError::Skeleton(_)));
    assert!(matches!(error(&[0xff]), ArtifactError::Skeleton(_)));
}
