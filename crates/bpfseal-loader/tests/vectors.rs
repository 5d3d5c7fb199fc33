//! The reference's loaders of the older schemes, from the samples that may lie beside the project.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};

use bpfseal_loader::{EmitOptions, FixedHost, Form, LoadPlan, Loader};
use bpfseal_object::Object;

fn vectors() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors");
    if !path.exists() {
        eprintln!("skipped: no vectors beside the project");
        return None;
    }
    Some(path)
}

#[test]
fn every_form_has_the_same_metadata_and_the_references_instructions() {
    let Some(vectors) = vectors() else { return };
    let read = |name: &str| std::fs::read(vectors.join(name)).unwrap();
    let host = FixedHost {
        page_size: 4096,
        ..FixedHost::default()
    };
    let object = Object::parse(&read("ring.bpf.o"), "ring_bpf").unwrap();
    let plan = LoadPlan::new(&object, &host).unwrap();
    for (form, folder) in [
        (Form::Signed, "loadtime"),
        (Form::CheckingExclusive, "inloader-exclusive"),
    ] {
        let loader = Loader::new(&plan, EmitOptions::new(form)).unwrap();
        let instructions = read(&format!("{folder}/insns.bin"));
        assert_eq!(loader.instructions, instructions, "{folder}");
        let metadata = read(&format!("{folder}/metadata.bin"));
        assert_eq!(loader.metadata, metadata, "{folder}");
    }
    // The older variant is the newer one without its first five instructions, the jumps back
    // being shorter by as many.
    let newer = Loader::new(&plan, EmitOptions::new(Form::CheckingExclusive)).unwrap();
    let older = Loader::new(&plan, EmitOptions::new(Form::CheckingMetadata)).unwrap();
    assert_eq!(older.instructions.len() + 5 * 8, newer.instructions.len());
    assert_eq!(older.metadata, newer.metadata);
}
