//! `bpfseal keyring`: the keys that the running kernel looks for signers among.

use std::path::PathBuf;

use bpfseal::kernel::{self, KeySerial, KeyringId, Linux, Restriction, SyscallError};
use bpfseal::seal::hex;
use serde_json::json;

use crate::Outcome;
use crate::args::{parse_keyring, read_certificates};
use crate::failure::Failure;
use crate::files;

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
            for path in certificates {
                for certificate in read_certificates(path)? {
                    let subject = certificate.subject();
                    let key =
                        kernel::add_certificate(&Linux, keyring, &subject, certificate.der())
                            .map_err(|e| {
                                refused(&e, "the keyring has to be writable and not restricted, and the kernel to know the key's algorithm")
                            })?;
                    files::print(&format!("{}  {subject}\n", key.0));
                }
            }
            Ok(())
        }
        What::New { name, keyring } => {
            let made = kernel::new_keyring(&Linux, parse_keyring(keyring)?, name)
                .map_err(|e| refused(&e, "name a keyring that may be written"))?;
            files::print(&format!("{}\n", made.0));
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
            files::print(&format!("{}  {}\n", key.0, describe(key)));
            Ok(())
        }
    }
}

fn refused(error: &SyscallError, help: &str) -> Failure {
    eprintln!("refused: {error}\n  help   {help}");
    Failure::Rejected
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

/// What `/proc/keys` says of a certificate, behind its description: algorithm and the end of its
/// key id. Nothing where it is not shown.
fn key_id(key: KeySerial, all: &str) -> Option<(String, String)> {
    let serial = hex(&key.0.to_be_bytes());
    let line = all.lines().find(|line| line.starts_with(&serial))?;
    let (_, tail) = line.rsplit_once(": X509.")?;
    let mut words = tail.split_whitespace();
    Some((words.next()?.to_owned(), words.next()?.to_owned()))
}

fn list(keyring: KeyringId, as_json: bool) -> Outcome {
    let keys = kernel::keys_of(&Linux, keyring).map_err(|e| {
        refused(
            &e,
            "the kernel's own keyrings can be read by root, where they are linked into a keyring of its process",
        )
    })?;
    let all = std::fs::read_to_string("/proc/keys").unwrap_or_default();
    let mut text = String::new();
    let mut rows = Vec::new();
    for key in keys {
        let info = kernel::describe_key(&Linux, key);
        let id = key_id(key, &all);
        match &info {
            Ok(info) => {
                let id = id.as_ref().map_or(String::new(), |(algorithm, id)| {
                    format!("  {algorithm}, key id …{id}")
                });
                text.push_str(&format!(
                    "{:>11}  {:<10}  {}{id}\n",
                    key.0, info.key_type, info.description
                ));
            }
            Err(error) => text.push_str(&format!("{:>11}  {error}\n", key.0)),
        }
        rows.push(match info {
            Ok(info) => json!({
                "serial": key.0,
                "type": info.key_type,
                "description": info.description,
                "uid": info.uid,
                "permissions": format!("{:08x}", info.permissions),
                "algorithm": id.as_ref().map(|(algorithm, _)| algorithm),
                "key_id_end": id.as_ref().map(|(_, id)| id),
            }),
            Err(error) => json!({ "serial": key.0, "error": error.errno_name() }),
        });
    }
    if as_json {
        let all = json!({ "keyring": keyring.to_string(), "keys": rows });
        files::print(&format!("{all:#}\n"));
    } else if rows.is_empty() {
        files::print(&format!("the {keyring} keyring is empty\n"));
    } else {
        files::print(&text);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_ids_are_in_proc() {
        let line = "0c4bbb69 I------     1 perm 1f030000     0     0 asymmetri CN=a: b: X509.rsa 2aa56d39 []\n";
        let (algorithm, id) = key_id(KeySerial(0x0c4b_bb69), line).unwrap();
        assert_eq!((algorithm.as_str(), id.as_str()), ("rsa", "2aa56d39"));
        assert_eq!(key_id(KeySerial(1), line), None);
    }

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
