//! The attacks of `docs/attacks.md` on a real kernel: stopped where the model says, by the same errno.
#![allow(clippy::unwrap_used, reason = "tests")]

use bpfseal::loader::FixedHost;
use bpfseal::object::Object;
use bpfseal::seal::{Scheme, SealedLoader, TrustStore};
use bpfseal::{Sealed, Sealer};
use bpfseal_proof::attacks::{Material, on, plain, plain_seals};
use bpfseal_proof::bench::Setup;
use bpfseal_proof::machine::Running;
use bpfseal_proof::object;

fn sealed(setup: &Setup, name: &str, bytes: &[u8]) -> Sealed {
    let object = Object::parse(bytes, name).unwrap();
    let host = FixedHost::default();
    let (key, certificate) = (&setup.trusted.key, &setup.trusted.certificate);
    Sealer::new(certificate)
        .schemes(&Scheme::ALL)
        .host(&host)
        .seal(object, key)
        .unwrap()
}

#[test]
fn attacks_are_stopped_where_the_model_says() {
    let Some(setup) = Setup::new() else { return };
    let (honest, older) = (
        sealed(&setup, "work_lsm", object!("work_lsm")),
        sealed(&setup, "minimal", object!("minimal")),
    );
    let endian = honest.made.plan.endian;
    let honest: Vec<SealedLoader<'_>> = honest.forms().collect();
    let older: Vec<SealedLoader<'_>> = older.forms().collect();
    let mut trust = TrustStore::new();
    trust.add(setup.trusted.certificate.clone());
    let seals = plain_seals(&setup.trusted.key, &setup.trusted.certificate).unwrap();
    let plain = plain(&seals);
    let material = Material {
        honest: &honest,
        older: &older,
        plain: &plain,
        endian,
        trust: &trust,
    };
    let scheme = setup.profile.scheme().unwrap();
    let tried = on(scheme, &material, Running::default);
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
