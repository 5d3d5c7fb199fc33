//! Checking RSA signatures as the kernel does: PKCS#1 v1.5, with its sizes and its order of checks
//! (`crypto/rsa.c`, `rsassa-pkcs1.c`, `lib/crypto/mpi` of Linux 7.3).
//!
//! The library that signs takes other keys than the kernel, so the arithmetic is done here.

use bpfseal_uapi::Errno;
use num_bigint::BigUint;

use crate::asn1::{Element, decode, fields, leaf};
use crate::ber::{INTEGER, SEQUENCE};
use crate::digest::DigestAlgorithm;
use crate::fault::SignatureFault;
use crate::power::power;

/// The sizes that the kernel takes, in bytes: of the modulus in whole limbs, so a modulus of 2,000
/// bits is one of 2,048.
const SIZES: [usize; 6] = [64, 128, 192, 256, 384, 512];
/// Bytes of a limb of the kernel's large numbers, on machines of 64 bits.
const LIMB: usize = 8;
/// Longest number that the kernel reads, bytes.
const MAX_NUMBER: usize = 2048;
/// Fewest bytes of padding.
const MIN_PADDING: usize = 8;

#[derive(Debug, Clone, Copy)]
enum Note {
    Modulus,
    Exponent,
}

/// `RSAPublicKey` (RFC 8017, A.1.1).
const PUBLIC_KEY: Element<Note> = fields(
    SEQUENCE,
    &[
        leaf(INTEGER).note(Note::Modulus).one(),
        leaf(INTEGER).note(Note::Exponent).one(),
    ],
);

struct PublicKey {
    modulus: BigUint,
    exponent: BigUint,
    /// Bytes of the modulus in whole limbs.
    size: usize,
}

const fn invalid(what: &'static str) -> SignatureFault {
    SignatureFault::new(Errno::EINVAL, what)
}

const fn malformed(what: &'static str) -> SignatureFault {
    SignatureFault::new(Errno::EBADMSG, what)
}

/// The digits of a number without leading zeroes.
fn digits(bytes: &[u8]) -> &[u8] {
    let zeroes = bytes.iter().take_while(|b| **b == 0).count();
    &bytes[zeroes..]
}

/// Fewest bytes of a modulus where `fips=1`.
const MIN_FIPS: usize = 256;
/// In FIPS mode, exponents lie between these powers of two.
const FIPS_EXPONENT: std::ops::Range<u64> = 17..257;

impl PublicKey {
    fn parse(bytes: &[u8], fips: bool) -> Result<Self, SignatureFault> {
        let (mut modulus, mut exponent): (&[u8], &[u8]) = (&[], &[]);
        decode(&PUBLIC_KEY, bytes, &mut |note, found| {
            let value = found.value();
            match note {
                Note::Modulus => {
                    if value.is_empty() {
                        return Err(invalid("the RSA modulus is empty"));
                    }
                    if fips && digits(value).len() < MIN_FIPS {
                        return Err(invalid("the RSA key is too small for FIPS mode"));
                    }
                    modulus = value;
                }
                Note::Exponent => {
                    if value.is_empty() || value.len() > modulus.len() {
                        return Err(invalid(
                            "the RSA exponent is empty, or longer than the modulus",
                        ));
                    }
                    exponent = value;
                }
            }
            Ok(())
        })?;
        for number in [exponent, modulus] {
            if digits(number).len() > MAX_NUMBER {
                return Err(SignatureFault::new(
                    Errno::ENOMEM,
                    "the RSA key has a number of more than 16384 bits",
                ));
            }
        }
        let size = digits(modulus).len().next_multiple_of(LIMB);
        if !SIZES.contains(&size) {
            return Err(invalid(
                "the kernel takes RSA keys of 512, 1024, 1536, 2048, 3072 and 4096 bits alone",
            ));
        }
        let exponent = BigUint::from_bytes_be(exponent);
        // 65,536 is even, so what is odd and has 17 bits is above it.
        if fips && !(exponent.bit(0) && FIPS_EXPONENT.contains(&exponent.bits())) {
            return Err(invalid("the RSA exponent is none for FIPS mode"));
        }
        Ok(Self {
            modulus: BigUint::from_bytes_be(modulus),
            exponent,
            size,
        })
    }
}

/// Bits of the modulus of a key, in whole bytes; 0 for what is no key.
pub(crate) fn modulus_bits(bytes: &[u8]) -> usize {
    let mut bits = 0;
    let mut note = |note, found: crate::asn1::Found<'_>| {
        if let Note::Modulus = note {
            bits = digits(found.value()).len() * 8;
        }
        Ok::<(), SignatureFault>(())
    };
    let _ = decode(&PUBLIC_KEY, bytes, &mut note);
    bits
}

/// Checks a signature over a digest. The digest is empty where the kernel could not compute it.
pub(crate) fn verify(
    key: &[u8],
    algorithm: DigestAlgorithm,
    digest: &[u8],
    signature: &[u8],
    fips: bool,
) -> Result<(), SignatureFault> {
    let key = PublicKey::parse(key, fips)?;
    if signature.len() != key.size {
        return Err(invalid("the signature is not as long as the RSA key"));
    }
    if digest.is_empty() {
        return Err(invalid("the kernel cannot compute the digest"));
    }
    let signature = BigUint::from_bytes_be(signature);
    let one = BigUint::from(1_u8);
    // The modulus is not zero, and a signature of its size not empty.
    if signature <= one || signature >= &key.modulus - &one {
        return Err(invalid(
            "the signature is not a number that the RSA key could have made",
        ));
    }
    let opened = power(&signature, &key.exponent, &key.modulus).to_bytes_be();
    let mut block = vec![0; key.size.saturating_sub(opened.len())];
    block.extend(opened);
    // 0, 1, ones, 0, `DigestInfo` (RFC 8017, 9.2).
    let [0, block @ ..] = &*block else {
        return Err(invalid("the signature does not open with the RSA key"));
    };
    let [1, padded @ ..] = block else {
        return Err(malformed("the signature does not open with the RSA key"));
    };
    let ones = padded.iter().take_while(|b| **b == 0xff).count();
    let Some((0, info)) = padded.get(ones..).and_then(|rest| {
        let (first, rest) = rest.split_first()?;
        Some((*first, rest))
    }) else {
        return Err(malformed("the padding of the signature has no end"));
    };
    if ones < MIN_PADDING {
        return Err(malformed("the padding of the signature is too short"));
    }
    let wanted = algorithm.digest_info(digest);
    let prefix = &wanted[..wanted.len() - digest.len()];
    match info.strip_prefix(prefix) {
        None => Err(malformed(
            "the signature is over a digest of another algorithm",
        )),
        Some(found) if found == digest => Ok(()),
        Some(_) => Err(SignatureFault::MISMATCH),
    }
}
