//! Reading an object: sections are sorted by what they hold, BTF is fixed up, maps, programs,
//! externs and relocations are collected, in libbpf's order.
//!
//! This is where the parts of the crate meet. Source of the order: `bpf_object_open` and
//! `bpf_object__elf_collect` of libbpf 1.8.

mod datasecs;
mod maps;
mod relocations;
mod sections;
mod struct_ops;
mod types;

use crate::btf::Btf;
use crate::btf::ext::BtfExt;
use crate::contents::Contents;
use crate::elf::{Elf, SectionIdx};
use crate::externs::{self, Extern};
use crate::index::{MapIdx, ProgramIdx};
use crate::map::{DataKind, Map};
use crate::program::{Program, Reloc};
use crate::{Endian, Error};

/// Most bytes of kconfig values. They are laid out byte by byte, and a few bytes of BTF can ask
/// for gigabytes.
const MAX_KCONFIG: u64 = 64 << 20;
/// Largest value of a map.
const MAX_VALUE: u64 = u32::MAX as u64;

/// A compiled BPF object.
#[derive(Debug, Clone)]
pub struct Object {
    /// The object's name: it goes into the names of its global data maps.
    pub name: String,
    /// Byte order.
    pub endian: Endian,
    /// License as declared; empty when there is none.
    pub license: String,
    /// Type information after libbpf's fix-ups.
    pub btf: Option<Btf>,
    /// Function, line and CO-RE records.
    pub btf_ext: Option<BtfExt>,
    /// Maps in libbpf's order: those of the first years, declared ones, global data, kconfig,
    /// struct_ops.
    pub maps: Vec<Map>,
    /// All functions, ordered by section and offset.
    pub programs: Vec<Program>,
    /// Externs in libbpf's order.
    pub externs: Vec<Extern>,
    /// Initial contents of arena variables (section `.addr_space.1`).
    pub arena_data: Option<Contents>,
    /// Jump tables of all functions (section `.jumptables`): offsets of instructions in the section
    /// of their function, 8 bytes each.
    pub jump_tables: Option<Contents>,
    /// What was skipped or odd, in words, for whoever reads a report.
    pub notes: Vec<String>,
    text: Option<SectionIdx>,
}

/// Sections by what they hold.
#[derive(Debug, Default)]
struct Roles {
    maps: Option<SectionIdx>,
    legacy_maps: Option<SectionIdx>,
    btf: Option<SectionIdx>,
    btf_ext: Option<SectionIdx>,
    text: Option<SectionIdx>,
    arena: Option<SectionIdx>,
    jump_tables: Option<SectionIdx>,
    /// Global data sections in file order.
    data: Vec<(SectionIdx, DataKind)>,
    struct_ops: Vec<SectionIdx>,
    relocations: Vec<SectionIdx>,
}

impl Roles {
    fn data_kind(&self, section: SectionIdx) -> Option<DataKind> {
        self.data
            .iter()
            .find(|(idx, _)| *idx == section)
            .map(|(_, kind)| *kind)
    }
}

impl Object {
    /// Reads an object from the bytes of its file.
    ///
    /// `name` is the object's name, as [`crate::object_name`] makes it from a file's name.
    ///
    /// # Errors
    /// When the file is not a BPF object, damaged or ambiguous; the error names the place.
    pub fn parse(bytes: &[u8], name: &str) -> Result<Self, Error> {
        let elf = Elf::parse(bytes)?;
        let mut object = Self {
            name: name.to_owned(),
            endian: elf.endian,
            license: String::new(),
            btf: None,
            btf_ext: None,
            maps: Vec::new(),
            programs: Vec::new(),
            externs: Vec::new(),
            arena_data: None,
            jump_tables: None,
            notes: Vec::new(),
            text: None,
        };
        let roles = object.collect_sections(&elf)?;
        object.text = roles.text;
        object.programs.reverse();
        // The reference's sort puts the later of two functions at one place first.
        object.programs.sort_by_key(|p| (p.section, p.section_insn));
        object.read_btf(&elf, &roles)?;
        object.externs = externs::collect(&elf, object.btf.as_mut())?;
        if let Some(btf) = &mut object.btf {
            datasecs::fix_up(btf, &elf)?;
        }
        object.read_maps(&elf, &roles)?;
        object.read_struct_ops(&elf, &roles)?;
        object.collect_relocations(&elf, &roles)?;
        object.adjust_struct_ops_autoload();
        object.collect_core_relocations()?;
        object.mark_hidden_subprograms();
        for program in &mut object.programs {
            program.relocs.sort_by_key(Reloc::sort_key);
        }
        Ok(object)
    }

    /// Entry points: all programs but subprograms, loaded or not, in order.
    pub fn entry_programs(&self) -> impl Iterator<Item = (ProgramIdx, &Program)> {
        self.programs
            .iter()
            .enumerate()
            .filter(|(_, p)| !p.subprogram)
            .map(|(i, p)| (ProgramIdx(i), p))
    }

    /// The map of kconfig values.
    #[must_use]
    pub fn kconfig_map(&self) -> Option<MapIdx> {
        self.maps
            .iter()
            .position(|m| matches!(&m.data, Some(d) if d.kind == DataKind::Kconfig))
            .and_then(map_idx)
    }

    /// The program that holds an instruction of a section.
    #[must_use]
    pub fn program_at(&self, section: SectionIdx, insn: u64) -> Option<ProgramIdx> {
        let after = self
            .programs
            .partition_point(|p| (p.section, p.section_insn) <= (section, insn));
        let index = after.checked_sub(1)?;
        self.programs[index]
            .contains(section, insn)
            .then_some(ProgramIdx(index))
    }

    /// The subprogram that holds an instruction of `.text`.
    #[must_use]
    pub fn subprogram_at(&self, insn: u64) -> Option<ProgramIdx> {
        self.program_at(self.text?, insn)
    }
}

fn map_idx(index: usize) -> Option<MapIdx> {
    u32::try_from(index).ok().map(MapIdx)
}
