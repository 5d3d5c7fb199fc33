//! Writing DER: nested lengths, and an object identifier that no library of the field takes.

use crate::ber::{OBJECT_IDENTIFIER, SEQUENCE};

/// Tag, length, value.
pub(crate) fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let len = value.len();
    if len < 0x80 {
        out.push(len as u8);
    } else {
        let bytes = len.to_be_bytes();
        let skipped = bytes.iter().take_while(|b| **b == 0).count();
        // At most eight bytes of a length.
        out.push(0x80 | (bytes.len() - skipped) as u8);
        out.extend(&bytes[skipped..]);
    }
    out.extend(value);
    out
}

/// `SEQUENCE { OBJECT IDENTIFIER, parameters }`.
pub(crate) fn algorithm_identifier(id: &[u8], parameters: &[u8]) -> Vec<u8> {
    let id = tlv(OBJECT_IDENTIFIER, id);
    tlv(SEQUENCE, &[id.as_slice(), parameters].concat())
}

/// The last arc of Hornet's attribute, `2.25.316487325684022475439036912669789383960`.
const HORNET_ARC: u128 = 316_487_325_684_022_475_439_036_912_669_789_383_960;

/// Contents of the identifier of Hornet's attribute.
pub(crate) fn hornet_oid() -> Vec<u8> {
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
    fn lengths_are_as_short_as_they_can_be() {
        assert_eq!(tlv(4, &[7]), [4, 1, 7]);
        assert_eq!(tlv(4, &[0; 0x80])[..3], [4, 0x81, 0x80]);
        assert_eq!(tlv(4, &[0; 0x1234])[..4], [4, 0x82, 0x12, 0x34]);
    }

    #[test]
    fn an_arc_of_128_bits_is_encoded() {
        let oid = hornet_oid();
        // 128 bits in groups of seven, and the first two arcs.
        assert_eq!((oid.len(), oid[0]), (20, 0x69));
        let back = oid[1..]
            .iter()
            .fold(0u128, |all, byte| all << 7 | u128::from(byte & 0x7f));
        assert_eq!(back, HORNET_ARC);
    }
}
