//! An object from its bytes to plan, loader and skeletons, in every form.
#![no_main]

use std::io::Write as _;

use bpfseal::artifact::{Artifact, Bundle, CSkeleton, Interface, LoaderForm, RustSkeleton};
use bpfseal::loader::{EmitOptions, FixedHost, Form, LoadPlan, Loader};
use bpfseal::object::Object;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(object) = Object::parse(bytes, "fuzz") else {
        return;
    };
    let host = FixedHost {
        page_size: 4096,
        possible_cpus: Some(4),
        kernel_version: Some(0x0007_0300),
        kconfig: Some(b"CONFIG_HZ=250\nCONFIG_NET=y\nCONFIG_MODULES=m\n".to_vec()),
        kallsyms: Some(b"ffffffff81000000 T _stext\n".to_vec()),
    };
    let Ok(plan) = LoadPlan::new(&object, &host) else {
        return;
    };
    for index in 0..plan.steps.len() {
        let _ = write!(std::io::sink(), "{}", plan.describe_step(index));
    }
    assert!(bpfseal::model::audit::compare(&plan, &plan).is_empty());
    for form in [
        Form::CheckingExclusive,
        Form::CheckingMetadata,
        Form::Signed,
        Form::Unsigned,
    ] {
        if let Ok(loader) = Loader::new(&plan, EmitOptions::new(form)) {
            let skeleton = CSkeleton {
                object: &object,
                plan: &plan,
                instructions: &loader.instructions,
                metadata: &loader.metadata,
                seal: None,
            };
            if let Ok(header) = skeleton.to_header() {
                let _ = write!(std::io::sink(), "{header}");
            }
            let skeleton = RustSkeleton {
                object: &object,
                plan: &plan,
                bundle: Bundle::from(Artifact {
                    interface: Interface::new(&object, "fuzz"),
                    metadata: loader.metadata.clone(),
                    forms: vec![LoaderForm::Unsigned {
                        instructions: loader.instructions.clone(),
                    }],
                    endian: plan.endian,
                }),
            };
            if let Ok(module) = skeleton.into_module() {
                let _ = write!(std::io::sink(), "{module}");
            }
        }
    }
});
