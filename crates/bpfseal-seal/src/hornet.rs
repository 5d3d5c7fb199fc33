//! Hornet's signed attribute: digests of maps, by index.
//!
//! ```text
//! SEQUENCE { SET OF SEQUENCE { index INTEGER, sha OCTET STRING } }     as its tool writes it
//! SET OF SEQUENCE { index INTEGER, sha OCTET STRING }                  as its documentation has it
//! ```
//!
//! An empty `sha` means that the map is not looked at.

use sha2::{Digest as _, Sha256};

use crate::attestation::Attestation;
use crate::ber::{INTEGER, OCTET_STRING, SEQUENCE, SET, Tlv};
use crate::config::KernelConfig;
use crate::hex::hex;
use crate::message::Message;
use crate::rejection::Rejection;

/// Most maps that an attribute lists.
const MAX_MAPS: usize = 64;

/// Checks the maps of a signature that holds: each one that is listed has to be there, with that
/// digest. A signature without the attribute attests to the instructions alone. Of several
/// signatures in a message, it is the trusted one's list that counts.
pub(crate) fn check(signature: &[u8], signer: usize, maps: &[&[u8]]) -> Result<(), Rejection> {
    for (index, sha) in listed(signature, signer)?.ok_or(Rejection::Partial)? {
        if sha.is_empty() {
            continue;
        }
        let computed = maps
            .get(index)
            .map_or_else(|| "no such map".to_owned(), |map| hex(&Sha256::digest(map)));
        if computed != hex(&sha) {
            return Err(Rejection::MapDigest {
                index,
                found: hex(&sha),
                computed,
            });
        }
    }
    Ok(())
}

/// The maps that the signed attribute of a Hornet signature lists, by the signer who decided: index
/// and SHA-256 of each, which is empty for one that is not to be looked at. `None` without the
/// attribute: the signature covers the instructions alone.
///
/// # Errors
/// [`Rejection`] for an attribute that can not be read.
pub fn listed_maps(
    signature: &[u8],
    attestation: &Attestation,
) -> Result<Option<Vec<ListedMap>>, Rejection> {
    listed(signature, attestation.decisive)
}

/// A map that a Hornet signature lists: index and digest.
pub type ListedMap = (usize, Vec<u8>);

/// What a signature lists: indices and digests; `None` without the attribute.
fn listed(signature: &[u8], signer: usize) -> Result<Option<Vec<ListedMap>>, Rejection> {
    let message = Message::parse(signature, &KernelConfig::EVERYTHING)?;
    let signer = message.signers.get(signer);
    let Some(value) = signer.and_then(|signer| signer.attributes.as_ref()?.hornet) else {
        return Ok(None);
    };
    let set = if value.tag == SEQUENCE {
        value.inside().expect(SET, "the list of maps is no set")?
    } else {
        value
    };
    let mut entries = Vec::new();
    let mut reader = set.inside();
    while !reader.is_empty() {
        entries.push(entry(reader.expect(SEQUENCE, "a map is no sequence")?)?);
        if entries.len() > MAX_MAPS {
            return Err(Rejection::Invalid {
                offset: set.at,
                what: "more than 64 maps are listed",
            });
        }
    }
    Ok(Some(entries))
}

fn entry(entry: Tlv<'_>) -> Result<ListedMap, Rejection> {
    let mut reader = entry.inside();
    let index = reader.expect(INTEGER, "a map has no index")?;
    let sha = reader.expect(OCTET_STRING, "a map has no digest")?;
    let [index] = *index.value else {
        return Err(Rejection::Invalid {
            offset: index.at,
            what: "the index of a map has more than one byte",
        });
    };
    Ok((usize::from(index), sha.value.to_vec()))
}
