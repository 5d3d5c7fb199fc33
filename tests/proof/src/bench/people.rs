//! The project's test keys, with their certificates.

use bpfseal_seal::{Certificate, SigningKey};

/// Somebody who signs.
#[derive(Debug)]
pub struct Person {
    /// The key.
    pub key: SigningKey,
    /// Its certificate.
    pub certificate: Certificate,
    /// The key as a file has it.
    pub key_pem: &'static [u8],
    /// The certificate as a file has it.
    pub certificate_pem: &'static [u8],
}

macro_rules! people {
    ($($name:literal),* $(,)?) => {
        [$((
            $name,
            include_bytes!(concat!("../../../../testdata/keys/", $name, ".key.pem")).as_slice(),
            include_bytes!(concat!("../../../../testdata/keys/", $name, ".cert.pem")).as_slice(),
        )),*]
    };
}

/// Name, key, certificate: `testdata/keys/NAME.key.pem` and `NAME.cert.pem`. `leaf` is below
/// `middle`, which is below `root`.
const PEOPLE: [(&str, &[u8], &[u8]); 8] = people![
    "leaf", "middle", "p256", "p384", "p521", "root", "rsa2048", "rsa3072",
];

/// One of them, by name.
///
/// # Panics
/// When there is nobody of that name.
#[must_use]
pub fn person(name: &str) -> Person {
    let row = PEOPLE.iter().find(|row| row.0 == name);
    let (_, key_pem, certificate_pem) = *row.unwrap_or_else(|| panic!("nobody is called {name}"));
    Person {
        key: SigningKey::from_pem(key_pem).unwrap(),
        certificate: Certificate::from_bytes(certificate_pem).unwrap(),
        key_pem,
        certificate_pem,
    }
}
