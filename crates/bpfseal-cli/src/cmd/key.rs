//! `bpfseal key`: keys and certificates that are fit for signing BPF.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bpfseal::seal::{Certificate, SigningKey, hex};
use clap::ValueEnum;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use time::OffsetDateTime;

use crate::args::read_certificates;
use crate::failure::{Failure, Outcome, Report};
use crate::files;
use crate::terminal::{one_line, say};

#[derive(Debug, clap::Args)]
#[command(after_help = "Keys are ECDSA; for RSA:\n  \
    openssl req -new -x509 -newkey rsa:3072 -noenc -keyout key.pem -out cert.pem -subj /CN=me\n\n\
    Examples:\n  \
    bpfseal key new --cn me --key key.pem --cert cert.pem\n  \
    bpfseal key new --cn 'BPF CA' --ca --key ca.key --cert ca.pem\n  \
    bpfseal key delegate --ca ca.pem --ca-key ca.key --ttl 12h --cn node7 --key k.pem --cert c.pem\n  \
    bpfseal seal prog.bpf.o -k k.pem -i c.pem --embed-chain     only ca.pem has to be trusted\n  \
    bpfseal key show cert.pem")]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Make a key, and a certificate that is signed with it
    New {
        #[command(flatten)]
        made: Made,

        /// Make a certificate that issues others
        #[arg(long)]
        ca: bool,

        /// How long it is valid; no kernel looks at it
        #[arg(long, value_name = "TIME", default_value = "3650d", value_parser = duration)]
        ttl: Duration,
    },
    /// Make a key, and a certificate that another key issues, for a short time
    Delegate {
        #[command(flatten)]
        made: Made,

        /// Certificate of the issuer: PEM or DER
        #[arg(long, value_name = "CERT")]
        ca: PathBuf,

        /// Private key of the issuer: PEM, PKCS#8, not encrypted
        #[arg(long, value_name = "KEY.pem")]
        ca_key: PathBuf,

        /// How long it is valid: such as 30m, 12h, 7d. No kernel looks at it; who verifies with
        /// --check-dates does
        #[arg(long, value_name = "TIME", value_parser = duration)]
        ttl: Duration,
    },
    /// Show what is in certificates
    Show {
        /// Certificates, PEM or DER, or folders of certificates
        #[arg(required = true, value_name = "CERT|DIR")]
        certificates: Vec<PathBuf>,
    },
}

/// What is made.
#[derive(Debug, clap::Args)]
struct Made {
    /// Common name of who holds the key
    #[arg(long, value_name = "NAME")]
    cn: String,

    /// Where to write the private key; it must not be there
    #[arg(long, value_name = "KEY.pem")]
    key: PathBuf,

    /// Where to write the certificate; it must not be there
    #[arg(long, value_name = "CERT.pem")]
    cert: PathBuf,

    /// Its algorithm
    #[arg(long, value_enum, default_value_t = Algorithm::P256)]
    algorithm: Algorithm,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Algorithm {
    /// ECDSA P-256
    P256,
    /// ECDSA P-384
    P384,
}

pub(crate) fn run(args: &Args) -> Outcome {
    match &args.what {
        What::New { made, ca, ttl } => {
            let key = made.key_pair()?;
            let mut params = made.params(*ttl)?;
            if *ca {
                params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
                params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
                params.extended_key_usages.clear();
            }
            let certificate = params.self_signed(&key).map_err(|e| made.fault(&e))?;
            made.write(&key, &certificate.pem())
        }
        What::Delegate {
            made,
            ca,
            ca_key,
            ttl,
        } => {
            let issuer = issuer(ca, ca_key)?;
            let key = made.key_pair()?;
            let mut params = made.params(*ttl)?;
            params.use_authority_key_identifier_extension = true;
            let certificate = params
                .signed_by(&key, &issuer)
                .map_err(|e| made.fault(&e))?;
            made.write(&key, &certificate.pem())
        }
        What::Show { certificates } => {
            for path in certificates {
                for certificate in read_certificates(path)? {
                    files::print(&show(path, &certificate))?;
                }
            }
            Ok(())
        }
    }
}

/// Who issues a delegated certificate.
fn issuer(ca: &Path, ca_key: &Path) -> Result<Issuer<'static, KeyPair>, Failure> {
    let certificate = crate::args::read_certificate(ca)?;
    let pem = files::read_secret(ca_key)?;
    let help = "give the issuer's private key in PEM, PKCS#8, not encrypted";
    let fault = |e: &dyn std::error::Error| Report::new(&files::shown(ca_key), e, help);
    let text = std::str::from_utf8(pem.expose()).map_err(|e| fault(&e))?;
    // In our own words: the library's may repeat lines of the key.
    SigningKey::from_pem(pem.expose()).map_err(|e| fault(&e))?;
    let key = KeyPair::from_pem(text)
        .map_err(|_| fault(&std::io::Error::other("it is not a key in PKCS#8")))?;
    if rcgen::PublicKeyData::der_bytes(&key) != certificate.public_key() {
        let error = std::io::Error::other("it is not the key of the issuer's certificate");
        return Err(Report::new(
            &files::shown(ca_key),
            &error,
            "give the two that belong together",
        )
        .into());
    }
    let der = certificate.der().to_vec().into();
    Issuer::from_ca_cert_der(&der, key)
        .map_err(|e| Report::new(&files::shown(ca), &e, "give the issuer's certificate").into())
}

impl Made {
    fn fault(&self, error: &rcgen::Error) -> Failure {
        Report::new(&files::shown(&self.cert), error, "").into()
    }

    fn key_pair(&self) -> Result<KeyPair, Failure> {
        let algorithm = match self.algorithm {
            Algorithm::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            Algorithm::P384 => &rcgen::PKCS_ECDSA_P384_SHA384,
        };
        KeyPair::generate_for(algorithm).map_err(|e| self.fault(&e))
    }

    /// A certificate that signs and issues nothing.
    fn params(&self, ttl: Duration) -> Result<CertificateParams, Failure> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, self.cn.as_str());
        // With this there is a subjectKeyIdentifier, which signatures name the signer by.
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
        let now = OffsetDateTime::now_utc();
        params.not_before = now - Duration::from_secs(300);
        params.not_after = now
            .checked_add(ttl.try_into().unwrap_or_default())
            .ok_or_else(|| Failure::usage("the time is too long", "give less, such as 3650d"))?;
        Ok(params)
    }

    /// Writes both; the key for its owner only.
    fn write(&self, key: &KeyPair, certificate: &str) -> Outcome {
        let pem = zeroize::Zeroizing::new(key.serialize_pem());
        files::create(&self.key, 0o600, &Private(&pem))?;
        if let Err(report) = files::create(&self.cert, 0o644, &certificate.to_owned()) {
            let _ = std::fs::remove_file(&self.key);
            return Err(report.into());
        }
        say!(
            "made: {} and {}",
            files::shown(&self.key),
            files::shown(&self.cert)
        );
        Ok(())
    }
}

/// A private key on its way to a file: no copy is made.
struct Private<'a>(&'a str);

impl files::Contents for Private<'_> {
    fn write_to(&self, out: &mut dyn std::io::Write) -> std::io::Result<()> {
        out.write_all(self.0.as_bytes())
    }

    fn text(&self) -> Option<String> {
        None
    }
}

fn show(path: &Path, certificate: &Certificate) -> String {
    let key = certificate.key_algorithm().map_or_else(
        || "a kind that the kernel does not take for BPF".to_owned(),
        |algorithm| algorithm.to_string(),
    );
    let key_id = certificate.subject_key_id().map_or_else(
        || "none: signatures can name it only when it is embedded".to_owned(),
        hex,
    );
    let (from, to) = certificate.validity();
    let time = |seconds: u64| {
        i64::try_from(seconds)
            .ok()
            .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
            .map_or_else(|| "?".to_owned(), |time| time.to_string())
    };
    format!(
        "{}: {}\n  issuer      {}\n  serial      {}\n  key         {key}\n  key id      {key_id}\n  \
         valid       {} to {} (no kernel looks at it)\n  sha256      {}\n",
        files::shown(path),
        one_line(&certificate.subject()),
        one_line(&certificate.issuer()),
        certificate.serial(),
        time(from),
        time(to),
        certificate.fingerprint()
    )
}

/// `30s`, `30m`, `12h`, `7d`.
fn duration(text: &str) -> Result<Duration, String> {
    let units = [("s", 1), ("m", 60), ("h", 3600), ("d", 86400)];
    units
        .into_iter()
        .find_map(|(unit, seconds)| {
            let count: u32 = text.strip_suffix(unit)?.parse().ok()?;
            Some(Duration::from_secs(u64::from(count) * seconds))
        })
        .ok_or_else(|| "give a number with s, m, h or d behind it, such as 12h".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!(duration("12h").unwrap(), Duration::from_secs(12 * 3600));
        assert!(duration("12").is_err() && duration("h").is_err());
    }
}
