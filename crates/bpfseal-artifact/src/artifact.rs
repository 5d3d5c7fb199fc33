//! Artifacts: sealed loaders, whatever file they came in.
//!
//! What `bpfseal seal` writes, and what is verified, inspected and loaded. One value of the
//! metadata map, and the loader in one or several forms.

use bpfseal_object::Endian;
#[cfg(feature = "sign")]
use bpfseal_seal::{Certificate, SealError, SealOptions, Signer, ToBeSigned};
use bpfseal_seal::{Seal, SealedLoader, excl_prog_hash};

use crate::interface::Interface;

/// A loader with what vouches for it, and the names of what it installs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// What is installed.
    pub interface: Interface,
    /// The value of the metadata map, which all forms share.
    pub metadata: Vec<u8>,
    /// The forms, strongest first; at least one.
    pub forms: Vec<LoaderForm>,
    /// Byte order of the machines that it is for, in which instructions and metadata are. Files of
    /// ours say it; C headers do not, and it is taken from the loader's first instruction there.
    pub endian: Endian,
}

/// A loader's instructions, signed by one scheme or not at all. Exhaustive: nothing is between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoaderForm {
    /// Signed.
    Sealed {
        /// The loader's instructions.
        instructions: Vec<u8>,
        /// What vouches for them.
        seal: Seal,
    },
    /// Not signed.
    Unsigned {
        /// The loader's instructions.
        instructions: Vec<u8>,
    },
}

impl LoaderForm {
    /// The loader's instructions.
    #[must_use]
    pub fn instructions(&self) -> &[u8] {
        match self {
            Self::Sealed { instructions, .. } | Self::Unsigned { instructions } => instructions,
        }
    }

    /// What vouches for them, if anything does.
    #[must_use]
    pub fn seal(&self) -> Option<&Seal> {
        match self {
            Self::Sealed { seal, .. } => Some(seal),
            Self::Unsigned { .. } => None,
        }
    }

    /// The digest that the metadata map is to be bound to.
    #[must_use]
    pub fn excl_prog_hash(&self) -> [u8; 32] {
        match self {
            Self::Sealed { seal, .. } => seal.excl_prog_hash,
            Self::Unsigned { instructions } => excl_prog_hash(instructions),
        }
    }
}

impl Artifact {
    /// The signed forms, strongest first.
    pub fn sealed(&self) -> impl Iterator<Item = SealedLoader<'_>> {
        self.forms.iter().filter_map(|form| match form {
            LoaderForm::Sealed { instructions, seal } => Some(SealedLoader {
                instructions,
                metadata: &self.metadata,
                seal,
            }),
            LoaderForm::Unsigned { .. } => None,
        })
    }

    /// Adds a signature to those that each signed form has.
    ///
    /// # Errors
    /// As [`ToBeSigned::new`], [`ToBeSigned::beside`] and [`ToBeSigned::sign`];
    /// [`SealError::NotSigned`] without a signed form.
    #[cfg(feature = "sign")]
    pub fn add_signature(
        &mut self,
        key: &dyn Signer,
        certificate: &Certificate,
        options: &SealOptions,
    ) -> Result<(), SealError> {
        let mut forms = self.forms.clone();
        let mut added = false;
        for form in &mut forms {
            let LoaderForm::Sealed { instructions, seal } = form else {
                continue;
            };
            let tbs = ToBeSigned::new(
                seal.scheme,
                instructions,
                &self.metadata,
                certificate,
                options,
            )?;
            let signed = tbs.beside(seal)?.sign(key)?;
            *seal = signed;
            added = true;
        }
        if !added {
            return Err(SealError::NotSigned);
        }
        self.forms = forms;
        Ok(())
    }

    /// The instructions of the form that is not signed, if there is one.
    #[must_use]
    pub fn unsigned(&self) -> Option<&[u8]> {
        self.forms.iter().find_map(|form| match form {
            LoaderForm::Unsigned { instructions } => Some(instructions.as_slice()),
            LoaderForm::Sealed { .. } => None,
        })
    }
}
