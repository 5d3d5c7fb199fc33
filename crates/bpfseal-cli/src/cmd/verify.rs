//! `bpfseal verify`: what does a signature attest to, and is it trusted?

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use bpfseal::artifact::Artifact;
use bpfseal::seal::{
    Attestation, Certificate, Rejection, Revocation, Scheme, SealedLoader, SignatureVerdict,
    SignerId, Strictness, TrustPath, TrustStore, hex,
};
use clap::ValueEnum;
use serde_json::{Value, json};

use crate::Outcome;
use crate::args::{now, read_certificate, read_certificates};
use crate::failure::Failure;
use crate::files;
use crate::input::SealFile;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Checks in the order of the kernel: excl_prog_hash, form, signature, trust. \
    No validity dates are looked at, because the kernel looks at none; --check-dates does.\n\nExamples:\n  \
    bpfseal verify prog.lskel.h --trust cert.pem\n  \
    bpfseal verify prog.lskel.h --trust /etc/bpf/certs --json\n  \
    bpfseal verify prog.lskel.h --trust ca.pem --revoked stolen.pem\n  \
    bpfseal verify prog.bpf.o --seal prog.seal --trust cert.pem\n  \
    bpfseal verify prog.bpfseal --trust certs/ --require-chain-to root.pem --check-dates\n\n\
    Exit codes: 0 good, 1 rejected, 2 wrong usage, 3 the artifact or a certificate can not be read."
)]
pub(crate) struct Args {
    /// A bundle, a C or Rust light skeleton of ours, or one of bpftool's; with --seal an object;
    /// `-` is standard input
    #[arg(value_name = "ARTIFACT|OBJ")]
    artifact: Option<PathBuf>,

    #[command(flatten)]
    seal: SealFile,

    /// Certificate, PEM or DER, or folder of certificates, to trust; can be given several times
    #[arg(long, required = true, num_args = 1.., value_name = "CERT|DIR")]
    trust: Vec<PathBuf>,

    /// What is revoked: a certificate or a folder of them, as in the kernel's revocation list;
    /// tbs:HEX, a certificate by the SHA-256 of its signed part, or bin:HEX, content by its
    /// SHA-256, as in the kernel's blacklist; key:HEX, a key by its identifier
    #[arg(long, num_args = 1.., value_name = "CERT|DIR|KIND:HEX")]
    revoked: Vec<PathBuf>,

    /// Refuse certificates that are not valid now, trusted or embedded; no kernel does
    #[arg(long)]
    check_dates: bool,

    /// Refuse signers whose certificate is not for this use; no kernel does
    #[arg(long, value_name = "USE")]
    require_eku: Option<Usage>,

    /// Refuse signers whose trust does not come from this certificate; no kernel does. Issuers of
    /// trusted certificates are looked for among --trust
    #[arg(long, value_name = "CERT")]
    require_chain_to: Option<PathBuf>,

    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Extended key usages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Usage {
    /// Signing code
    CodeSigning,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let (artifact, trusted) = artifact_and_trust(args)?;
    let mut trust = TrustStore::new();
    for path in trusted {
        for certificate in read_certificates(path)? {
            trust.add(certificate);
        }
    }
    for given in &args.revoked {
        // A path that exists is one, whatever it looks like.
        match given.to_str().and_then(Revocation::parse) {
            Some(revocation) if !given.exists() => trust.revoke_by(revocation),
            None if !given.exists() && given.to_string_lossy().contains(':') => {
                return Err(Failure::usage(
                    format!("`{}` is neither a file nor a revocation", given.display()),
                    "give tbs:HEX or bin:HEX with 64 digits, key:HEX, or a certificate",
                ));
            }
            _ => {
                for certificate in read_certificates(given)? {
                    trust.revoke(certificate);
                }
            }
        }
    }
    let strictness = Strictness {
        at: args.check_dates.then(now),
        code_signing: args.require_eku == Some(Usage::CodeSigning),
        chain_to: args
            .require_chain_to
            .as_deref()
            .map(read_certificate)
            .transpose()?,
    };
    let place = files::shown(artifact);
    let artifact = args.seal.artifact(artifact)?;
    let verdicts = judge(&artifact, &trust, &strictness);
    let failed = verdicts.iter().any(|verdict| !verdict.is_good());
    if args.json {
        files::print(&format!("{:#}\n", to_json(&verdicts, &place)));
    } else {
        let texts: Vec<_> = verdicts.iter().map(|v| v.to_text(&place)).collect();
        files::print(&texts.concat());
    }
    if failed {
        Err(Failure::Rejected)
    } else {
        Ok(())
    }
}

/// A verdict for each signature, strongest scheme first.
fn judge<'a>(
    artifact: &'a Artifact,
    trust: &TrustStore,
    strictness: &Strictness,
) -> Vec<Verdict<'a>> {
    let verify = |sealed: &SealedLoader<'_>| {
        let attestation = sealed.verify(trust)?;
        attestation.check(strictness, trust)?;
        Ok(attestation)
    };
    let verdicts: Vec<_> = artifact
        .sealed()
        .map(|sealed| match verify(&sealed) {
            Ok(attestation) => Verdict::Good(sealed, Box::new(attestation)),
            Err(rejection) => Verdict::Rejected(sealed.seal.scheme, rejection),
        })
        .collect();
    if verdicts.is_empty() {
        vec![Verdict::Unsigned]
    } else {
        verdicts
    }
}

/// What decides comes first: a rejection, or else the strongest scheme. Several are listed.
fn to_json(verdicts: &[Verdict<'_>], place: &str) -> Value {
    let decisive = verdicts
        .iter()
        .find(|verdict| !verdict.is_good())
        .unwrap_or(&verdicts[0]);
    let mut all = decisive.to_json(place);
    if verdicts.len() > 1 {
        all["schemes"] = verdicts.iter().map(|v| v.to_json(place)).collect();
    }
    all
}

/// `--trust` takes several values, so in `verify --trust CERT ARTIFACT` it has taken the artifact
/// too: the last one.
fn artifact_and_trust(args: &Args) -> Result<(&Path, &[PathBuf]), Failure> {
    match (&args.artifact, args.trust.as_slice()) {
        (Some(artifact), trust) => Ok((artifact, trust)),
        (None, [trust @ .., artifact]) if !trust.is_empty() => Ok((artifact, trust)),
        (None, _) => Err(Failure::usage(
            "there is no artifact to verify",
            "give it first: bpfseal verify ARTIFACT --trust CERT",
        )),
    }
}

enum Verdict<'a> {
    Good(SealedLoader<'a>, Box<Attestation>),
    Rejected(Scheme, Rejection),
    Unsigned,
}

const UNSIGNED: &str = "the artifact is not signed";
const UNSIGNED_HELP: &str = "sign it: bpfseal seal OBJ -k KEY.pem -i CERT.pem";

impl Verdict<'_> {
    fn is_good(&self) -> bool {
        matches!(self, Self::Good(..))
    }

    fn to_text(&self, place: &str) -> String {
        let mut out = String::new();
        match self {
            Self::Good(sealed, attestation) => {
                let _ = writeln!(out, "good: {place}");
                let mut row = |name: &str, value: &str| {
                    let _ = writeln!(out, "  {name:<11} {value}");
                };
                row(
                    "scheme",
                    &format!(
                        "{} ({})",
                        sealed.seal.scheme.name(),
                        sealed.seal.scheme.kernels()
                    ),
                );
                row("attests", sealed.seal.scheme.attests());
                if let Some(weakness) = sealed.seal.scheme.weakness() {
                    row("weakness", weakness);
                }
                let (insns, metadata) = (sealed.instructions.len(), sealed.metadata.len());
                let covers = match sealed.seal.scheme {
                    Scheme::LoadTime => format!(
                        "{} bytes: {insns} of instructions, {metadata} of metadata",
                        attestation.covered
                    ),
                    scheme if scheme.checks_in_loader() => format!(
                        "{insns} bytes of instructions, with the digest of {metadata} of metadata in them"
                    ),
                    _ => format!(
                        "{insns} bytes of instructions, and {metadata} of metadata by their digest"
                    ),
                };
                row("covers", &covers);
                row(
                    "loader",
                    &format!("sha256 {}", hex(&sealed.seal.excl_prog_hash)),
                );
                row("signer", &attestation.signer.to_string());
                row("algorithm", &attestation.algorithm.to_string());
                row("trusted", &certificate_line(&attestation.trusted));
                let chain = chain(attestation);
                if !chain.is_empty() {
                    row("chain", &chain.join(" < "));
                }
                // One of them is what was said so far.
                if attestation.signatures.len() > 1 {
                    for signature in &attestation.signatures {
                        row("signature", &signature_line(signature));
                    }
                }
            }
            Self::Rejected(scheme, rejection) => {
                let _ = writeln!(
                    out,
                    "rejected: {place}: {rejection}\n  scheme      {}\n  check       {}\n  kernel      {}\n  help        {}",
                    scheme.name(),
                    rejection.check(),
                    rejection
                        .errno_name()
                        .unwrap_or("takes it: no kernel asks for this"),
                    rejection.advice()
                );
            }
            Self::Unsigned => {
                let _ = writeln!(
                    out,
                    "rejected: {place}: {UNSIGNED}\n  help        {UNSIGNED_HELP}"
                );
            }
        }
        out
    }

    fn to_json(&self, place: &str) -> Value {
        match self {
            Self::Good(sealed, attestation) => json!({
                "artifact": place,
                "verdict": "good",
                "scheme": sealed.seal.scheme.name(),
                "attests": sealed.seal.scheme.attests(),
                "weakness": sealed.seal.scheme.weakness(),
                "covered_bytes": attestation.covered,
                "instruction_bytes": sealed.instructions.len(),
                "metadata_bytes": sealed.metadata.len(),
                "excl_prog_hash": hex(&sealed.seal.excl_prog_hash),
                "algorithm": attestation.algorithm.to_string(),
                "signer": signer_json(&attestation.signer),
                "trusted": certificate_json(&attestation.trusted),
                "chain": chain(attestation),
                "signatures": attestation.signatures.iter().map(signature_json).collect::<Vec<_>>(),
            }),
            Self::Rejected(scheme, rejection) => json!({
                "artifact": place,
                "verdict": "rejected",
                "scheme": scheme.name(),
                "reason": rejection.to_string(),
                "check": rejection.check(),
                "errno": rejection.errno_name(),
                "help": rejection.advice(),
            }),
            Self::Unsigned => json!({
                "artifact": place,
                "verdict": "rejected",
                "reason": UNSIGNED,
                "check": "unsigned",
                "errno": null,
                "help": UNSIGNED_HELP,
            }),
        }
    }
}

/// Subjects of the embedded certificates, from the signer upwards.
fn chain(attestation: &Attestation) -> Vec<String> {
    match &attestation.path {
        TrustPath::Chain(chain) => chain.iter().map(Certificate::subject).collect(),
        _ => Vec::new(),
    }
}

fn signature_line(signature: &SignatureVerdict) -> String {
    let verdict = match &signature.verdict {
        Ok((trusted, _)) => format!("trusted, by {}", trusted.subject()),
        Err(rejection) => format!("does not count: {rejection}"),
    };
    format!("{}, {}: {verdict}", signature.signer, signature.algorithm)
}

fn signature_json(signature: &SignatureVerdict) -> Value {
    json!({
        "signer": signer_json(&signature.signer),
        "algorithm": signature.algorithm.to_string(),
        "trusted": signature.verdict.as_ref().ok().map(|(by, _)| certificate_json(by)),
        "reason": signature.verdict.as_ref().err().map(ToString::to_string),
    })
}

pub(super) fn signer_json(signer: &SignerId) -> Value {
    match signer {
        SignerId::SubjectKeyId(id) => json!({ "subject_key_id": id }),
        SignerId::IssuerAndSerial { issuer, serial } => {
            json!({ "issuer_der": issuer, "serial": serial })
        }
    }
}

fn certificate_line(certificate: &Certificate) -> String {
    let key_id = certificate
        .subject_key_id()
        .map_or(String::new(), |id| format!(", key id {}", hex(id)));
    format!("{}{key_id}", certificate.subject())
}

fn certificate_json(certificate: &Certificate) -> Value {
    json!({
        "subject": certificate.subject(),
        "issuer": certificate.issuer(),
        "serial": certificate.serial(),
        "subject_key_id": certificate.subject_key_id().map(hex),
        "sha256": certificate.fingerprint(),
    })
}
