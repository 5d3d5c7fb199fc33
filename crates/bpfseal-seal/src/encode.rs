//! Writing DER: it is but nested lengths.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_as_short_as_they_can_be() {
        assert_eq!(tlv(4, &[7]), [4, 1, 7]);
        assert_eq!(tlv(4, &[0; 0x80])[..3], [4, 0x81, 0x80]);
        assert_eq!(tlv(4, &[0; 0x1234])[..4], [4, 0x82, 0x12, 0x34]);
    }
}
