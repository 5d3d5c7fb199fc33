//! A certificate that nobody signed, and that a kernel takes.
//!
//! A kernel that lacks the digest of a certificate's signature keeps the certificate without one,
//! and its ECDSA takes a digest of no bytes for zero. A signature over zero can be made of the
//! public key alone: with the key's own point as the point of the signature, both numbers are its
//! first coordinate.

use bpfseal_seal::DigestAlgorithm;

use super::der::Node;
use super::form::{Built, CONTENT, digest_oid, extension, name};
use super::keys;

/// A message whose signer says that a trusted authority certified it, with SHA3-256, which Debian's
/// kernels have as a module only. Of the authority's key, the public half alone is used for it.
#[must_use]
pub fn undigested() -> Built {
    let authority_key = keys::key("p256");
    let authority_name = name("an authority");
    let authority_id = [7; 20];
    let digest = DigestAlgorithm::Sha256;
    let mut authority = vec![
        Node::of(0xa0, vec![Node::integer(&[2])]),
        Node::integer(&[1]),
        authority_key.certificate_algorithm(digest),
        authority_name.clone(),
        validity(),
        authority_name.clone(),
        authority_key.info(),
    ];
    let key_id = extension("2.5.29.14", Node::octets(&authority_id));
    authority.push(Node::of(0xa3, vec![Node::sequence(vec![key_id])]));
    let authority = Node::sequence(authority);
    let signature = authority_key.sign(digest, &authority.encode());
    let authority = Node::sequence(vec![
        authority,
        authority_key.certificate_algorithm(digest),
        Node::bits(&signature),
    ]);

    let stranger = keys::key("rsa1024");
    let algorithm = authority_key.certificate_algorithm(DigestAlgorithm::Sha3_256);
    let by_key = Node::sequence(vec![Node::leaf(0x80, &authority_id)]);
    let by_key = extension("2.5.29.35", by_key);
    let certificate = Node::sequence(vec![
        Node::of(0xa0, vec![Node::integer(&[2])]),
        Node::integer(&[2]),
        algorithm.clone(),
        authority_name.clone(),
        validity(),
        name("a stranger"),
        stranger.info(),
        Node::of(0xa3, vec![Node::sequence(vec![by_key])]),
    ]);
    let point = authority_key.info().children()[1].contents();
    // Past the count of unused bits and the byte that says uncompressed; its first bit is not set.
    let number = Node::integer(&point[2..34]);
    let forged = Node::sequence(vec![number.clone(), number]).encode();
    let certificate = Node::sequence(vec![certificate, algorithm, Node::bits(&forged)]);

    let signer = Node::sequence(vec![
        Node::integer(&[1]),
        Node::sequence(vec![authority_name, Node::integer(&[2])]),
        Node::sequence(vec![digest_oid(digest)]),
        stranger.message_algorithm(digest),
        Node::octets(&stranger.sign(digest, &CONTENT)),
    ]);
    let message = Node::sequence(vec![
        Node::oid("1.2.840.113549.1.7.2"),
        Node::of(
            0xa0,
            vec![Node::sequence(vec![
                Node::integer(&[1]),
                Node::set(vec![Node::sequence(vec![digest_oid(digest)])]),
                Node::sequence(vec![Node::oid("1.2.840.113549.1.7.1")]),
                Node::of(0xa0, vec![certificate]),
                Node::set(vec![signer]),
            ])],
        ),
    ]);
    Built {
        trusted: vec![authority.encode()],
        signature: message.encode(),
        notes: vec!["a signature over a digest of no bytes".to_owned()],
    }
}

fn validity() -> Node {
    let time = |text: &str| Node::leaf(0x17, text.as_bytes());
    Node::sequence(vec![time("200101000000Z"), time("400101000000Z")])
}

#[cfg(test)]
mod tests {
    use bpfseal_seal::{KernelConfig, Rejection, TrustStore, verify_detached};

    use super::*;

    #[test]
    fn it_is_refused_although_the_kernel_takes_it() {
        let built = undigested();
        let verdict = |config| {
            let mut store = TrustStore::for_kernel(config);
            assert_eq!(store.add_der(&built.trusted[0]), Ok(()));
            verify_detached(&[&CONTENT], &built.signature, &store).unwrap_err()
        };
        let taken = verdict(KernelConfig::default());
        assert!(
            matches!(taken, Rejection::UndigestedButTaken { .. }),
            "{taken}"
        );
        assert_eq!(taken.errno(), None);
        // A kernel that has the digest sees that the signature is none.
        let seen = verdict(KernelConfig::EVERYTHING);
        assert!(matches!(seen, Rejection::WrongSignature { .. }), "{seen}");
    }
}
