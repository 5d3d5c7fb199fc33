//! Keys that sign with any digest, whether anybody should or not.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock};

use bpfseal_seal::DigestAlgorithm;
use num_bigint::BigUint;
use p256::ecdsa::signature::hazmat::{PrehashSigner as _, RandomizedPrehashSigner as _};

use super::der::Node;
use crate::random::Random;

macro_rules! key_files {
    ($($name:literal: $file:literal),* $(,)?) => {
        [$((
            $name,
            include_bytes!(concat!("../../../../testdata/keys/", $file, ".key.pem")).as_slice(),
        )),*]
    };
}

/// Name and PKCS#8.
const FILES: [(&str, &[u8]); 13] = key_files![
    "p192": "odd/p192",
    "p256": "p256",
    "p384": "p384",
    "p521": "p521",
    "rsa512": "odd/rsa512",
    "rsa1024": "odd/rsa1024",
    "rsa1024e3": "odd/rsa1024e3",
    "rsa1032": "odd/rsa1032",
    "rsa1536": "odd/rsa1536",
    "rsa2000": "odd/rsa2000",
    "rsa2048": "rsa2048",
    "rsa3072": "rsa3072",
    "rsa4096": "rsa4096",
];

/// Keys that are taken by default, by how often: those that are quick come often.
pub(super) const USUAL: [&str; 12] = [
    "p256", "p256", "p256", "p256", "rsa1024", "rsa1024", "rsa1024", "rsa2048", "rsa2048", "p384",
    "p521", "p192",
];
/// Others.
pub(super) const ODD: [&str; 9] = [
    "rsa512",
    "rsa1024e1",
    "rsa1024e3",
    "rsa1032",
    "rsa1536",
    "rsa2000",
    "rsa3072",
    "rsa4096",
    "mldsa44",
];

/// A private key.
pub(super) struct Key {
    pub(super) name: &'static str,
    kind: Kind,
}

/// Signs a number of the field's size: the two numbers of a signature.
type Sign = Box<dyn Fn(&[u8]) -> Vec<u8> + Send + Sync>;

enum Kind {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
        /// Primes, exponents of each, coefficient: RFC 8017, 3.2.
        parts: [BigUint; 5],
    },
    /// Coordinates of the point, uncompressed, and how to sign a number of the field's size.
    Ec {
        curve: &'static str,
        field: usize,
        point: Vec<u8>,
        sign: Sign,
    },
    MlDsa(Box<bpfseal_seal::SigningKey>),
}

/// All keys, by name.
pub(super) fn key(name: &str) -> &'static Key {
    static KEYS: OnceLock<Vec<Key>> = OnceLock::new();
    let keys = KEYS.get_or_init(|| {
        let mut keys: Vec<_> = FILES
            .iter()
            .map(|(name, pem)| Key::read(name, pem))
            .collect();
        let pem = include_bytes!("../../../../testdata/keys/mldsa44.key.pem");
        let key = bpfseal_seal::SigningKey::from_pem(pem).expect("a key");
        // An exponent of one: everybody can sign with it.
        let mut open = Key::read("rsa1024e1", FILES[5].1);
        if let Kind::Rsa { exponent, .. } = &mut open.kind {
            *exponent = vec![1];
        }
        keys.push(open);
        keys.push(Key {
            name: "mldsa44",
            kind: Kind::MlDsa(Box::new(key)),
        });
        keys
    });
    let mut found = keys.iter().filter(|key| key.name == name);
    found.next().expect("a key of that name")
}

impl Key {
    fn read(name: &'static str, pem: &[u8]) -> Self {
        let block = pem::parse(pem).expect("PEM");
        let info = Node::parse(block.contents()).expect("DER").remove(0);
        let inner = info.children()[2].contents();
        let private = Node::parse(&inner).expect("DER").remove(0);
        let number = |index: usize| {
            let bytes = private.children()[index].contents();
            let zeroes = bytes.iter().take_while(|b| **b == 0).count();
            bytes[zeroes..].to_vec()
        };
        macro_rules! ec {
            ($curve:ident, $oid:literal, $field:literal) => {{
                let secret = private.children()[1].contents();
                let key = $curve::ecdsa::SigningKey::from_slice(&secret).expect("a scalar");
                let public = $curve::ecdsa::VerifyingKey::from(&key);
                Kind::Ec {
                    curve: $oid,
                    field: $field,
                    point: public.to_encoded_point(false).as_bytes().to_vec(),
                    sign: Box::new(move |digest| {
                        let signature: $curve::ecdsa::Signature =
                            key.sign_prehash(digest).expect("a signature");
                        signature.to_bytes().to_vec()
                    }),
                }
            }};
        }
        let kind = match name {
            "p192" => p192_key(&private.children()[1].contents()),
            "p256" => ec!(p256, "1.2.840.10045.3.1.7", 32),
            "p384" => ec!(p384, "1.3.132.0.34", 48),
            "p521" => p521_key(&private.children()[1].contents()),
            _ => Kind::Rsa {
                modulus: number(1),
                exponent: number(2),
                parts: [4, 5, 6, 7, 8].map(|index| BigUint::from_bytes_be(&number(index))),
            },
        };
        Self { name, kind }
    }

    /// Whether its signatures take a while.
    pub(super) fn is_slow(&self) -> bool {
        matches!(&self.kind, Kind::Rsa { modulus, .. } if modulus.len() > 256)
    }

    /// `SubjectPublicKeyInfo`.
    pub(super) fn info(&self) -> Node {
        let (algorithm, bytes) = match &self.kind {
            Kind::Rsa {
                modulus, exponent, ..
            } => {
                let key = Node::sequence(vec![unsigned(modulus), unsigned(exponent)]);
                let algorithm = vec![Node::oid("1.2.840.113549.1.1.1"), Node::null()];
                (algorithm, key.encode())
            }
            Kind::Ec { curve, point, .. } => {
                let algorithm = vec![Node::oid("1.2.840.10045.2.1"), Node::oid(curve)];
                (algorithm, point.clone())
            }
            Kind::MlDsa(key) => {
                use bpfseal_seal::Signer as _;
                (vec![Node::oid(ML_DSA_44)], key.public_key())
            }
        };
        Node::sequence(vec![Node::sequence(algorithm), Node::bits(&bytes)])
    }

    /// The algorithm of a certificate's signature.
    pub(super) fn certificate_algorithm(&self, digest: DigestAlgorithm) -> Node {
        match &self.kind {
            Kind::MlDsa(_) => Node::sequence(vec![Node::oid(ML_DSA_44)]),
            Kind::Rsa { .. } => Node::sequence(vec![
                Node::oid(match digest {
                    DigestAlgorithm::Sha1 => "1.2.840.113549.1.1.5",
                    DigestAlgorithm::Sha224 => "1.2.840.113549.1.1.14",
                    DigestAlgorithm::Sha384 => "1.2.840.113549.1.1.12",
                    DigestAlgorithm::Sha512 => "1.2.840.113549.1.1.13",
                    DigestAlgorithm::Sha3_256 => "2.16.840.1.101.3.4.3.14",
                    DigestAlgorithm::Sha3_512 => "2.16.840.1.101.3.4.3.16",
                    _ => "1.2.840.113549.1.1.11",
                }),
                Node::null(),
            ]),
            Kind::Ec { .. } => Node::sequence(vec![Node::oid(match digest {
                DigestAlgorithm::Sha1 => "1.2.840.10045.4.1",
                DigestAlgorithm::Sha224 => "1.2.840.10045.4.3.1",
                DigestAlgorithm::Sha384 => "1.2.840.10045.4.3.3",
                DigestAlgorithm::Sha512 => "1.2.840.10045.4.3.4",
                DigestAlgorithm::Sha3_256 => "2.16.840.1.101.3.4.3.10",
                DigestAlgorithm::Sha3_512 => "2.16.840.1.101.3.4.3.12",
                _ => "1.2.840.10045.4.3.2",
            })]),
        }
    }

    /// The algorithm of a signature in a message.
    pub(super) fn message_algorithm(&self, digest: DigestAlgorithm) -> Node {
        match &self.kind {
            Kind::Rsa { .. } => {
                Node::sequence(vec![Node::oid("1.2.840.113549.1.1.1"), Node::null()])
            }
            Kind::Ec { .. } | Kind::MlDsa(_) => self.certificate_algorithm(digest),
        }
    }

    /// Signs. The same again is looked up.
    pub(super) fn sign(&self, digest: DigestAlgorithm, message: &[u8]) -> Vec<u8> {
        type Made = Mutex<HashMap<(&'static str, DigestAlgorithm, Vec<u8>), Vec<u8>>>;
        static MADE: OnceLock<Made> = OnceLock::new();
        let asked = (self.name, digest, message.to_vec());
        let made = MADE.get_or_init(Mutex::default);
        if let Some(signature) = made.lock().expect("no panic").get(&asked) {
            return signature.clone();
        }
        let signature = self.sign_anew(digest, message);
        let mut made = made.lock().expect("no panic");
        if made.len() > 10_000 {
            made.clear();
        }
        made.insert(asked, signature.clone());
        signature
    }

    /// Signs a digest of zero, where that can be: what a kernel without the digest looks for.
    pub(super) fn sign_nothing(&self) -> Option<Vec<u8>> {
        match &self.kind {
            Kind::Ec { field, sign, .. } => Some(numbers(&sign(&vec![0; *field]))),
            Kind::Rsa { .. } | Kind::MlDsa(_) => None,
        }
    }

    fn sign_anew(&self, digest: DigestAlgorithm, message: &[u8]) -> Vec<u8> {
        let hashed = digest.digest(message);
        match &self.kind {
            Kind::Rsa {
                modulus,
                exponent,
                parts,
            } => {
                let size = modulus.len();
                let info = digest.digest_info(&hashed);
                // Where the key is too short for the digest, there is no signature.
                let Some(ones) = size.checked_sub(info.len() + 3) else {
                    return vec![0x55; size];
                };
                let block = [&[0, 1][..], &vec![0xff; ones], &[0], &info].concat();
                if *exponent == [1] {
                    return block;
                }
                let number = BigUint::from_bytes_be(&block);
                let [p, q, of_p, of_q, coefficient] = parts;
                let (m1, m2) = (number.modpow(of_p, p), number.modpow(of_q, q));
                let h = (m1 + p - &m2 % p) * coefficient % p;
                fixed(&(m2 + h * q), size)
            }
            Kind::Ec { field, sign, .. } => {
                let kept = &hashed[..hashed.len().min(*field)];
                let padded = [&vec![0; field - kept.len()], kept].concat();
                numbers(&sign(&padded))
            }
            Kind::MlDsa(key) => {
                use bpfseal_seal::Signer as _;
                key.sign(digest, message).expect("a signature")
            }
        }
    }
}

const ML_DSA_44: &str = "2.16.840.1.101.3.4.3.17";

/// The library signs with no key of this curve, with good reason.
fn p192_key(secret: &[u8]) -> Kind {
    use p192::elliptic_curve::Curve as _;
    use p192::elliptic_curve::PrimeField as _;
    use p192::elliptic_curve::bigint::Encoding as _;
    use p192::elliptic_curve::sec1::ToEncodedPoint as _;

    let order = BigUint::from_bytes_be(&p192::NistP192::ORDER.to_be_bytes());
    let times = move |number: &BigUint| {
        let digits = fixed(number, 24);
        let scalar = p192::Scalar::from_repr(*p192::FieldBytes::from_slice(&digits));
        let point = p192::ProjectivePoint::GENERATOR * scalar.expect("below the order");
        point
            .to_affine()
            .to_encoded_point(false)
            .as_bytes()
            .to_vec()
    };
    let secret = BigUint::from_bytes_be(secret);
    let point = times(&secret);
    Kind::Ec {
        curve: "1.2.840.10045.3.1.1",
        field: 24,
        point,
        sign: Box::new(move |digest| {
            // As secret as the key.
            let digest = BigUint::from_bytes_be(digest);
            let nonce = (&digest + &secret) % &order + 1_u8;
            let r = BigUint::from_bytes_be(&times(&nonce)[1..25]) % &order;
            let inverse = nonce.modpow(&(&order - 2_u8), &order);
            let s = (digest + &r * &secret) * inverse % &order;
            [fixed(&r, 24), fixed(&s, 24)].concat()
        }),
    }
}

/// A number in that many bytes.
fn fixed(number: &BigUint, size: usize) -> Vec<u8> {
    let digits = number.to_bytes_be();
    [vec![0; size - digits.len()], digits].concat()
}

/// The library's key of this curve is another type.
fn p521_key(secret: &[u8]) -> Kind {
    let key = p521::ecdsa::SigningKey::from_slice(secret).expect("a scalar");
    let public = p521::ecdsa::VerifyingKey::from(&key);
    Kind::Ec {
        curve: "1.3.132.0.35",
        field: 66,
        point: public.to_encoded_point(false).as_bytes().to_vec(),
        sign: Box::new(move |digest| {
            let mut numbers = Numbers(Random::new(
                u64::from(digest[8]) << 8 | u64::from(digest[9]),
            ));
            let signature: p521::ecdsa::Signature = key
                .sign_prehash_with_rng(&mut numbers, digest)
                .expect("a signature");
            signature.to_bytes().to_vec()
        }),
    }
}

/// The library has no deterministic nonces for this curve. These are: the key is public anyway.
struct Numbers(Random);

impl rand_core::RngCore for Numbers {
    fn next_u32(&mut self) -> u32 {
        self.0.next() as u32
    }

    fn next_u64(&mut self) -> u64 {
        self.0.next()
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        bytes.copy_from_slice(&self.0.bytes(bytes.len()));
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

impl rand_core::CryptoRng for Numbers {}

/// A number that is not negative.
fn unsigned(bytes: &[u8]) -> Node {
    let zeroes = bytes.iter().take_while(|b| **b == 0).count();
    let digits = &bytes[zeroes..];
    if digits.first().is_none_or(|first| first & 0x80 != 0) {
        Node::integer(&[&[0], digits].concat())
    } else {
        Node::integer(digits)
    }
}

/// Two numbers of the same size, as `ECDSA-Sig-Value`.
fn numbers(raw: &[u8]) -> Vec<u8> {
    let (r, s) = raw.split_at(raw.len() / 2);
    Node::sequence(vec![unsigned(r), unsigned(s)]).encode()
}
