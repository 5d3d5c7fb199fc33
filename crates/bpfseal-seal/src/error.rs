//! Why a key or certificate can not be used, or a loader not be signed.

#[cfg(feature = "sign")]
use crate::algorithm::KeyAlgorithm;
#[cfg(feature = "sign")]
use crate::rejection::Rejection;
use crate::x509::CertificateFault;

#[cfg(feature = "sign")]
bpfseal_object::debug_as_chain!(KeyError);
bpfseal_object::debug_as_chain!(CertificateError);
#[cfg(feature = "sign")]
bpfseal_object::debug_as_chain!(SealError);

/// A fault of a private key.
#[cfg(feature = "sign")]
#[derive(thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are what the message names")]
pub enum KeyError {
    /// The key is protected by a passphrase.
    #[error("the key is encrypted, and no passphrase was given")]
    Encrypted,
    /// The passphrase does not open the key.
    #[error(
        "the passphrase is not that of the key, or the key is encrypted in a way that is not known"
    )]
    Passphrase,
    /// Encryption of OpenSSL's older form.
    #[error(
        "the key is encrypted in the older form of OpenSSL; write it anew: `openssl pkcs8 -topk8 -in KEY.pem -out NEW.pem`"
    )]
    TraditionalEncryption,
    /// Encryption older than PBES2.
    #[error("the key is encrypted by an old scheme (PBES1 or PKCS#12), which is not supported")]
    OldEncryption,
    /// Not a key.
    #[error(
        "no private key found: expected PEM with `PRIVATE KEY`, `RSA PRIVATE KEY` or `EC PRIVATE KEY`{}",
        found_block(.found)
    )]
    NoKey { found: Option<String> },
    /// The key is damaged.
    #[error("the `{label}` block can not be read: {reason}")]
    Malformed { label: String, reason: String },
    /// A key that the kernel does not verify.
    #[error(
        "keys of algorithm {algorithm} are not taken by the kernel for BPF; use RSA, ECDSA or ML-DSA"
    )]
    Unsupported { algorithm: String },
    /// An RSA key of another size.
    #[error("RSA keys of {bits} bits are not supported, use 2048 to 4096")]
    RsaSize { bits: usize },
    /// A signer somewhere else failed.
    #[error("{signer} did not sign: {reason}")]
    Signer { signer: String, reason: String },
    /// Signing failed inside the crypto library.
    #[error("the key could not sign")]
    Sign,
}

/// The label of a PEM block, for messages. One that is none is not repeated: where a `-` is missing,
/// the library takes the lines of a key for its label.
pub(crate) fn block_label(label: &str) -> String {
    let plain = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b' ';
    if label.len() <= 40 && label.bytes().all(plain) {
        label.to_owned()
    } else {
        "(no label)".to_owned()
    }
}

fn found_block(found: &Option<String>) -> String {
    found
        .as_ref()
        .map_or(String::new(), |label| format!(", found `{label}`"))
}

/// A fault of a certificate.
#[derive(thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are what the message names")]
pub enum CertificateError {
    /// Neither PEM nor DER.
    #[error(
        "no certificate found: expected PEM with `CERTIFICATE`, or DER{}",
        found_block(.found)
    )]
    NoCertificate { found: Option<String> },
    /// PEM that can not be read whole.
    #[error("a PEM block is damaged or has no end, so the file could not be read whole")]
    Damaged,
    /// The kernel does not take it.
    #[error("the kernel would not take the certificate ({})", .0.errno())]
    Refused(#[source] CertificateFault),
}

/// Why a loader can not be signed.
#[cfg(feature = "sign")]
#[derive(thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are what the message names")]
pub enum SealError {
    /// Key and certificate do not belong together.
    #[error(
        "the key does not belong to the certificate: `{subject}` wants the {wanted} key with public key {wanted_id}, but the key given is {given} with {given_id}"
    )]
    KeyMismatch {
        subject: String,
        wanted: String,
        wanted_id: String,
        given: String,
        given_id: String,
    },
    /// The certificate has no key identifier.
    #[error(
        "certificate `{subject}` has no subjectKeyIdentifier, which the signature names the signer by; make it with `-addext subjectKeyIdentifier=hash`"
    )]
    NoKeyIdentifier { subject: String },
    /// The key failed.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A signature from somewhere else does not hold.
    #[error(transparent)]
    WrongSignature { rejection: Box<Rejection> },
    /// A whole CMS message, where a raw signature is added to others.
    #[error("a whole CMS message can not be added to other signatures; give the raw signature")]
    WholeMessage,
    /// A signature that another one is to be added to, and that can not be read.
    #[error("the signature that is there already can not be added to")]
    Beside(#[source] Box<Rejection>),
    /// A signature that another one can not stand beside.
    #[error(
        "the signature that is there already {there}, and {this}: the kernel takes no message with both"
    )]
    Mixed {
        there: &'static str,
        this: &'static str,
    },
    /// An artifact without a signature.
    #[error("there is no signature to add to")]
    NotSigned,
    /// A certificate with a key that nothing is signed with here.
    #[error("certificate `{subject}` has a key of a kind that the kernel does not take for BPF")]
    UnknownKey { subject: String },
    /// A digest that does not go with the key.
    #[error(
        "{algorithm} takes the message itself, and goes with sha512 alone; leave --digest away"
    )]
    Digest { algorithm: KeyAlgorithm },
    /// The signature is longer than the kernel takes.
    #[error("the signature has {size} bytes, the kernel takes at most {limit}")]
    TooLong { size: usize, limit: usize },
}
