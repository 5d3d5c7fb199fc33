//! From an object and its loader to what a C header is generated of.
//!
//! What a user's program sees follows `gen_trace` and `do_skeleton` of bpftool 7.8: member order
//! (`ctx.sz` is the distance to `links`), names, arrays. The text is written in
//! [`text`](super::text).

use std::fmt::{self, Write as _};

use bpfseal_loader::LoadPlan;
use bpfseal_object::Object;
use bpfseal_object::btf::{Btf, Type, VarLinkage};
use bpfseal_seal::{Scheme, Seal};

use super::names::{Renamed, c_name};
use super::text::{Assertion, Parts, ProgramPart, SectionPart};
use super::types::{Declarer, Qualifiers};
use crate::data::{DataSection, data_sections};
use crate::error::SkeletonError;
use crate::ident::{Names, map_ident};
use crate::interface::AutoAttach;

/// A C light skeleton, ready to be written.
#[derive(Debug, Clone, Copy)]
pub struct CSkeleton<'a> {
    /// The object.
    pub object: &'a Object,
    /// Its plan.
    pub plan: &'a LoadPlan,
    /// The loader's instructions.
    pub instructions: &'a [u8],
    /// The value of its metadata map.
    pub metadata: &'a [u8],
    /// What vouches for the loader; `None` for an unsigned one.
    pub seal: Option<&'a Seal>,
}

impl<'a> CSkeleton<'a> {
    /// Settles everything that can go wrong; what comes out can be written.
    ///
    /// # Errors
    /// [`SkeletonError`] when a data section's variables can not be declared in C.
    pub fn to_header(&self) -> Result<CHeader<'a>, SkeletonError> {
        let mut renamed = Renamed::default();
        let name = c_name(&self.plan.name);
        renamed.note(&self.plan.name, &name);
        let mut taken = Names::default();
        let maps = self.object.maps.iter().map(|map| {
            let ident = map_ident(map);
            let name = taken.unique(c_name(&ident));
            // What global data is called after is its section, which nobody looks for by name.
            let raw = map.data.as_ref().map_or(map.user_name(), |_| &ident);
            renamed.note(raw, &name);
            name
        });
        let maps: Vec<String> = maps.collect();
        let mut taken = Names::default();
        let programs = self
            .object
            .entry_programs()
            .map(|(_, program)| ProgramPart {
                name: renamed.name(&program.name, &mut taken),
                autoload: program.autoload,
                attach: AutoAttach::of(program),
            });
        let programs = programs.collect();
        let mut sections = Vec::new();
        if let Some(btf) = &self.object.btf {
            let mut declarer = Declarer::new(btf);
            declarer.renamed = renamed;
            for section in data_sections(self.object, self.plan) {
                sections.push(section_part(&section, &maps, &mut declarer, btf)?);
            }
            renamed = declarer.renamed;
        }
        Ok(CHeader {
            parts: Parts {
                name,
                renamed,
                maps,
                programs,
                sections,
                has_types: self.object.btf.is_some(),
                standalone: false,
                instructions: self.instructions,
                metadata: self.metadata,
                seal: self.seal,
            },
        })
    }
}

/// A C header, ready to be written: [`std::fmt::Display`] is its text.
#[derive(Debug)]
pub struct CHeader<'a> {
    parts: Parts<'a>,
}

impl CHeader<'_> {
    /// The same header without libbpf: it carries the few functions that it needs itself. For user
    /// space only.
    ///
    /// # Errors
    /// [`SkeletonError::Standalone`] for a loader that is signed by another scheme than the check
    /// at load time.
    pub fn standalone(mut self) -> Result<Self, SkeletonError> {
        if let Some(seal) = self.parts.seal
            && seal.scheme != Scheme::LoadTime
        {
            return Err(SkeletonError::Standalone {
                scheme: seal.scheme.name(),
            });
        }
        self.parts.standalone = true;
        Ok(self)
    }
}

impl fmt::Display for CHeader<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.fmt(out)
    }
}

fn section_part<'a>(
    section: &DataSection<'a>,
    maps: &[String],
    declarer: &mut Declarer<'a>,
    btf: &'a Btf,
) -> Result<SectionPart, SkeletonError> {
    let mut part = SectionPart {
        // The section's map is one of the object's.
        name: maps
            .get(section.index.0 as usize)
            .cloned()
            .unwrap_or_default(),
        size: section.size,
        value: section.value.clone(),
        percpu: section.percpu,
        read_only: section.read_only,
        members: String::new(),
        assertions: Vec::new(),
    };
    if let Some(variables) = section.variables {
        part.declare(declarer, btf, variables)?;
    }
    Ok(part)
}

impl SectionPart {
    /// Declares the variables of a section as members, at their offsets.
    pub(super) fn declare<'a>(
        &mut self,
        declarer: &mut Declarer<'a>,
        btf: &'a Btf,
        section: Type<'a>,
    ) -> Result<(), SkeletonError> {
        let section_name = section.name();
        // Values of the kernel's configuration stay `const`; programs may set everything else.
        let qualifiers = if section_name == ".kconfig" {
            Qualifiers::Keep
        } else {
            Qualifiers::Drop
        };
        let mut end: u32 = 0;
        let mut gaps = 0;
        let mut scope = Names::default();
        for variable in section.vars() {
            let var = btf.ty(variable.type_id);
            if var.var_linkage() == VarLinkage::Static {
                continue;
            }
            let fault_in = || (section_name.to_owned(), var.name().to_owned());
            if end > variable.offset {
                let (section, variable_name) = fault_in();
                return Err(SkeletonError::Overlap {
                    section,
                    variable: variable_name,
                    offset: variable.offset,
                    end,
                });
            }
            let align = btf.align_of(var.type_ref()).ok_or_else(|| {
                let (section, variable) = fault_in();
                SkeletonError::Alignment { section, variable }
            })?;
            // Where C would not put it by itself, it is packed.
            let packed = !variable.offset.is_multiple_of(align.max(1));
            // For 32-bit hosts too, where nothing is aligned to more than 4 bytes: at worst there
            // is padding that another host would have made by itself.
            let step = if packed { 1 } else { align.min(4) };
            if end.checked_next_multiple_of(step) != Some(variable.offset) {
                let pad = scope.unique(format!("__pad{gaps}"));
                let _ = writeln!(self.members, "\t\tchar {pad}[{}];", variable.offset - end);
                gaps += 1;
            }
            let name = declarer.renamed.name(var.name(), &mut scope);
            let declaration = declarer.declare(var.type_ref(), &name, qualifiers, 2);
            let declaration = declaration.map_err(|source| {
                let (section, variable) = fault_in();
                SkeletonError::Declaration {
                    section,
                    variable,
                    source,
                }
            })?;
            let attribute = if packed {
                " __attribute__((__packed__))"
            } else {
                ""
            };
            let _ = writeln!(self.members, "\t\t{declaration}{attribute};");
            // What C knows of it: a flexible array at its end has values in the object and no
            // size in C, so the next variable needs padding.
            let size = btf.resolve_size(var.type_ref());
            end = variable
                .offset
                .saturating_add(size.unwrap_or(variable.size));
            if let Some(size) = size {
                self.assertions.push(Assertion {
                    member: name,
                    size,
                    offset: variable.offset,
                });
            }
        }
        Ok(())
    }

    /// Whether a section of type information describes the global data of a map.
    pub(super) fn describes(section: Type<'_>, ident: &str) -> bool {
        crate::ident::section_ident(section.name()).is_some_and(|name| name == ident)
    }
}
