//! Private keys of ECDSA on P-256.
//!
//! Signatures are those of RFC 6979 to the byte, whoever computes them: the `p256` crate anywhere,
//! or, several times as fast, `graviola` where it runs. That one is asked for `k·G` alone, by what
//! it has for key agreement, because its own signatures are randomised.

use p256::ecdsa::signature::hazmat::PrehashSigner as _;
use p256::ecdsa::{Error, SigningKey};

/// A private key. Wiped when it goes.
pub(crate) struct P256Key(SigningKey);

impl P256Key {
    /// Of a number, 32 bytes.
    pub(crate) fn from_slice(bytes: &[u8]) -> Result<Self, Error> {
        SigningKey::from_slice(bytes).map(Self)
    }

    /// As an uncompressed point.
    pub(crate) fn public_key(&self) -> Vec<u8> {
        let point = self.0.verifying_key().to_encoded_point(false);
        point.as_bytes().to_vec()
    }

    /// Signs a digest: `ECDSA-Sig-Value` in DER.
    pub(crate) fn sign(&self, digest: &[u8]) -> Result<Vec<u8>, Error> {
        let signature = match fast::sign(&self.0, digest) {
            Some(signature) => signature,
            None => self.0.sign_prehash(digest)?,
        };
        Ok(signature.to_der().as_bytes().to_vec())
    }
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod fast {
    use graviola::key_agreement::p256::StaticPrivateKey;
    use p256::ecdsa::{Signature, SigningKey};
    use p256::elliptic_curve::ops::Reduce;
    use p256::elliptic_curve::{Curve as _, FieldBytesEncoding as _, PrimeField as _};
    use p256::{FieldBytes, NistP256, Scalar, U256};
    use zeroize::Zeroizing;

    /// Signs a digest of at least 32 bytes. `None` where this processor, or the digest, is left to
    /// the other library. No branch and no address depends on a secret.
    pub(super) fn sign(key: &SigningKey, digest: &[u8]) -> Option<Signature> {
        if !graviola::util::is_cpu_supported() {
            return None;
        }
        // The leftmost bits of a longer one (RFC 6979, 2.3.2).
        let digest = FieldBytes::from(*digest.first_chunk::<32>()?);
        let secret = key.as_nonzero_scalar();
        let nonce = Zeroizing::new(rfc6979::generate_k::<sha2::Sha256, _>(
            &Zeroizing::new(secret.to_repr()),
            &NistP256::ORDER.encode_field_bytes(),
            &digest,
            &[],
        ));
        // 4, then both coordinates.
        let point = StaticPrivateKey::from_bytes(nonce.as_slice()).ok()?;
        let point = point.public_key_uncompressed();
        let x = FieldBytes::from(*point.get(1..)?.first_chunk::<32>()?);
        let reduced = <Scalar as Reduce<U256>>::reduce_bytes;
        let r = reduced(&x);
        let nonce = Zeroizing::new(Option::<Scalar>::from(Scalar::from_repr(*nonce))?);
        let inverse = Zeroizing::new(Option::<Scalar>::from(nonce.invert())?);
        // Zero for either is refused, as it should be.
        let s = *inverse * (reduced(&digest) + r * secret.as_ref());
        Signature::from_scalars(r, s).ok()
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod fast {
    pub(super) fn sign(_: &p256::ecdsa::SigningKey, _: &[u8]) -> Option<p256::ecdsa::Signature> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use p256::ecdsa::Signature;
    use sha2::{Digest as _, Sha256, Sha384, Sha512};

    fn slow(key: &P256Key, digest: &[u8]) -> Vec<u8> {
        let signature: Signature = key.0.sign_prehash(digest).unwrap();
        signature.to_der().as_bytes().to_vec()
    }

    #[test]
    fn the_vectors_of_rfc_6979() {
        // A.2.5.
        let secret = "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721";
        let bytes: Vec<u8> = (0..32)
            .map(|at| u8::from_str_radix(&secret[at * 2..at * 2 + 2], 16).unwrap())
            .collect();
        let key = P256Key::from_slice(&bytes).unwrap();
        let cases = [
            (
                Sha256::digest("sample").to_vec(),
                "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716",
                "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8",
            ),
            (
                Sha256::digest("test").to_vec(),
                "f1abb023518351cd71d881567b1ea663ed3efcf6c5132b354f28d3b0b7d38367",
                "019f4113742a2b14bd25926b49c649155f267e60d3814b4c0cc84250e46f0083",
            ),
        ];
        for (digest, r, s) in cases {
            let der = crate::hex::hex(&key.sign(&digest).unwrap());
            assert!(der.contains(r), "{der}");
            assert!(der.contains(s.trim_start_matches("00")), "{der}");
        }
    }

    /// Whoever computes it.
    #[test]
    fn signatures_are_those_of_the_other_library() {
        let order = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
        let order: Vec<u8> = (0..32)
            .map(|at| u8::from_str_radix(&order[at * 2..at * 2 + 2], 16).unwrap())
            .collect();
        let mut largest = order.clone();
        largest[31] -= 1;
        let mut one = [0; 32];
        one[31] = 1;
        let random = |n: u8| Sha256::digest([n]).to_vec();
        for secret in [one.to_vec(), largest, random(1), random(2)] {
            let key = P256Key::from_slice(&secret).unwrap();
            let mut digests = vec![vec![0; 32], vec![0xff; 32], order.clone(), vec![7; 20]];
            for n in 0..32 {
                digests.push(random(n));
                digests.push(Sha384::digest([n]).to_vec());
                digests.push(Sha512::digest([n]).to_vec());
            }
            for digest in digests {
                assert_eq!(
                    key.sign(&digest).unwrap(),
                    slow(&key, &digest),
                    "{digest:?}"
                );
            }
        }
        assert!(P256Key::from_slice(&order).is_err());
    }

    #[test]
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    fn the_fast_one_is_used_where_it_runs() {
        let key = SigningKey::from_slice(&[7; 32]).unwrap();
        let there = fast::sign(&key, &[1; 32]).is_some();
        assert_eq!(there, graviola::util::is_cpu_supported());
        // Shorter ones are left to the other library.
        assert!(fast::sign(&key, &[1; 31]).is_none());
    }
}
