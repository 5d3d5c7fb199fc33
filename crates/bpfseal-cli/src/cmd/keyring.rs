//! `bpfseal keyring`: the keys that the running kernel looks for signers among.

use std::path::PathBuf;

use bpfseal::kernel::{self, KeySerial, KeyringId, Linux, Restriction, SyscallError};
use bpfseal::report::KeyReport;

use crate::args::{parse_keyring, read_certificates};
use crate::failure::{Failure, Outcome, Refused};
use crate::files;
use crate::terminal::one_line;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Keyrings are session, user, process, or a serial number; the kernel's own \
    (builtin, secondary, platform) can not be changed from here, and are shown where the kernel \
    lets them be read. What is added to session stays as long as the login session; a service that \
    has none uses user.\n\nExamples:\n  \
    bpfseal keyring list                            what the session keyring holds\n  \
    bpfseal keyring add cert.pem --to user\n  \
    bpfseal keyring new trusted --in session        prints its serial number\n  \
    bpfseal keyring restrict 123456 --to nothing    nothing can be added any more\n  \
    bpfseal keyring find 3f9a1c --in session\n  \
    bpfseal keyring revoke 123457\n\n\
    Exit codes: 0 done, 1 the kernel refused, 2 wrong usage, 3 a certificate can not be read."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Show what a keyring holds
    List {
        /// The keyring
        #[arg(default_value = "session", allow_hyphen_values = true)]
        keyring: String,

        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Add certificates, so that what they signed is taken
    Add {
        /// Certificates, PEM or DER, or folders of certificates
        #[arg(required = true, value_name = "CERT|DIR")]
        certificates: Vec<PathBuf>,

        /// The keyring
        #[arg(
            long = "to",
            value_name = "KEYRING",
            default_value = "session",
            allow_hyphen_values = true
        )]
        keyring: String,
    },
    /// Make a keyring in another one
    New {
        /// What to call it
        name: String,

        /// The other one
        #[arg(
            long = "in",
            value_name = "KEYRING",
            default_value = "session",
            allow_hyphen_values = true
        )]
        keyring: String,
    },
    /// Put a key, or a keyring, into another keyring too
    Link {
        /// Serial number of the key
        key: i32,

        /// The keyring
        #[arg(long = "to", value_name = "KEYRING", allow_hyphen_values = true)]
        keyring: String,
    },
    /// Take a key out of a keyring
    Unlink {
        /// Serial number of the key
        key: i32,

        /// The keyring
        #[arg(long = "from", value_name = "KEYRING", allow_hyphen_values = true)]
        keyring: String,
    },
    /// Make a key useless, for everybody and for good
    Revoke {
        /// Serial number of the key
        key: i32,
    },
    /// Let a keyring take only certain certificates from now on; this can not be taken back
    Restrict {
        /// The keyring
        #[arg(allow_hyphen_values = true)]
        keyring: String,

        /// `nothing`; `builtin` or `builtin-and-secondary`: what these vouch for; or the serial
        /// number of a keyring or key that has to vouch, with `:chain` behind it if keys of the
        /// restricted keyring may vouch too
        #[arg(long = "to", value_name = "RULE")]
        rule: String,
    },
    /// Look for a certificate by its key id, or the end of it
    Find {
        /// Hexadecimal digits
        key_id: String,

        /// Where to look: this keyring and those in it
        #[arg(
            long = "in",
            value_name = "KEYRING",
            default_value = "session",
            allow_hyphen_values = true
        )]
        keyring: String,
    },
}

pub(crate) fn run(args: &Args) -> Outcome {
    match &args.what {
        What::List { keyring, json } => list(parse_keyring(keyring)?, *json),
        What::Add {
            certificates,
            keyring,
        } => {
            let keyring = parse_keyring(keyring)?;
            if ends_with_this_process(keyring) {
                let refused = Refused {
                    message: format!(
                        "the {keyring} keyring of this process ends with it, and what is added would be gone at once"
                    ),
                    help: "add it to the user's keyring: `bpfseal keyring add CERT --to user`; or start a session first, as `keyctl session` does".to_owned(),
                    ..Refused::default()
                };
                return Err(refused.into());
            }
            for path in certificates {
                for certificate in read_certificates(path)? {
                    let subject = certificate.subject();
                    let key =
                        kernel::add_certificate(&Linux, keyring, &subject, certificate.der())
                            .map_err(|e| {
                                refused(&e, "the keyring has to be writable and not restricted, and the kernel to know the key's algorithm")
                            })?;
                    files::print(&format!("{}  {}\n", key.0, one_line(&subject)))?;
                }
            }
            Ok(())
        }
        What::New { name, keyring } => {
            let made = kernel::new_keyring(&Linux, parse_keyring(keyring)?, name)
                .map_err(|e| refused(&e, "name a keyring that may be written"))?;
            files::print(&format!("{}\n", made.0))?;
            Ok(())
        }
        What::Link { key, keyring } => {
            kernel::link_key(&Linux, KeySerial(*key), parse_keyring(keyring)?)
                .map_err(|e| refused(&e, "the keyring has to be writable, and to take this key"))
        }
        What::Unlink { key, keyring } => {
            kernel::unlink_key(&Linux, KeySerial(*key), parse_keyring(keyring)?)
                .map_err(|e| refused(&e, "`bpfseal keyring list` shows what is in it"))
        }
        What::Revoke { key } => kernel::revoke_key(&Linux, KeySerial(*key))
            .map_err(|e| refused(&e, "only who may write a key may revoke it")),
        What::Restrict { keyring, rule } => {
            kernel::restrict_keyring(&Linux, parse_keyring(keyring)?, &restriction(rule)?).map_err(
                |e| {
                    refused(
                        &e,
                        "a keyring can be restricted once, by who may change its attributes",
                    )
                },
            )
        }
        What::Find { key_id, keyring } => {
            let digits = key_id.to_ascii_lowercase().replace(':', "");
            if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(Failure::usage(
                    format!("`{key_id}` is no key id"),
                    "give hexadecimal digits, as `bpfseal verify` and `openssl x509 -ext subjectKeyIdentifier` print them",
                ));
            }
            let key = kernel::find_by_key_id(&Linux, parse_keyring(keyring)?, &digits)
                .map_err(|e| refused(&e, "`bpfseal keyring list` shows what is there"))?;
            files::print(&format!("{}  {}\n", key.0, one_line(&describe(key))))?;
            Ok(())
        }
    }
}

/// Whether a keyring is gone when this process ends. A process that is in no session gets one of its
/// own when something is added to it; until then its session keyring is the user's default one.
fn ends_with_this_process(keyring: KeyringId) -> bool {
    match keyring {
        KeyringId::PROCESS | KeyringId::THREAD => true,
        KeyringId::SESSION => kernel::keyring_serial(&Linux, keyring)
            .and_then(|serial| kernel::describe_key(&Linux, serial))
            .is_ok_and(|key| key.description.starts_with("_uid_ses.")),
        _ => false,
    }
}

fn refused(error: &SyscallError, help: &str) -> Failure {
    let refused = Refused {
        message: error.to_string(),
        help: help.to_owned(),
        ..Refused::default()
    };
    refused.into()
}

fn restriction(rule: &str) -> Result<Restriction, Failure> {
    Ok(match rule {
        "nothing" => Restriction::Nothing,
        "builtin" => Restriction::Builtin,
        "builtin-and-secondary" => Restriction::BuiltinAndSecondary,
        other => {
            let (serial, chain) = match other.strip_suffix(":chain") {
                Some(serial) => (serial, true),
                None => (other, false),
            };
            let serial = serial.parse().map(KeySerial).map_err(|_| {
                Failure::usage(
                    format!("`{rule}` is no rule"),
                    "say nothing, builtin, builtin-and-secondary, SERIAL or SERIAL:chain",
                )
            })?;
            Restriction::KeyOrKeyring { serial, chain }
        }
    })
}

fn describe(key: KeySerial) -> String {
    kernel::describe_key(&Linux, key)
        .map_or_else(|e| format!("not readable: {e}"), |info| info.description)
}

fn list(keyring: KeyringId, as_json: bool) -> Outcome {
    let report = bpfseal::list_keyring(keyring).map_err(|e| {
        refused(
            &e,
            "the kernel's own keyrings can be read by root, where they are linked into a keyring of its process",
        )
    })?;
    if as_json {
        files::print_json(&report)?;
    } else if report.keys.is_empty() {
        files::print(&format!("the {keyring} keyring is empty\n"))?;
    } else {
        files::print(&report.keys.iter().map(key_line).collect::<String>())?;
    }
    Ok(())
}

fn key_line(key: &KeyReport) -> String {
    let Some(details) = &key.description else {
        let answer = key.answer.as_deref().unwrap_or("?");
        return format!("{:>11}  {answer}\n", key.serial);
    };
    let id = match (&details.algorithm, &details.key_id_end) {
        (Some(algorithm), Some(id)) => format!("  {algorithm}, key id …{id}"),
        _ => String::new(),
    };
    format!(
        "{:>11}  {:<10}  {}{id}\n",
        key.serial,
        details.key_type,
        one_line(&details.description)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_by_name() {
        assert_eq!(restriction("nothing").unwrap(), Restriction::Nothing);
        let rule = Restriction::KeyOrKeyring {
            serial: KeySerial(7),
            chain: true,
        };
        assert_eq!(restriction("7:chain").unwrap(), rule);
        assert!(restriction("7:chains").is_err());
    }
}
