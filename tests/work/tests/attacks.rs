//! The attacks of `docs/attacks.md` on a real kernel: stopped where the model says, by the same errno.
#![allow(clippy::unwrap_used, reason = "tests")]

mod real;

use bpfseal::loader::FixedHost;
use bpfseal::model::attacks::{Material, on};
use bpfseal::object::Object;
use bpfseal::seal::{Scheme, SealOptions, SealedLoader, TrustStore};
use bpfseal::{Sealed, seal_object_as};
use real::{Real, Setup};

fn sealed(setup: &Setup, name: &str, bytes: &[u8]) -> Sealed {
    let object = Object::parse(bytes, name).unwrap();
    let (key, certificate) = &setup.trusted;
    let (host, options) = (FixedHost::default(), SealOptions::default());
    seal_object_as(&Scheme::ALL, object, &host, key, certificate, &options).unwrap()
}

#[test]
fn attacks_are_stopped_where_the_model_says() {
    let Some(setup) = Setup::new() else { return };
    let honest = include_bytes!("../../../testdata/objects/work_lsm.bpf.o");
    let older = include_bytes!("../../../testdata/objects/minimal.bpf.o");
    let (honest, older) = (
        sealed(&setup, "work_lsm", honest),
        sealed(&setup, "minimal", older),
    );
    let honest: Vec<SealedLoader<'_>> = honest.forms().collect();
    let older: Vec<SealedLoader<'_>> = older.forms().collect();
    let mut trust = TrustStore::new();
    trust.add(setup.trusted.1.clone());
    let material = Material {
        honest: &honest,
        older: &older,
        trust: &trust,
    };
    let scheme = setup.profile.scheme().unwrap();
    let tried = on(scheme, &material, Real::default);
    assert!(!tried.is_empty());
    let mut wrong = 0;
    for one in &tried {
        println!("  {:<55} {:?}", one.name, one.real);
        if one.real != one.model {
            wrong += 1;
            println!("    the model says: {:?}", one.model);
        }
    }
    println!(
        "  {} attacks on {}, scheme {}: {wrong} stopped elsewhere than in the model",
        tried.len(),
        setup.release,
        scheme.name()
    );
    assert_eq!(wrong, 0);
}
