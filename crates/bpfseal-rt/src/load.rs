//! Artifacts into the running kernel: by which scheme and which keyring, and what a refusal means.
//!
//! The right end of the way of the data. What is loaded is [`Loaded`].

use std::sync::OnceLock;

use bpfseal_uapi::Errno;

use crate::artifact::Artifact;
use crate::artifact::install::{Input, InstallPlan, Step};
use crate::error::LoadError;
use crate::kernel::probe::{self, Verification};
use crate::kernel::{self, InstallError, InstallOptions, Installed, KeyringId, Linux};
use crate::loaded::Loaded;
use crate::seal::{Scheme, SealedLoader};

/// Keyrings that are asked when none is named, in this order: a kernel does not tell what its own
/// ones hold.
pub const KEYRINGS: [KeyringId; 5] = [
    KeyringId::SESSION,
    KeyringId::USER,
    KeyringId::BUILTIN,
    KeyringId::SECONDARY,
    KeyringId::PLATFORM,
];

/// How an artifact is loaded.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// Where the signer's key is looked for: the first keyring that has it is taken.
    pub keyrings: Vec<KeyringId>,
    /// The weakest scheme that is taken, if a kernel checks no stronger one of the artifact. By
    /// default that is [`Scheme::LoadTime`], which alone covers everything before anything runs.
    pub min_scheme: Scheme,
    /// How much the kernel is to log; 0 asks for a log only when something is refused.
    pub log_level: u32,
    /// What an unsigned loader is asked for, by map.
    inputs: Vec<(u32, Option<Vec<u8>>)>,
}

/// Load-time verification alone, with the first keyring that has the key.
impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            keyrings: KEYRINGS.to_vec(),
            min_scheme: Scheme::LoadTime,
            log_level: 0,
            inputs: Vec::new(),
        }
    }
}

impl LoadOptions {
    /// With one keyring.
    #[must_use]
    pub fn from_keyring(keyring: KeyringId) -> Self {
        Self {
            keyrings: vec![keyring],
            ..Self::default()
        }
    }

    /// Takes schemes down to this one, on kernels that check no stronger one: see
    /// [`Scheme::weakness`].
    #[must_use]
    pub fn accept_weaker(mut self, scheme: Scheme) -> Self {
        self.min_scheme = scheme;
        self
    }

    /// What a map is to start with, by its place among the maps: as many bytes as its values have,
    /// or the load is refused. For unsigned loaders; signed ones are refused with it, because they
    /// would ignore it.
    pub fn set_initial_value(&mut self, map: usize, value: Vec<u8>) {
        self.input(map).1 = Some(value);
    }

    /// How many entries a map is to have, by its place among the maps. For unsigned loaders;
    /// signed ones are refused with it, because they would ignore it.
    pub fn set_max_entries(&mut self, map: usize, count: u32) {
        self.input(map).0 = count;
    }

    fn input(&mut self, map: usize) -> &mut (u32, Option<Vec<u8>>) {
        if self.inputs.len() <= map {
            self.inputs.resize(map + 1, (0, None));
        }
        &mut self.inputs[map]
    }
}

/// Loads a signed artifact: the kernel checks the signature.
///
/// # Errors
/// [`LoadError::Refused`] with the kernel's answer: for a key that no keyring has, that of the
/// keyring which came nearest.
pub fn load(artifact: &Artifact, options: &LoadOptions) -> Result<Loaded, LoadError> {
    if let Some(map) = options
        .inputs
        .iter()
        .position(|(entries, value)| *entries != 0 || value.is_some())
    {
        let map = artifact.interface.maps.get(map).map_or("?", |name| &**name);
        return Err(LoadError::Fixed {
            map: map.to_owned(),
        });
    }
    let candidates = candidates(artifact, options.min_scheme)?;
    let mut last: Option<InstallError> = None;
    for (index, sealed) in candidates.iter().enumerate() {
        for keyring in &options.keyrings {
            let plan = InstallPlan::sealed(*sealed, *keyring, artifact.interface.context());
            match install(&plan, options) {
                Ok(installed) => {
                    let verified = Some((sealed.seal.scheme, *keyring));
                    return Loaded::new(artifact, installed, verified);
                }
                Err(error) if is_elsewhere(&error) => {
                    // That a key is missing says more than that a keyring is.
                    let better = error.errno() == Errno::ENOKEY || last.is_none();
                    if better {
                        last = Some(error);
                    }
                }
                Err(error) if index + 1 < candidates.len() && is_for_newer(&error) => break,
                Err(error) => return Err(LoadError::Refused(error)),
            }
        }
    }
    Err(last.map_or(LoadError::NoKeyring, LoadError::Refused))
}

/// The seals to try, strongest first: those that the running kernel checks. Whatever can be told of
/// the artifact without the kernel, and without a certificate, comes before any call.
fn candidates(artifact: &Artifact, min: Scheme) -> Result<Vec<SealedLoader<'_>>, LoadError> {
    let mut taken = sound(artifact, min)?;
    taken.sort_by_key(|sealed| sealed.seal.scheme);
    let checked = verification();
    // Another scheme's signature may cover less on this kernel than its label says.
    let is_checked = |scheme: Scheme| match checked {
        Verification::LoadTime => scheme.binds_map(),
        Verification::InLoader => scheme.checks_in_loader(),
        _ => true,
    };
    let found = names(&taken);
    taken.retain(|sealed| is_checked(sealed.seal.scheme));
    if taken.is_empty() {
        return Err(LoadError::OtherScheme { found, checked });
    }
    Ok(taken)
}

/// The signed forms that may be loaded at all: by a scheme that a kernel checks and that is strong
/// enough. One form that does not go with its seal spoils the artifact: somebody changed it.
fn sound(artifact: &Artifact, min: Scheme) -> Result<Vec<SealedLoader<'_>>, LoadError> {
    let all: Vec<_> = artifact.sealed().collect();
    if all.is_empty() {
        return Err(LoadError::NotSigned);
    }
    for sealed in &all {
        sealed.check().map_err(|source| LoadError::Mismatch {
            scheme: sealed.seal.scheme,
            source,
        })?;
    }
    let known = all.iter().copied();
    let known: Vec<_> = known.filter(|s| s.seal.scheme.is_in_kernels()).collect();
    if known.is_empty() {
        return Err(LoadError::Proposal { found: names(&all) });
    }
    let enough = known.iter().copied();
    let enough: Vec<_> = enough.filter(|s| s.seal.scheme <= min).collect();
    if enough.is_empty() {
        return Err(LoadError::TooWeak {
            found: names(&known),
            wanted: min,
        });
    }
    Ok(enough)
}

/// Names of schemes, for people.
fn names(forms: &[SealedLoader<'_>]) -> String {
    let names = forms.iter().map(|sealed| sealed.seal.scheme.name());
    names.collect::<Vec<_>>().join(", ")
}

/// What the running kernel checks: found out by trying, once.
fn verification() -> Verification {
    static FOUND: OnceLock<Verification> = OnceLock::new();
    *FOUND.get_or_init(|| probe::verification(&Linux))
}

/// Whether the kernel may take an older scheme's loader, but not this one's: the mark of exclusive
/// maps, which Linux 7.2 has, can not be read before.
fn is_for_newer(error: &InstallError) -> bool {
    is_of_loader(error) && error.errno() == Errno::EACCES
}

/// Whether it is the loader that the kernel did not take.
fn is_of_loader(error: &InstallError) -> bool {
    let refusal = error.refusal();
    refusal.is_some_and(|refusal| refusal.step == Step::LoadLoader)
}

/// Loads the unsigned form of an artifact: nobody vouches for it.
///
/// # Errors
/// [`LoadError::Refused`] with the kernel's answer.
pub fn insecure_load_unsigned(
    artifact: &Artifact,
    options: &LoadOptions,
) -> Result<Loaded, LoadError> {
    let instructions = artifact.unsigned().ok_or(LoadError::NotUnsigned)?;
    let context = artifact.interface.context();
    let inputs = options.inputs.iter().map(|(max_entries, value)| Input {
        max_entries: *max_entries,
        initial_value: value.as_deref(),
    });
    let inputs: Vec<_> = inputs.collect();
    let plan = InstallPlan::unsigned(instructions, &artifact.metadata, context).asking(&inputs);
    let installed = install(&plan, options).map_err(LoadError::Refused)?;
    Loaded::new(artifact, installed, None)
}

/// Whether another keyring may have the key: this one has not, or is not there.
fn is_elsewhere(error: &InstallError) -> bool {
    let log = error.refusal().map_or("", |refusal| &refusal.log);
    is_of_loader(error)
        && match error.errno() {
            Errno::ENOKEY => true,
            // Kernels before 7.3 say nothing in their log.
            Errno::EINVAL => log.is_empty() || log.contains("keyring"),
            _ => false,
        }
}

fn install(plan: &InstallPlan<'_>, options: &LoadOptions) -> Result<Installed, InstallError> {
    let options = InstallOptions::default().with_log_level(options.log_level);
    kernel::install_with(&Linux, plan, options)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::Interface;

    #[test]
    fn a_signed_artifact_can_not_be_given_values() {
        let artifact = Artifact {
            interface: Interface {
                maps: vec!["rodata".to_owned()],
                ..Interface::default()
            },
            metadata: Vec::new(),
            forms: Vec::new(),
            endian: crate::artifact::Endian::Little,
        };
        let mut options = LoadOptions::default();
        options.set_initial_value(0, vec![1]);
        let error = load(&artifact, &options).unwrap_err();
        assert!(error.to_string().contains("`rodata`"), "{error}");
        assert!(error.to_string().contains("sign it again"), "{error}");
    }
}
