//! Why a signature is refused: what the kernel would answer, and what is stricter than it.

use bpfseal_uapi::Errno;
use bpfseal_uapi::limits::{MAX_SIGNATURE, MAX_SIGNED_PAYLOAD};

use crate::fault::SignatureFault;
use crate::hex::hex;
use crate::mismatch::Mismatch;
use crate::x509::CertificateFault;

bpfseal_object::debug_as_chain!(Rejection);

/// Why a signature is refused. The kernel's answer is [`Rejection::errno`].
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are what the message names")]
pub enum Rejection {
    /// The digest that the metadata map is bound to is not that of the instructions.
    #[error("excl_prog_hash is {found}, but the instructions have SHA-256 {computed}")]
    ExclProgHash { found: String, computed: String },
    /// The metadata is not what the loader checks it to be when it runs.
    #[error(
        "the loader checks its metadata for SHA-256 {found}, but the metadata has {computed}: it would refuse to run"
    )]
    LoaderCheck { found: String, computed: String },
    /// The scheme's label is not that of the loader.
    #[error("{0}")]
    Label(Mismatch),
    /// The loader uses its metadata map, and there is no metadata.
    #[error("{0}")]
    NoMetadata(Mismatch),
    /// The signature lists the metadata, but its loader does not check it: a kernel that knows
    /// nothing of the list takes the signature for any metadata.
    #[error(
        "the loader does not check its metadata: kernels of the in-loader schemes, which know nothing of the list in the signature, would take it for any metadata"
    )]
    BlankCheque,
    /// A map is not what the signed attribute says.
    #[error("map {index} has SHA-256 {computed}, but the signed attribute lists {found}")]
    MapDigest {
        index: usize,
        found: String,
        computed: String,
    },
    /// The attribute with the digests of maps is missing.
    #[error("the signature lists no maps: it covers the instructions alone (partial)")]
    Partial,
    /// No signature, or one that is too long.
    #[error("the signature has {size} bytes, the kernel takes 1 to {limit}")]
    Size { size: usize, limit: usize },
    /// The loader has no instructions, or more than the kernel takes.
    #[error("the loader has {count} instructions, the kernel takes 1 to {limit}")]
    Instructions { count: usize, limit: usize },
    /// The loader is for machines of the other byte order.
    #[error(
        "the loader is for {loader}-endian machines, and the kernel of a {kernel}-endian machine refuses it"
    )]
    ByteOrder {
        loader: &'static str,
        kernel: &'static str,
    },
    /// There is more to be signed than the kernel takes.
    #[error("instructions and metadata have {size} bytes, the kernel takes at most {limit}")]
    PayloadSize { size: usize, limit: usize },
    /// The message does not follow the grammar.
    #[error("the signature is malformed: {what} (byte {offset})")]
    Malformed { offset: usize, what: &'static str },
    /// The message follows the grammar, but the kernel does not take it.
    #[error("the signature is not of a form that the kernel takes: {what} (byte {offset})")]
    Invalid { offset: usize, what: &'static str },
    /// An attribute stands twice.
    #[error("a signed attribute is repeated (byte {offset})")]
    RepeatedAttribute { offset: usize },
    /// An attribute of Authenticode.
    #[error("a signed attribute is for Authenticode only (byte {offset})")]
    ForeignAttribute { offset: usize },
    /// An algorithm that the kernel, or this tool, does not know.
    #[error("{what} algorithm {algorithm} is not supported")]
    UnsupportedAlgorithm {
        what: &'static str,
        algorithm: String,
    },
    /// The signed digest is not that of the content.
    #[error("the signed message digest is {found}, but the content has {computed}")]
    MessageDigest { found: String, computed: String },
    /// The signing time lies outside of the validity of the signer's certificate.
    #[error("the signing time lies outside of the validity of `{certificate}`")]
    SigningTime { certificate: String },
    /// Content of Authenticode.
    #[error("the content type is that of Authenticode")]
    ForeignContent,
    /// A certificate in the message that the kernel does not take.
    #[error("the kernel takes no message with the certificate at byte {offset} of it")]
    Embedded {
        offset: usize,
        #[source]
        fault: CertificateFault,
    },
    /// A signature names a signer without a name.
    #[error("the name of the signer is empty")]
    UnnamedSigner,
    /// A signature does not hold.
    #[error("the signature of {what} does not hold with the key of `{certificate}`")]
    WrongSignature {
        what: String,
        certificate: String,
        #[source]
        fault: SignatureFault,
    },
    /// A chain of embedded certificates contradicts itself.
    #[error("embedded certificate `{certificate}` names another issuer key than its issuer has")]
    ChainMismatch { certificate: String },
    /// A certificate or its key is revoked.
    #[error("certificate `{certificate}` is revoked")]
    Revoked { certificate: String },
    /// The only signer who is trusted is revoked, but another signature holds: the kernel passes
    /// over revoked signers while it checks signatures, not while it looks for trust.
    #[error(
        "certificate `{certificate}` is revoked; the kernel takes the message nevertheless, because of a second signature by somebody who is not trusted"
    )]
    RevokedButTaken { certificate: String },
    /// Trust goes through a certificate whose digest the kernel cannot compute, which it then takes
    /// for zero: a signature over that can be made without any key.
    #[error(
        "certificate `{certificate}` is signed with a digest that this kernel does not have; the kernel takes it nevertheless, and anybody can make such a signature"
    )]
    UndigestedButTaken { certificate: String },
    /// What was signed is revoked.
    #[error("the signed content is revoked (bin:{digest})")]
    RevokedContent { digest: String },
    /// Nobody who is trusted signed.
    #[error("no trusted certificate for the signer ({signer})")]
    NoKey { signer: String },
    /// Nobody who is trusted signed, as the kernel sees it: the signer's certificate is there, but
    /// it is not looked for by what the signature names it by.
    #[error(
        "no trusted certificate for the signer ({signer}): `{certificate}` is embedded, but embedded certificates are looked for by issuer and serial number, and the signature names its signer by key id"
    )]
    EmbeddedByKeyId { signer: String, certificate: String },
    /// A trusted key of a kind that can not be checked with.
    #[error("the trusted key of `{certificate}` can not check {algorithm}")]
    UnsupportedKey {
        certificate: String,
        algorithm: String,
    },
    /// A certificate that is not valid at the time of asking. No kernel looks.
    #[error("certificate `{certificate}` is not valid now")]
    NotValid { certificate: String },
    /// A signer's certificate that is not for signing code. No kernel looks.
    #[error(
        "certificate `{certificate}` is not for signing code: it has no extended key usage codeSigning"
    )]
    NotForCode { certificate: String },
    /// Trust that does not come from where it has to. No kernel asks.
    #[error("`{trusted}`, which vouches for the signer, is not below `{wanted}`")]
    NotBelow { trusted: String, wanted: String },
}

impl Rejection {
    /// The errno that the kernel answers, by name; `None` where the kernel takes what is refused
    /// here.
    #[must_use]
    pub fn errno_name(&self) -> Option<&'static str> {
        self.errno().and_then(Errno::name)
    }

    /// The errno that the kernel answers; `None` where the kernel takes what is refused here.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        Some(match self {
            // With its registers swapped, the first instruction reads one that was never written.
            Self::ExclProgHash { .. } | Self::ByteOrder { .. } => Errno::EACCES,
            // The loader answers it, not the kernel.
            Self::LoaderCheck { .. } => Errno::EINVAL,
            // At the metadata map, before there is a program.
            Self::NoMetadata(_) => Errno::EINVAL,
            // As a security module would.
            Self::MapDigest { .. } | Self::Partial => Errno::EPERM,
            Self::Size { .. } | Self::Invalid { .. } | Self::UnnamedSigner => Errno::EINVAL,
            Self::PayloadSize { .. } | Self::Instructions { .. } => Errno::E2BIG,

            Self::Malformed { .. } => Errno::EBADMSG,
            Self::UnsupportedAlgorithm { .. } => Errno::ENOPKG,
            Self::Embedded { fault, .. } => fault.errno,
            Self::WrongSignature { fault, .. } => fault.errno,
            Self::RepeatedAttribute { .. }
            | Self::ForeignAttribute { .. }
            | Self::ForeignContent
            | Self::MessageDigest { .. }
            | Self::SigningTime { .. }
            | Self::ChainMismatch { .. }
            | Self::UnsupportedKey { .. }
            | Self::Revoked { .. } => Errno::EKEYREJECTED,
            Self::NoKey { .. } | Self::EmbeddedByKeyId { .. } => Errno::ENOKEY,
            Self::Label(_)
            | Self::BlankCheque
            | Self::RevokedButTaken { .. }
            | Self::UndigestedButTaken { .. }
            | Self::RevokedContent { .. }
            | Self::NotValid { .. }
            | Self::NotForCode { .. }
            | Self::NotBelow { .. } => return None,
        })
    }

    /// What it says, and why, in one line.
    #[must_use]
    pub fn reason(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    }

    /// The check that failed, in a word for scripts.
    #[must_use]
    pub fn check(&self) -> &'static str {
        match self {
            Self::ExclProgHash { .. } => "excl_prog_hash",
            Self::LoaderCheck { .. }
            | Self::MapDigest { .. }
            | Self::NoMetadata(_)
            | Self::Partial => "metadata",
            Self::Label(_) | Self::BlankCheque => "scheme",
            Self::NoKey { .. }
            | Self::EmbeddedByKeyId { .. }
            | Self::Revoked { .. }
            | Self::RevokedButTaken { .. }
            | Self::UndigestedButTaken { .. }
            | Self::RevokedContent { .. }
            | Self::NotBelow { .. } => "trust",
            Self::ByteOrder { .. } => "byte-order",
            Self::NotValid { .. } => "dates",
            Self::NotForCode { .. } => "usage",
            Self::MessageDigest { .. } | Self::WrongSignature { .. } => "signature",
            _ => "form",
        }
    }

    /// What can be done about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Self::ExclProgHash { .. }
            | Self::Label(_)
            | Self::LoaderCheck { .. }
            | Self::MapDigest { .. }
            | Self::MessageDigest { .. }
            | Self::NoMetadata(_)
            | Self::WrongSignature { .. } => {
                "do not load it; get the artifact from its maker again"
            }
            Self::NoKey { .. } => {
                "give the signer's certificate, or that of its issuer, with `--trust`"
            }
            Self::EmbeddedByKeyId { .. } => {
                "seal with `--embed-chain`, which names the signer as the kernel looks for it"
            }
            Self::Revoked { .. } | Self::RevokedButTaken { .. } => {
                "get an artifact that is signed with another key"
            }
            Self::RevokedContent { .. } => "get a newer version from its maker",
            Self::UnsupportedAlgorithm { .. }
            | Self::UnsupportedKey { .. }
            | Self::UndigestedButTaken { .. } => "sign with RSA or ECDSA and SHA-256",
            Self::PayloadSize { .. } | Self::Instructions { .. } => {
                "make the object smaller, or split it"
            }
            Self::ByteOrder { .. } => {
                "verify it for the machines that it is for: `--kernel-options debian,+big-endian`, or without `+big-endian`"
            }
            Self::Embedded { .. } => {
                "sign without that certificate, or with one that the kernel takes"
            }
            Self::NotValid { .. } => "get an artifact that is signed with a newer certificate",
            Self::NotForCode { .. } => {
                "get an artifact that is signed with a certificate for code signing"
            }
            Self::NotBelow { .. } => "get an artifact whose signer was certified there",
            _ => "sign the loader again",
        }
    }
}

impl From<Mismatch> for Rejection {
    fn from(mismatch: Mismatch) -> Self {
        match mismatch {
            Mismatch::ExclProgHash { found, computed } => Self::ExclProgHash {
                found: hex(&found),
                computed: hex(&computed),
            },
            Mismatch::Metadata { found, computed } => Self::LoaderCheck {
                found: hex(&found),
                computed: hex(&computed),
            },
            Mismatch::Label { .. } => Self::Label(mismatch),
            Mismatch::NoMetadata => Self::NoMetadata(mismatch),
            Mismatch::SignatureSize { size } => Self::Size {
                size,
                limit: MAX_SIGNATURE,
            },
            Mismatch::PayloadSize { size } => Self::PayloadSize {
                size,
                limit: MAX_SIGNED_PAYLOAD,
            },
        }
    }
}
