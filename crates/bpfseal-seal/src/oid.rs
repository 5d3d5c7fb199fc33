//! Object identifiers.

use der::asn1::ObjectIdentifier;

const fn oid(text: &'static str) -> ObjectIdentifier {
    ObjectIdentifier::new_unwrap(text)
}

// Keys.
pub(crate) const RSA: ObjectIdentifier = oid("1.2.840.113549.1.1.1");
pub(crate) const EC_PUBLIC_KEY: ObjectIdentifier = oid("1.2.840.10045.2.1");
/// GOST R 34.10-2012.
pub(crate) const GOST_256: ObjectIdentifier = oid("1.2.643.7.1.1.1.1");
pub(crate) const GOST_512: ObjectIdentifier = oid("1.2.643.7.1.1.1.2");

// Curves.
pub(crate) const P192: ObjectIdentifier = oid("1.2.840.10045.3.1.1");
pub(crate) const P256: ObjectIdentifier = oid("1.2.840.10045.3.1.7");
pub(crate) const P384: ObjectIdentifier = oid("1.3.132.0.34");
pub(crate) const P521: ObjectIdentifier = oid("1.3.132.0.35");

// Messages (RFC 5652) and their signed attributes.
pub(crate) const DATA: ObjectIdentifier = oid("1.2.840.113549.1.7.1");
pub(crate) const SIGNED_DATA: ObjectIdentifier = oid("1.2.840.113549.1.7.2");
pub(crate) const CONTENT_TYPE: ObjectIdentifier = oid("1.2.840.113549.1.9.3");
pub(crate) const MESSAGE_DIGEST: ObjectIdentifier = oid("1.2.840.113549.1.9.4");
pub(crate) const SIGNING_TIME: ObjectIdentifier = oid("1.2.840.113549.1.9.5");

/// The last arc of Hornet's attribute, `2.25.316487325684022475439036912669789383960`.
const HORNET_ARC: u128 = 316_487_325_684_022_475_439_036_912_669_789_383_960;

/// Contents of the identifier of Hornet's attribute.
pub(crate) fn hornet() -> Vec<u8> {
    let mut reversed = Vec::new();
    let mut rest = HORNET_ARC;
    while rest > 0 {
        let more = if reversed.is_empty() { 0 } else { 0x80 };
        reversed.push((rest & 0x7f) as u8 | more);
        rest >>= 7;
    }
    // 2.25, in one byte.
    reversed.push(2 * 40 + 25);
    reversed.reverse();
    reversed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arc_of_128_bits_is_encoded() {
        let oid = hornet();
        // 128 bits in groups of seven, and the first two arcs.
        assert_eq!((oid.len(), oid[0]), (20, 0x69));
        let back = oid[1..]
            .iter()
            .fold(0u128, |all, byte| all << 7 | u128::from(byte & 0x7f));
        assert_eq!(back, HORNET_ARC);
    }
}
