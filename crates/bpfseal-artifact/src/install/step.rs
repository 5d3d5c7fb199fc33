//! The steps of an installation, for whoever says where one ended.

use bpfseal_uapi::{Command, cmd};

/// Where an installation is. Each step but the last is a call of whoever loads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Step {
    /// Creating the metadata map.
    CreateMetadata,
    /// Writing it.
    FillMetadata,
    /// Freezing it.
    FreezeMetadata,
    /// Having the kernel compute its digest, for loaders that check it themselves.
    DigestMetadata,
    /// Loading the loader: here the kernel checks the signature, if there is one.
    LoadLoader,
    /// Running it.
    RunLoader,
    /// What the loader asks the kernel for while it runs: the maps and programs of the object.
    InstallObject,
}

impl Step {
    /// All of them, in order.
    pub const ALL: [Self; 7] = [
        Self::CreateMetadata,
        Self::FillMetadata,
        Self::FreezeMetadata,
        Self::DigestMetadata,
        Self::LoadLoader,
        Self::RunLoader,
        Self::InstallObject,
    ];

    /// A word for programs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CreateMetadata => "create-metadata",
            Self::FillMetadata => "fill-metadata",
            Self::FreezeMetadata => "freeze-metadata",
            Self::DigestMetadata => "digest-metadata",
            Self::LoadLoader => "load-loader",
            Self::RunLoader => "run-loader",
            Self::InstallObject => "install-object",
        }
    }

    /// In words, of any loader.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::CreateMetadata => "creating the metadata map",
            Self::FillMetadata => "writing the metadata map",
            Self::FreezeMetadata => "freezing the metadata map",
            Self::DigestMetadata => "asking for the digest of the metadata map",
            Self::LoadLoader => "loading the loader",
            Self::RunLoader => "running the loader",
            Self::InstallObject => {
                "running the loader, which loads the maps and programs of the object"
            }
        }
    }

    /// The same, of a loader that is signed.
    #[must_use]
    pub fn describe_signed(self) -> &'static str {
        match self {
            Self::LoadLoader => "loading the loader, where the kernel checks the signature",
            other => other.describe(),
        }
    }

    /// The command of `bpf(2)`.
    #[must_use]
    pub fn command(self) -> Command {
        match self {
            Self::CreateMetadata => cmd::MAP_CREATE,
            Self::FillMetadata => cmd::MAP_UPDATE_ELEM,
            Self::FreezeMetadata => cmd::MAP_FREEZE,
            Self::DigestMetadata => cmd::OBJ_GET_INFO_BY_FD,
            Self::LoadLoader => cmd::PROG_LOAD,
            Self::RunLoader | Self::InstallObject => cmd::PROG_RUN,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_have_names_of_their_own() {
        for (i, step) in Step::ALL.iter().enumerate() {
            for other in &Step::ALL[..i] {
                assert!(other < step);
                assert_ne!(other.name(), step.name());
                assert_ne!(other.describe(), step.describe());
            }
            assert!(step.command().kernel_name().is_some());
        }
    }
}
