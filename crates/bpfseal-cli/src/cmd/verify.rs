//! `bpfseal verify`: what does a signature attest to, and is it trusted?

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use bpfseal::report::{FormVerdict, GoodForm, RejectedForm, SignatureReport, VerifyReport};
use bpfseal::seal::{Scheme, Strictness};
use clap::ValueEnum;

use crate::args::{clock, parse_kernel_scheme};
use crate::failure::{Failure, Outcome};
use crate::files;
use crate::input::SealFile;
use crate::terminal::one_line;
use crate::trust::{KernelArgs, read_certificate};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Checks in the order of the kernel: excl_prog_hash, form, signature, trust. \
    No validity dates are looked at, because the kernel looks at none; --check-dates does. \
    Whatever the kernel would not take into a keyring is not trusted, and a note says why.\n\nExamples:\n  \
    bpfseal verify prog.lskel.h --trust cert.pem\n  \
    bpfseal verify prog.lskel.h --trust /etc/bpf/certs --json\n  \
    bpfseal verify prog.lskel.h --trust ca.pem --revoked stolen.pem\n  \
    bpfseal verify prog.bpfseal --trust cert.pem --min-scheme load-time\n  \
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

    /// Trust this certificate, or every one in this directory
    ///
    /// PEM or DER; a directory may have nothing but certificates in it. Repeatable.
    #[arg(long, required = true, num_args = 1.., value_name = "CERT|DIR")]
    trust: Vec<PathBuf>,

    /// Refuse what this certificate, key or digest vouches for
    ///
    /// A certificate, or every one in a directory, as in the kernel's revocation list. tbs:HEX: a
    /// certificate by the SHA-256 of its signed part; bin:HEX: content by its SHA-256, as in the
    /// kernel's blacklist; key:HEX: a key by its identifier. What begins with one of these is never
    /// a file: write ./ before a file of that name. Repeatable.
    #[arg(long, num_args = 1.., value_name = "CERT|DIR|KIND:HEX")]
    revoked: Vec<OsString>,

    #[command(flatten)]
    kernel: KernelArgs,

    /// Refuse certificates that are not valid now
    ///
    /// Trusted or embedded, by the clock of this machine. No kernel looks at dates.
    #[arg(long)]
    check_dates: bool,

    /// Refuse certificates that are not valid at this time
    ///
    /// Seconds since 1970, or UTC such as 2026-11-25 or 2026-11-25T12:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = time, conflicts_with = "check_dates")]
    check_dates_at: Option<u64>,

    /// Refuse signers whose certificate is not for this use; no kernel does
    #[arg(long, value_name = "USE")]
    require_eku: Option<Usage>,

    /// Refuse signers whose trust does not come from this certificate; no kernel does. Issuers of
    /// trusted certificates are looked for among --trust
    #[arg(long, value_name = "CERT")]
    require_chain_to: Option<PathBuf>,

    /// Require this scheme, or a stronger one
    ///
    /// One of load-time, in-loader-exclusive and in-loader. A bundle that lost its stronger form
    /// has good signatures; this refuses it.
    #[arg(long, value_name = "SCHEME")]
    min_scheme: Option<String>,

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
    let mut anchors = args.kernel.anchors()?;
    for path in trusted {
        anchors.trust(path)?;
    }
    for given in &args.revoked {
        anchors.revoke(given)?;
    }
    let strictness = Strictness {
        at: args.check_dates_at.or(args.check_dates.then(clock)),
        code_signing: args.require_eku == Some(Usage::CodeSigning),
        chain_to: args
            .require_chain_to
            .as_deref()
            .map(read_certificate)
            .transpose()?,
    };
    let min_scheme = args
        .min_scheme
        .as_deref()
        .map(parse_kernel_scheme)
        .transpose()?;
    let place = files::shown(artifact);
    let bytes = files::read(artifact)?;
    let (artifact, other_line) = args.seal.artifact_and_text(&place, &bytes)?;
    let mut report = bpfseal::verify(&artifact, &anchors.store, &strictness);
    report.artifact = place;
    anchors.untrusted(&mut report.untrusted, args.json);
    if let Some(min) = min_scheme {
        report.require(min);
    }
    if let Some(line) = other_line {
        report.refuse_text(line);
    }
    if args.json {
        files::print_json(&report)?;
    } else {
        files::print(&to_text(&report))?;
    }
    if report.is_good() {
        Ok(())
    } else {
        Err(Failure::Rejected)
    }
}

fn time(text: &str) -> Result<u64, String> {
    Strictness::parse_time(text)
        .ok_or_else(|| "write seconds since 1970, or a date such as 2026-11-25".to_owned())
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

/// The verdict in one line, then what each form comes to.
fn to_text(report: &VerifyReport) -> String {
    let verdict = if report.is_good() { "good" } else { "rejected" };
    let summary = one_line(&report.summary);
    let mut out = format!("{verdict}: {}: {summary}\n", report.artifact);
    let _ = writeln!(out, "  machines    {}-endian", report.byte_order.name());
    let several = report.forms().len() > 1;
    for form in report.forms() {
        if several {
            let name = form.scheme().map_or("unsigned", Scheme::name);
            let state = match form {
                FormVerdict::Good(_) => "good".to_owned(),
                FormVerdict::Rejected(form) => format!("rejected: {}", one_line(&form.reason)),
            };
            let _ = writeln!(out, "{name}: {state}");
        }
        out.push_str(&match form {
            FormVerdict::Good(form) => good_text(form),
            FormVerdict::Rejected(form) => rejected_text(form),
        });
    }
    // Asked for by this verb, and no form's own fault.
    if let FormVerdict::Rejected(form) = &report.decisive
        && !report.forms().iter().any(|one| !one.is_good())
    {
        let _ = writeln!(out, "  help        {}", form.help);
    }
    out
}

fn good_text(form: &GoodForm) -> String {
    let mut out = String::new();
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(out, "  {name:<11} {}", one_line(value));
    };
    row(
        "scheme",
        &format!("{} ({})", form.scheme.name(), form.kernels),
    );
    row("attests", form.attests);
    if let Some(weakness) = &form.weakness {
        row("weakness", weakness);
    }
    let (insns, metadata) = (form.instruction_bytes, form.metadata_bytes);
    let covers = match form.scheme {
        Scheme::LoadTime => format!(
            "{} bytes: {insns} of instructions, {metadata} of metadata",
            form.covered_bytes
        ),
        scheme if scheme.checks_in_loader() => format!(
            "{insns} bytes of instructions, with the digest of {metadata} of metadata in them"
        ),
        _ => format!("{insns} bytes of instructions, and {metadata} of metadata by their digest"),
    };
    row("covers", &covers);
    row("loader", &format!("sha256 {}", form.excl_prog_hash));
    row("signer", &form.signer.to_string());
    row("algorithm", &form.algorithm);
    row("trusted", &form.trusted.to_string());
    if !form.chain.is_empty() {
        row("chain", &form.chain.join(" < "));
    }
    // One of them is what was said so far.
    if form.signatures.len() > 1 {
        for signature in &form.signatures {
            row("signature", &signature_line(signature));
        }
    }
    out
}

fn rejected_text(form: &RejectedForm) -> String {
    let mut out = String::new();
    if let Some(scheme) = form.scheme {
        let _ = writeln!(
            out,
            "  scheme      {}\n  check       {}\n  kernel      {}",
            scheme.name(),
            form.check,
            form.errno.unwrap_or("takes it: no kernel asks for this"),
        );
    }
    let _ = writeln!(out, "  help        {}", one_line(form.help));
    out
}

fn signature_line(signature: &SignatureReport) -> String {
    let verdict = match (&signature.trusted, &signature.reason) {
        (Some(trusted), _) => format!("trusted, by {}", trusted.subject),
        (None, reason) => format!("does not count: {}", reason.as_deref().unwrap_or("?")),
    };
    format!("{}, {}: {verdict}", signature.signer, signature.algorithm)
}
