//! `bpfseal tbs` and `bpfseal attach`: signing in two steps, for keys that are somewhere else.

use std::path::{Path, PathBuf};

use bpfseal::Prepared;
use bpfseal::seal::hex;

use super::generate::read_source;
use super::seal::{Format, write_sealed};
use crate::args::{SchemeArgs, parse_scheme, read_certificate};
use crate::failure::{Failure, Outcome, Report};
use crate::files;
use crate::host::{HostArgs, Values};
use crate::recognise::{Wanted, instead};
use crate::terminal::say;

/// What both steps have to be told, and alike.
#[derive(Debug, clap::Args)]
struct Subject {
    /// BPF object
    #[arg(value_name = "OBJ")]
    object: PathBuf,

    /// Certificate of the key that signs: PEM or DER
    #[arg(short = 'i', long = "cert", value_name = "CERT")]
    cert: PathBuf,

    #[command(flatten)]
    scheme: SchemeArgs,

    /// Name of the object instead of that of its file; it becomes part of the signed bytes
    #[arg(long)]
    name: Option<String>,

    #[command(flatten)]
    host: HostArgs,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Writes for each scheme SCHEME.tbs, the bytes to sign, and SCHEME.digest, \
    their digest; and tbs.json, which says what they are. Sign either, raw (PKCS#1 v1.5, or ECDSA \
    in DER; ML-DSA over the bytes, not the digest) or as detached CMS, and put it in with `bpfseal attach`, with the same options.\n\n\
    Examples:\n  \
    bpfseal tbs prog.bpf.o -i cert.pem --dir out\n  \
    openssl dgst -sha256 -sign key.pem -out out/load-time.sig out/load-time.tbs\n  \
    bpfseal attach prog.bpf.o -i cert.pem --signature out/load-time.sig -o prog.lskel.h"
)]
pub(crate) struct TbsArgs {
    #[command(flatten)]
    subject: Subject,

    /// Folder to write into; made if it is not there
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    bpfseal attach prog.bpf.o -i cert.pem --signature load-time.sig -o prog.lskel.h\n  \
    bpfseal attach prog.bpf.o -i cert.pem --scheme load-time,in-loader \\\n    \
    --signature load-time=a.sig --signature in-loader=b.sig -o prog.bpfseal\n\n\
    Exit codes: 0 done, 2 wrong usage, 3 a signature does not hold, or an input can not be read.")]
pub(crate) struct AttachArgs {
    #[command(flatten)]
    subject: Subject,

    /// Signature, raw or CMS; with several schemes, SCHEME=FILE for each
    #[arg(long, required = true, value_name = "[SCHEME=]FILE")]
    signature: Vec<String>,

    /// Write to this file, or to standard output (`-`)
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,

    /// Write this format; the default depends on OUT: .h, .rs, .bpfseal or .seal
    #[arg(long, value_name = "FORMAT")]
    emit: Option<Format>,
}

impl Subject {
    /// What is to be signed.
    fn prepare(&self, host: &Values, format: Option<Format>) -> Result<Prepared, Failure> {
        let certificate = read_certificate(&self.cert)?;
        let sealer = self.scheme.sealer(&certificate, host)?;
        let place = files::shown(&self.object);
        let source = read_source(
            &self.object,
            self.name.as_deref(),
            format.is_some_and(Format::names_file),
        )?;
        let prepared = sealer.prepare(source);
        let prepared = prepared.map_err(|e| Report::new(&place, &e, e.advice()))?;
        let refused = super::seal::refused(&place, &prepared.made);
        let notes = super::generate::notes(&place, &prepared.made, host);
        for note in notes.into_iter().chain(refused) {
            say!("{note}");
        }
        Ok(prepared)
    }
}

pub(crate) fn tbs(args: &TbsArgs) -> Outcome {
    let prepared = args.subject.prepare(&args.subject.host.load()?, None)?;
    files::create_directory(&args.dir)?;
    for tbs in prepared.to_be_signed() {
        let name = tbs.scheme().name();
        let write = |ending: &str, bytes: Vec<u8>| {
            files::write(&args.dir.join(format!("{name}.{ending}")), &bytes)
        };
        let digest = tbs.message_digest();
        let algorithm = tbs.digest().name();
        files::print(&format!("{name}: {algorithm} {}\n", hex(&digest)))?;
        write("tbs", tbs.message())?;
        write("digest", digest)?;
    }
    let mut report = prepared.report();
    report.object = files::shown(&args.subject.object);
    files::write(
        &args.dir.join("tbs.json"),
        &files::json(&report)?.into_bytes(),
    )?;
    Ok(())
}

pub(crate) fn attach(args: &AttachArgs) -> Outcome {
    let schemes = args.subject.scheme.schemes()?;
    let mut signatures = Vec::new();
    for given in &args.signature {
        let (scheme, path) = match given.split_once('=') {
            Some((name, path)) => (parse_scheme(name)?, path),
            None => match schemes.as_slice() {
                [only] => (*only, given.as_str()),
                _ => {
                    return Err(Failure::usage(
                        format!("`{given}` does not say which scheme it is for"),
                        "give SCHEME=FILE for each scheme",
                    ));
                }
            },
        };
        let bytes = files::read(Path::new(path))?;
        if let Some(report) = instead(&files::shown(Path::new(path)), &bytes, Wanted::Signature) {
            return Err(report.into());
        }
        signatures.push((scheme, bytes));
    }
    let format = Format::of(&args.output, args.emit)?;
    if format == Format::C && schemes.len() > 1 {
        return Err(Failure::usage(
            "a C light skeleton has one signature, and several schemes were asked for",
            "write a bundle or a Rust skeleton, or name one scheme",
        ));
    }
    let host = args.subject.host.load()?;
    let place = files::shown(&args.subject.object);
    let sealed = args
        .subject
        .prepare(&host, Some(format))?
        .attach(&signatures);
    let sealed = sealed.map_err(|e| {
        let help = "sign what `bpfseal tbs` wrote with the same options";
        Report::new(&place, &e, help)
    })?;
    write_sealed(sealed, &place, &host, format, &args.output)?;
    if !files::is_stdio(&args.output) {
        say!("sealed: {}", files::shown(&args.output));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bpfseal::seal::Scheme;

    #[test]
    fn every_scheme_has_a_name_for_files() {
        for scheme in Scheme::ALL {
            assert!(!scheme.name().contains(['/', '=', '.']));
        }
    }
}
