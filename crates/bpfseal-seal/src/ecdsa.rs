//! Checking ECDSA signatures as the kernel does (`crypto/ecdsa.c`, `ecdsa-x962.c` of Linux 7.3).

use bpfseal_uapi::Errno;
use p256::ecdsa::signature::hazmat::PrehashVerifier as _;

use crate::asn1::{Element, Found, decode, fields, leaf};
use crate::ber::{INTEGER, SEQUENCE};
use crate::fault::SignatureFault;

/// A curve of the kernel's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Curve {
    P192,
    P256,
    P384,
    P521,
}

impl Curve {
    /// Bytes of a coordinate.
    fn field(self) -> usize {
        match self {
            Self::P192 => 24,
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    /// Bytes of a coordinate as the kernel keeps it, in whole words.
    fn words(self) -> usize {
        self.field().next_multiple_of(8)
    }
}

#[derive(Debug, Clone, Copy)]
enum Note {
    R,
    S,
}

/// `ECDSA-Sig-Value` (RFC 3279, 2.2.3).
const SIGNATURE: Element<Note> = fields(
    SEQUENCE,
    &[
        leaf(INTEGER).note(Note::R).one(),
        leaf(INTEGER).note(Note::S).one(),
    ],
);

const fn invalid(what: &'static str) -> SignatureFault {
    SignatureFault::new(Errno::EINVAL, what)
}

/// A number in that many bytes, however it was written.
fn resized(bytes: &[u8], size: usize) -> Option<Vec<u8>> {
    let zeroes = bytes.iter().take_while(|b| **b == 0).count();
    let digits = &bytes[zeroes..];
    let mut out = vec![0; size.checked_sub(digits.len())?];
    out.extend_from_slice(digits);
    Some(out)
}

/// A point as it is in a certificate, in the one form that the library takes. The kernel takes no
/// compressed points, but coordinates of any length that have as many words as the curve's.
fn point(curve: Curve, key: &[u8]) -> Result<Vec<u8>, SignatureFault> {
    let [4, coordinates @ ..] = key else {
        return Err(invalid("the public key is not an uncompressed point"));
    };
    let half = coordinates.len() / 2;
    if coordinates.len() % 2 != 0 || half.next_multiple_of(8) != curve.words() {
        return Err(invalid("the public key is not a point of its curve"));
    }
    let (x, y) = coordinates.split_at(half);
    let mut out = vec![4];
    for coordinate in [x, y] {
        let number = resized(coordinate, curve.field())
            .ok_or(invalid("the public key is not a point of its curve"))?;
        out.extend(number);
    }
    Ok(out)
}

/// One of a signature's two numbers.
fn number(curve: Curve, found: Found<'_>) -> Result<Vec<u8>, SignatureFault> {
    let value = found.value();
    let words = curve.words();
    let fits = match value {
        [] => false,
        [0, rest @ ..] => rest.len() <= words,
        all => all.len() <= words,
    };
    if !fits {
        return Err(invalid(
            "a number of the ECDSA signature is empty, or too long for the curve",
        ));
    }
    Ok(value.to_vec())
}

/// Checks a signature over a digest. An empty digest counts as zero, as in the kernel; where that
/// comes from, [`crate::public_key`] has to say.
pub(crate) fn verify(
    curve: Curve,
    key: &[u8],
    digest: &[u8],
    signature: &[u8],
) -> Result<(), SignatureFault> {
    let point = point(curve, key)?;
    // The key is looked at first.
    let verify = verifier(curve, &point)?;
    let (mut r, mut s) = (Vec::new(), Vec::new());
    decode(&SIGNATURE, signature, &mut |note, found| {
        match note {
            Note::R => r = number(curve, found)?,
            Note::S => s = number(curve, found)?,
        }
        Ok::<(), SignatureFault>(())
    })?;
    let mut raw = Vec::new();
    for part in [r, s] {
        raw.extend(resized(&part, curve.field()).ok_or(OUT_OF_RANGE)?);
    }
    let digest = &digest[..digest.len().min(curve.field())];
    // As a number of the curve's size: the library wants at least half of it.
    let mut padded = vec![0; curve.field() - digest.len()];
    padded.extend_from_slice(digest);
    verify(&padded, &raw)
}

const OUT_OF_RANGE: SignatureFault = SignatureFault::new(
    Errno::EBADMSG,
    "a number of the ECDSA signature is zero, or not below the curve's order",
);

/// Checks a signature, as two numbers, over a digest.
type Verifier = Box<dyn Fn(&[u8], &[u8]) -> Result<(), SignatureFault>>;

/// The library has a type for each curve, and no trait for all of them.
fn verifier(curve: Curve, point: &[u8]) -> Result<Verifier, SignatureFault> {
    macro_rules! of {
        ($curve:ident) => {{
            let key = $curve::ecdsa::VerifyingKey::from_sec1_bytes(point)
                .map_err(|_| invalid("the public key is not a point of its curve"))?;
            Box::new(move |digest: &[u8], signature: &[u8]| {
                let signature =
                    $curve::ecdsa::Signature::from_slice(signature).map_err(|_| OUT_OF_RANGE)?;
                key.verify_prehash(digest, &signature)
                    .map_err(|_| SignatureFault::MISMATCH)
            })
        }};
    }
    Ok(match curve {
        Curve::P192 => of!(p192),
        Curve::P256 => of!(p256),
        Curve::P384 => of!(p384),
        Curve::P521 => of!(p521),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_of_any_length_that_has_the_curves_words() {
        let with = |len: usize| [&[4][..], &vec![1; len * 2]].concat();
        for (len, taken) in [(24, false), (25, true), (31, true), (32, true), (33, false)] {
            assert_eq!(point(Curve::P256, &with(len)).is_ok(), taken, "{len}");
        }
        // Longer than the field, with zeroes in front.
        let padded = [&[4][..], &[0; 6], &[1; 66], &[0; 6], &[1; 66]].concat();
        assert_eq!(point(Curve::P521, &padded).map(|p| p.len()), Ok(133));
        assert!(point(Curve::P521, &with(72)).is_err());
        for bad in [&[][..], &[4], &[2; 33], &[4; 66]] {
            assert!(point(Curve::P256, bad).is_err());
        }
    }

    #[test]
    fn a_signature_of_infinity_or_zero_is_malformed() {
        let key = p256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap();
        let point = key.verifying_key().to_encoded_point(false);
        let zero = [0x30, 6, 2, 1, 0, 2, 1, 0];
        let fault = verify(Curve::P256, point.as_bytes(), &[1; 32], &zero);
        assert_eq!(fault, Err(OUT_OF_RANGE));
        let empty = verify(
            Curve::P256,
            point.as_bytes(),
            &[1; 32],
            &[0x30, 4, 2, 0, 2, 0],
        );
        assert_eq!(empty.unwrap_err().errno, Errno::EINVAL);
        let none = verify(Curve::P256, point.as_bytes(), &[1; 32], &[]);
        assert_eq!(none.unwrap_err().errno, Errno::EBADMSG);
    }
}
