//! `bpfseal load`: an artifact into the running kernel.

use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use bpfseal::kernel::{
    self, InstallError, Installed, KeyringId, Linux, LoaderImage, Map, Program, Step,
};
use bpfseal::loader::ContextLayout;
use bpfseal::seal::{LightSkeleton, SealedLoader, SkeletonNames};
use serde_json::json;

use crate::Outcome;
use crate::args::read_certificates;
use crate::failure::{Failure, Report};
use crate::files;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Without --pin everything goes away again when the command ends: it was a trial. \
    Programs are loaded, not attached.\n\nExamples:\n  \
    bpfseal load prog.lskel.h --trust cert.pem                 does this kernel take it?\n  \
    bpfseal load prog.lskel.h --pin /sys/fs/bpf/prog\n  \
    bpfseal load prog.lskel.h --keyring builtin --json\n\n\
    Exit codes: 0 loaded, 1 the kernel refused, 2 wrong usage, 3 the artifact can not be read."
)]
pub(crate) struct Args {
    /// A light skeleton of ours or bpftool's; `-` is standard input
    #[arg(value_name = "ARTIFACT")]
    artifact: PathBuf,

    /// Where the signer's key is: session, user, process, builtin, secondary, platform, bpf, or a
    /// serial number; without it, the first of session, user, builtin, secondary and platform
    /// that has it
    #[arg(long, value_name = "KEYRING", allow_hyphen_values = true)]
    keyring: Option<String>,

    /// Certificate to add to the session keyring first; can be given several times
    #[arg(long, value_name = "CERT")]
    trust: Vec<PathBuf>,

    /// Folder in bpffs to pin maps and programs into; made if it is not there
    #[arg(long, value_name = "DIR")]
    pin: Option<PathBuf>,

    /// Load an artifact that is not signed
    #[arg(long)]
    insecure_unsigned: bool,

    /// Print what was installed as JSON
    #[arg(long)]
    json: bool,
}

/// Keyrings that are asked when none is named, in this order.
const KEYRINGS: [KeyringId; 5] = [
    KeyringId::SESSION,
    KeyringId::USER,
    KeyringId::BUILTIN,
    KeyringId::SECONDARY,
    KeyringId::PLATFORM,
];

pub(crate) fn run(args: &Args) -> Outcome {
    let place = files::shown(&args.artifact);
    let bytes = files::read(&args.artifact)?;
    let skeleton = super::extract::read_artifact(&place, &bytes)?;
    let names = SkeletonNames::parse(&bytes);
    let count = |names: &[String]| u32::try_from(names.len()).unwrap_or(u32::MAX);
    let context = ContextLayout {
        maps: count(&names.maps),
        programs: count(&names.programs),
    };
    for path in &args.trust {
        trust(path)?;
    }
    let installed = match &skeleton {
        LightSkeleton::Signed(sealed) => {
            let keyrings = match &args.keyring {
                Some(text) => vec![KeyringId::parse(text).ok_or_else(|| {
                    Failure::usage(
                        format!("`{text}` is no keyring"),
                        "name session, user, process, builtin, secondary, platform or bpf, or give a serial number",
                    )
                })?],
                None => KEYRINGS.to_vec(),
            };
            install_signed(&place, sealed, context, &keyrings)?
        }
        LightSkeleton::Unsigned { .. } if !args.insecure_unsigned => {
            return Err(Failure::usage(
                format!("{place} is not signed"),
                "sign it with `bpfseal seal`, or say --insecure-unsigned to load it as it is",
            ));
        }
        LightSkeleton::Unsigned {
            instructions,
            metadata,
        } => {
            let image = LoaderImage::unsigned(instructions, metadata);
            kernel::install(&Linux, &image, context).map_err(|e| refused(&place, &e))?
        }
    };
    let objects = describe(&place, installed, &names)?;
    if let Some(folder) = &args.pin {
        pin_all(folder, &objects)?;
    }
    report(args, &place, &objects);
    Ok(())
}

/// Adds the certificates of a file to the session keyring.
fn trust(path: &Path) -> Result<(), Failure> {
    for certificate in read_certificates(path)? {
        let subject = certificate.subject();
        kernel::add_certificate(&Linux, KeyringId::SESSION, &subject, certificate.der()).map_err(
            |e| {
                let help = "the session keyring has to be writable, and the kernel to know the key's algorithm";
                Report::new(&files::shown(path), &e, help)
            },
        )?;
    }
    Ok(())
}

/// Tries keyrings until one has the signer's key.
fn install_signed(
    place: &str,
    sealed: &SealedLoader,
    context: ContextLayout,
    keyrings: &[KeyringId],
) -> Result<Installed, Failure> {
    let mut last = None;
    for keyring in keyrings {
        let image = LoaderImage::sealed(sealed, *keyring);
        match kernel::install(&Linux, &image, context) {
            Ok(installed) => {
                eprintln!("verified with a key of the {keyring} keyring");
                return Ok(installed);
            }
            // Not in this one: neither found, nor the keyring itself there.
            Err(InstallError::Call {
                step: Step::LoadLoader,
                source,
            }) if ["ENOKEY", "EINVAL"].contains(&source.errno_name().as_str())
                && keyrings.len() > 1 =>
            {
                let error = InstallError::Call {
                    step: Step::LoadLoader,
                    source,
                };
                // That a key is missing says more than that a keyring is.
                if last.is_none() || error_name(&error) == "ENOKEY" {
                    last = Some(error);
                }
            }
            Err(error) => return Err(refused(place, &error)),
        }
    }
    match last {
        Some(error) => Err(refused(place, &error)),
        None => Err(Failure::Rejected),
    }
}

fn error_name(error: &InstallError) -> String {
    kernel::errno_name(error.errno()).map_or_else(|| error.errno().to_string(), str::to_owned)
}

/// Says what the kernel answered, what that means, and what to do.
fn refused(place: &str, error: &InstallError) -> Failure {
    let (meaning, help) = error.explain();
    eprintln!("refused: {place}: {meaning}");
    if let InstallError::Call { step, source } = error {
        eprintln!("  step   {}", step.describe());
        eprintln!("  answer {source}");
        for line in source.log.lines().filter(|line| !line.is_empty()).take(10) {
            eprintln!("  kernel {line}");
        }
    } else {
        eprintln!("  answer {error}");
    }
    eprintln!("  help   {help}");
    Failure::Rejected
}

/// What was installed, with what the kernel says of it.
enum Object {
    Map(String, Map, kernel::MapInfo),
    Program(String, Program, kernel::ProgramInfo),
}

fn describe(
    place: &str,
    installed: Installed,
    names: &SkeletonNames,
) -> Result<Vec<Object>, Failure> {
    let report = |e: kernel::SyscallError| Report::new(place, &e, "");
    let mut objects = Vec::new();
    for (fd, name) in installed.maps.into_iter().zip(&names.maps) {
        let map = Map::from_fd(&Linux, fd).map_err(report)?;
        let info = map.info(&Linux).map_err(report)?;
        objects.push(Object::Map(name.clone(), map, info));
    }
    for fd in installed.programs {
        let program = Program::from_fd(fd, "installed");
        let info = program.info(&Linux).map_err(report)?;
        // By the kernel's name, cut to 15 bytes: some programs may not have been loaded.
        let name = names
            .programs
            .iter()
            .find(|name| name.get(..15).unwrap_or(name) == info.name)
            .unwrap_or(&info.name);
        objects.push(Object::Program(name.clone(), program, info));
    }
    Ok(objects)
}

/// Pins everything, or nothing.
fn pin_all(folder: &Path, objects: &[Object]) -> Outcome {
    let made = !folder.exists();
    std::fs::create_dir_all(folder)
        .map_err(|e| Report::new(&files::shown(folder), &e, "give a folder in bpffs"))?;
    let mut pinned = Vec::new();
    for object in objects {
        let (name, fd) = match object {
            Object::Map(name, map, _) => (name, map.as_fd()),
            Object::Program(name, program, _) => (name, program.as_fd()),
        };
        let path = folder.join(name);
        if let Err(error) = kernel::pin(&Linux, fd, &path) {
            for path in pinned {
                let _ = std::fs::remove_file(path);
            }
            if made {
                let _ = std::fs::remove_dir(folder);
            }
            let help = "pins live in bpffs, usually under /sys/fs/bpf; nothing was left behind";
            return Err(Report::new(&files::shown(&path), &error, help).into());
        }
        pinned.push(path);
    }
    Ok(())
}

fn report(args: &Args, place: &str, objects: &[Object]) {
    if args.json {
        let maps: Vec<_> = objects
            .iter()
            .filter_map(|object| match object {
                Object::Map(name, _, info) => Some(json!({
                    "name": name, "id": info.id, "type": info.map_type,
                })),
                Object::Program(..) => None,
            })
            .collect();
        let programs: Vec<_> = objects
            .iter()
            .filter_map(|object| match object {
                Object::Program(name, _, info) => Some(json!({
                    "name": name, "id": info.id, "type": info.prog_type,
                    "tag": bpfseal::seal::hex(&info.tag),
                })),
                Object::Map(..) => None,
            })
            .collect();
        let all = json!({
            "artifact": place,
            "maps": maps,
            "programs": programs,
            "pinned": args.pin.as_deref().map(|folder| folder.display().to_string()),
        });
        files::print(&format!("{all:#}\n"));
        return;
    }
    let mut out = format!("loaded: {place}\n");
    for object in objects {
        out.push_str(&match object {
            Object::Map(name, _, info) => format!(
                "  map {name}: id {}, {}\n",
                info.id,
                bpfseal::object::uapi::MapType(info.map_type)
            ),
            Object::Program(name, _, info) => format!(
                "  program {name}: id {}, {}, tag {}\n",
                info.id,
                bpfseal::object::uapi::ProgType(info.prog_type),
                bpfseal::seal::hex(&info.tag)
            ),
        });
    }
    match &args.pin {
        Some(folder) => out.push_str(&format!("pinned in {}\n", folder.display())),
        None => out.push_str("not pinned: it goes away now\n"),
    }
    files::print(&out);
}
