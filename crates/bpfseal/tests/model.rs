//! Every form of every object in the model of the kernel that it is for: it loads, runs, and
//! installs the programs of the plan.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};

use bpfseal::Sealer;
use bpfseal::loader::{FixedHost, LoadPlan};
use bpfseal::model::explain::{Setting, explain};
use bpfseal::model::kernel::Profile;
use bpfseal::object::Object;
use bpfseal::seal::{Certificate, Scheme, SigningKey, TrustStore};

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata")
}

#[test]
fn every_form_runs_on_the_kernel_that_it_is_for() {
    let read = |name: &str| std::fs::read(testdata().join("keys").join(name)).unwrap();
    let key = SigningKey::from_pem(&read("p256.key.pem")).unwrap();
    let certificate = Certificate::from_bytes(&read("p256.cert.pem")).unwrap();
    let mut keyring = TrustStore::new();
    keyring.add(certificate.clone());
    let host = FixedHost::default();
    let mut tried = 0;
    for entry in std::fs::read_dir(testdata().join("objects")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let Some(name) = name.strip_suffix(".bpf.o") else {
            continue;
        };
        let object = Object::parse(&std::fs::read(&path).unwrap(), name).unwrap();
        // What asks the host for more than this one has is not of interest here.
        let plan = LoadPlan::new(&object, &host).unwrap();
        if !plan.unresolved.is_empty() {
            continue;
        }
        let sealed = Sealer::new(&certificate)
            .schemes(&Scheme::ALL)
            .host(&host)
            .seal(object, &key);
        let artifact = sealed.unwrap().into_artifact();
        for form in artifact.forms.iter() {
            let scheme = form.seal().unwrap().scheme;
            // Older kernels take no per-CPU data: neither values for all processors at once, nor a
            // per-CPU array whose type information has no key.
            if name == "percpu" && scheme.name() != "load-time" {
                continue;
            }
            let setting = Setting::new(Profile::of_scheme(scheme), &keyring);
            let explained = explain(&artifact, form, &setting);
            assert_eq!(explained.refusal, None, "{name}, {}", scheme.name());
            assert_eq!(explained.not_run, None, "{name}");
            let installed = explained
                .admissions
                .iter()
                .filter(|a| a.caller.is_kernel() && a.loaded);
            let names: Vec<_> = installed.map(|a| a.name.clone()).collect();
            let planned = plan.programs().map(|p| p.name.chars().take(15).collect());
            assert_eq!(names, planned.collect::<Vec<String>>(), "{name}");
            tried += 1;
        }
    }
    assert!(tried > 100, "{tried}");
}
