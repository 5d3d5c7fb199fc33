//! The C header: struct, functions, bytes.
//!
//! What a user's program sees follows `gen_trace` and `do_skeleton` of bpftool 7.8: member order
//! (`ctx.sz` is the distance to `links`), names, arrays. What is done differently: the size of a
//! page is asked for at run time instead of being that of the build host, zeroed data takes no
//! room, nothing is used of `skel_internal.h` that libbpf 1.7 does not have, and the header says
//! what a signed loader ignores.

use std::fmt::{self, Write as _};

use bpfseal_object::btf::{Kind, Type, VarLinkage};
use bpfseal_object::uapi::{self, attach, map as map_type, prog};
use bpfseal_object::{Map, MapIdx, Object, Program};

use super::SkeletonError;
use super::c_bytes::push_literal;
use super::c_types::{Declarer, Qualifiers};
use super::ident::{identifier, map_ident, section_ident};
use crate::plan::Step;
use crate::{LoadPlan, Loader};

/// What a signed skeleton carries besides the loader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SkeletonSeal<'a> {
    /// CMS signature over instructions and metadata.
    pub signature: &'a [u8],
    /// SHA-256 of the instructions.
    pub excl_prog_hash: &'a [u8; 32],
}

/// A C light skeleton, ready to be written.
#[derive(Debug, Clone, Copy)]
pub struct CSkeleton<'a> {
    /// The object.
    pub object: &'a Object,
    /// Its plan.
    pub plan: &'a LoadPlan,
    /// Its loader.
    pub loader: &'a Loader,
    /// The seal, for a signed one.
    pub seal: Option<SkeletonSeal<'a>>,
}

/// Global data that the skeleton maps into the user's process.
#[derive(Debug)]
struct DataSection<'a> {
    /// Name of the member.
    ident: String,
    map: &'a Map,
    /// Bytes of the mapping before they are rounded to whole pages.
    size: u64,
    /// What the map starts with.
    value: &'a [u8],
    percpu: bool,
    read_only: bool,
    /// The BTF section that describes the variables.
    variables: Option<Type<'a>>,
}

impl<'a> CSkeleton<'a> {
    /// Settles everything that can go wrong; what comes out can be written.
    ///
    /// # Errors
    /// [`SkeletonError`] when a data section's variables can not be declared in C.
    pub fn to_header(&self) -> Result<CHeader<'a>, SkeletonError> {
        let sections = self.data_sections();
        let mut declarations = Vec::new();
        if let Some(btf) = &self.object.btf {
            let mut declarer = Declarer::new(btf);
            for section in &sections {
                let mut text = String::new();
                if let Some(variables) = section.variables {
                    members(&mut text, &mut declarer, btf, variables)?;
                }
                declarations.push(text);
            }
        }
        Ok(CHeader {
            skeleton: *self,
            sections,
            declarations,
        })
    }

    /// The value that the plan gives to a map of global data.
    fn seed(&self, index: MapIdx) -> &'a [u8] {
        self.plan
            .steps
            .iter()
            .find_map(|step| match step {
                Step::SeedMap { map, value, .. } if *map == index => Some(value.as_slice()),
                _ => None,
            })
            .unwrap_or(&[])
    }

    fn data_sections(&self) -> Vec<DataSection<'a>> {
        let sections = self.object.btf.iter().flat_map(|btf| btf.types());
        let described: Vec<(String, Type<'a>)> = sections
            .filter(|t| t.kind() == Kind::Datasec)
            .filter_map(|t| Some((section_ident(t.name())?, t)))
            .collect();
        self.object
            .maps
            .iter()
            .enumerate()
            .filter_map(|(index, map)| {
                map.data.as_ref()?;
                let percpu = map.def.map_type == map_type::PERCPU_ARRAY;
                let mapped = map.def.map_flags & uapi::BPF_F_MMAPABLE != 0
                    || (percpu && !map.def.btf_value.is_void());
                // A skeleton of an object without BTF has no typed data.
                if !mapped || self.object.btf.is_none() {
                    return None;
                }
                let ident = map_ident(map);
                let rounded = u64::from(map.def.value_size).next_multiple_of(8);
                Some(DataSection {
                    map,
                    size: rounded * u64::from(map.def.max_entries.max(1)),
                    value: self.seed(MapIdx(u32::try_from(index).ok()?)),
                    percpu,
                    read_only: map.def.map_flags & uapi::BPF_F_RDONLY_PROG != 0,
                    variables: described
                        .iter()
                        .find(|(name, _)| *name == ident)
                        .map(|(_, t)| *t),
                    ident,
                })
            })
            .collect()
    }
}

/// A C header, ready to be written: [`std::fmt::Display`] is its text.
#[derive(Debug)]
pub struct CHeader<'a> {
    skeleton: CSkeleton<'a>,
    sections: Vec<DataSection<'a>>,
    /// The members of each section's struct.
    declarations: Vec<String>,
}

impl fmt::Display for CHeader<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.prologue(out)?;
        self.structure(out)?;
        self.attach_functions(out)?;
        self.destroy_function(out)?;
        self.open_function(out)?;
        self.load_function(out)?;
        self.assertions(out)?;
        writeln!(out, "\n#endif /* {} */", self.guard())
    }
}

impl<'a> CHeader<'a> {
    fn name(&self) -> &'a str {
        &self.skeleton.plan.name
    }

    fn guard(&self) -> String {
        format!("__{}_SKEL_H__", self.name()).to_ascii_uppercase()
    }

    fn programs(&self) -> impl Iterator<Item = (String, &'a Program)> + use<'a> {
        self.skeleton
            .object
            .entry_programs()
            .map(|(_, program)| (identifier(&program.name), program))
    }

    fn prologue(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let guard = self.guard();
        write!(
            out,
            "/* SPDX-License-Identifier: MIT OR Apache-2.0 */\n\
             /* Generated by bpfseal {}; do not edit. */\n",
            env!("CARGO_PKG_VERSION")
        )?;
        if self.skeleton.seal.is_some() {
            out.write_str(SIGNED_NOTE)?;
        }
        write!(
            out,
            "#ifndef {guard}\n#define {guard}\n\n\
             #ifndef __KERNEL__\n#include <errno.h>\n#include <string.h>\n#endif\n\
             #include <bpf/skel_internal.h>\n\n"
        )?;
        Ok(())
    }

    fn structure(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "struct {} {{\n\tstruct bpf_loader_ctx ctx;",
            self.name()
        )?;
        if !self.skeleton.object.maps.is_empty() {
            out.write_str("\tstruct {\n")?;
            for map in &self.skeleton.object.maps {
                writeln!(out, "\t\tstruct bpf_map_desc {};", map_ident(map))?;
            }
            out.write_str("\t} maps;\n")?;
        }
        if self.programs().next().is_some() {
            out.write_str("\tstruct {\n")?;
            for (program, _) in self.programs() {
                writeln!(out, "\t\tstruct bpf_prog_desc {program};")?;
            }
            out.write_str("\t} progs;\n")?;
        }
        // Always there: what the loader writes to ends here.
        out.write_str("\tstruct {\n")?;
        for (program, _) in self.programs() {
            writeln!(out, "\t\tint {program}_fd;")?;
        }
        out.write_str("\t} links;\n")?;
        if self.skeleton.seal.is_some() {
            out.write_str(
                "\t/* Keyring that holds the signer's key: 0 builtin, 1 secondary, 2 platform,\n\
                 \t * anything else a serial number or special id (-3: session keyring).\n\
                 \t * Not there: loading fails with ENOKEY.\n\t */\n\t__s32 keyring_id;\n",
            )?;
        }
        for (section, members) in self.sections.iter().zip(&self.declarations) {
            if self.skeleton.seal.is_some() && !section.percpu {
                out.write_str("\t/* Signed: what is set here before loading is ignored. */\n")?;
            }
            writeln!(out, "\tstruct {}__{} {{", self.name(), section.ident)?;
            out.write_str(members)?;
            writeln!(out, "\t}} *{};", section.ident)?;
        }
        out.write_str("};\n")?;
        Ok(())
    }

    fn attach_functions(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name();
        for (program, what) in self.programs() {
            let fd = attach_expression(&program, what);
            write!(
                out,
                "\nstatic inline int\n{name}__{program}__attach(struct {name} *skel)\n{{\n\
                 \tint fd = {fd}\n\n\
                 \tif (fd > 0)\n\t\tskel->links.{program}_fd = fd;\n\treturn fd;\n}}\n"
            )?;
        }
        write!(
            out,
            "\nstatic inline int\n{name}__attach(struct {name} *skel)\n{{\n\tint err = 0;\n\n"
        )?;
        for (program, _) in self.programs() {
            writeln!(
                out,
                "\tif (err >= 0)\n\t\terr = {name}__{program}__attach(skel);"
            )?;
        }
        write!(
            out,
            "\t(void)skel;\n\treturn err < 0 ? err : 0;\n}}\n\n\
             static inline void\n{name}__detach(struct {name} *skel)\n{{\n"
        )?;
        for (program, _) in self.programs() {
            writeln!(out, "\tskel_closenz(skel->links.{program}_fd);")?;
        }
        out.write_str("\t(void)skel;\n}\n")?;
        Ok(())
    }

    fn destroy_function(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name();
        if !self.sections.is_empty() {
            write!(
                out,
                "\n/* Whole pages of the host that this runs on. */\n\
                 static inline size_t\n{name}__mmap_sz(size_t sz)\n{{\n\
                 #ifdef __KERNEL__\n\treturn PAGE_ALIGN(sz);\n#else\n\
                 \tsize_t page = (size_t)sysconf(_SC_PAGESIZE);\n\n\
                 \treturn (sz + page - 1) / page * page;\n#endif\n}}\n"
            )?;
        }
        write!(
            out,
            "\nstatic inline void\n{name}__destroy(struct {name} *skel)\n{{\n\
             \tif (!skel)\n\t\treturn;\n\t{name}__detach(skel);\n"
        )?;
        for (program, _) in self.programs() {
            writeln!(out, "\tskel_closenz(skel->progs.{program}.prog_fd);")?;
        }
        for map in &self.skeleton.object.maps {
            let ident = map_ident(map);
            if let Some(section) = self.sections.iter().find(|s| std::ptr::eq(s.map, map)) {
                writeln!(
                    out,
                    "\tif (skel->maps.{ident}.initial_value)\n\
                     \t\tskel_free_map_data((void *)(long)skel->maps.{ident}.initial_value,\n\
                     \t\t\t\t   skel->maps.{ident}.initial_value,\n\
                     \t\t\t\t   {name}__mmap_sz({}));",
                    section.size
                )?;
            }
            writeln!(out, "\tskel_closenz(skel->maps.{ident}.map_fd);")?;
        }
        out.write_str("\tskel_free(skel);\n}\n")?;
        Ok(())
    }

    fn open_function(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name();
        write!(
            out,
            "\nstatic inline struct {name} *\n{name}__open(void)\n{{\n\
             \tstruct {name} *skel;\n\n\
             \tskel = (struct {name} *)skel_alloc(sizeof(*skel));\n\
             \tif (!skel)\n\t\treturn NULL;\n\
             \tskel->ctx.sz = (char *)&skel->links - (char *)skel;\n"
        )?;
        for section in &self.sections {
            let DataSection {
                ident, size, value, ..
            } = section;
            out.write_str("\t{\n\t\tstatic const char data[")?;
            // Data that is all zero needs no literal. The byte more is where a literal has its NUL.
            if value.iter().all(|b| *b == 0) {
                write!(
                    out,
                    "{}] __attribute__((__aligned__(8))) = {{0}};\n\n",
                    value.len() + 1
                )?;
            } else {
                out.write_str("] __attribute__((__aligned__(8))) = ")?;
                push_literal(out, value)?;
                out.write_str(";\n\n")?;
            }
            write!(
                out,
                "\t\tskel->{ident} = (__typeof__(skel->{ident}))skel_prep_map_data(\n\
                 \t\t\t(void *)data, {name}__mmap_sz({size}), sizeof(data) - 1);\n\
                 \t\tif (!skel->{ident}) {{\n\t\t\t{name}__destroy(skel);\n\t\t\treturn NULL;\n\t\t}}\n\
                 \t\tskel->maps.{ident}.initial_value = (__u64)(long)skel->{ident};\n\t}}\n"
            )?;
        }
        out.write_str("\treturn skel;\n}\n")?;
        Ok(())
    }

    fn load_function(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name();
        write!(
            out,
            "\nstatic inline int\n{name}__load(struct {name} *skel)\n{{\n\
             \tstruct bpf_load_and_run_opts opts = {{}};\n\tint err;\n"
        )?;
        array(out, "opts_data", &self.skeleton.loader.metadata)?;
        array(out, "opts_insn", &self.skeleton.loader.instructions)?;
        if let Some(seal) = &self.skeleton.seal {
            array(out, "opts_sig", seal.signature)?;
            array(out, "opts_excl_hash", seal.excl_prog_hash)?;
        }
        out.write_str("\n")?;
        if self.skeleton.seal.is_some() {
            out.write_str(
                "\topts.signature = (void *)opts_sig;\n\
                 \topts.signature_sz = sizeof(opts_sig) - 1;\n\
                 \topts.excl_prog_hash = (void *)opts_excl_hash;\n\
                 \topts.excl_prog_hash_sz = sizeof(opts_excl_hash) - 1;\n\
                 \topts.keyring_id = skel->keyring_id;\n",
            )?;
        }
        out.write_str(
            "\topts.ctx = (struct bpf_loader_ctx *)skel;\n\
             \topts.data_sz = sizeof(opts_data) - 1;\n\
             \topts.data = (void *)opts_data;\n\
             \topts.insns_sz = sizeof(opts_insn) - 1;\n\
             \topts.insns = (void *)opts_insn;\n\n\
             \terr = bpf_load_and_run(&opts);\n\
             \tif (err < 0)\n\t\treturn err;\n",
        )?;
        self.sort_descriptors(out)?;
        for section in &self.sections {
            finalize(out, name, section)?;
        }
        write!(
            out,
            "\treturn 0;\n}}\n\nstatic inline struct {name} *\n{name}__open_and_load(void)\n{{\n\
             \tstruct {name} *skel = {name}__open();\n\n\
             \tif (skel && {name}__load(skel)) {{\n\
             \t\t{name}__destroy(skel);\n\t\treturn NULL;\n\t}}\n\treturn skel;\n}}\n"
        )?;
        Ok(())
    }

    /// The loader fills in descriptors in the order of loading; a program that is not loaded by
    /// default has a place in the struct, but none in that order. (The reference leaves the
    /// descriptors under the names of other programs then.)
    fn sort_descriptors(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let programs: Vec<(String, bool)> = self
            .programs()
            .map(|(name, program)| (name, program.autoload))
            .collect();
        if programs.iter().all(|(_, loaded)| *loaded) {
            return Ok(());
        }
        out.write_str("\t/* What is not loaded by default has no descriptor: make room. */\n")?;
        let loaded: Vec<_> = programs.iter().filter(|(_, loaded)| *loaded).collect();
        for ((name, _), (filled, _)) in loaded.iter().zip(&programs).rev() {
            if name != filled {
                writeln!(
                    out,
                    "\tskel->progs.{name}.prog_fd = skel->progs.{filled}.prog_fd;"
                )?;
            }
        }
        for (name, _) in programs.iter().filter(|(_, loaded)| !loaded) {
            writeln!(out, "\tskel->progs.{name}.prog_fd = 0;")?;
        }
        Ok(())
    }

    fn assertions(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(btf) = &self.skeleton.object.btf else {
            return Ok(());
        };
        let name = self.name();
        write!(
            out,
            "\n__attribute__((unused)) static void\n\
             {name}__assert(struct {name} *s __attribute__((unused)))\n{{\n\
             #ifdef __cplusplus\n#define _Static_assert static_assert\n#endif\n"
        )?;
        for section in &self.sections {
            for variable in section.variables.iter().flat_map(Type::vars) {
                let var = btf.ty(variable.type_id);
                if var.var_linkage() == VarLinkage::Static {
                    continue;
                }
                let Some(size) = btf.resolve_size(var.type_ref()) else {
                    continue;
                };
                let ident = identifier(var.name());
                writeln!(
                    out,
                    "\t_Static_assert(sizeof(s->{}->{ident}) == {size}, \"size of '{ident}'\");",
                    section.ident
                )?;
            }
        }
        out.write_str("#ifdef __cplusplus\n#undef _Static_assert\n#endif\n}\n")?;
        Ok(())
    }
}

const SIGNED_NOTE: &str = "\
/*
 * SIGNED: the loader in this header installs what was signed, and nothing else. Initial values
 * of global data and max_entries of maps that a program sets between __open() and __load() are
 * IGNORED, without an error. To change them, change the BPF program and sign it again.
 *
 * Verified by kernels that check signatures when a program is loaded (Linux 7.3 and later); needs
 * the skel_internal.h of libbpf 1.8 or later to be loaded with a signature.
 */
";

/// `static const char NAME[] = "…";`, as scripts look for it.
fn array(out: &mut fmt::Formatter<'_>, name: &str, bytes: &[u8]) -> fmt::Result {
    write!(
        out,
        "\tstatic const char {name}[] __attribute__((__aligned__(8))) = "
    )?;
    push_literal(out, bytes)?;
    out.write_str(";\n")
}

/// The variables of a section as members, at their offsets.
fn members<'a>(
    out: &mut String,
    declarer: &mut Declarer<'a>,
    btf: &'a bpfseal_object::btf::Btf,
    section: Type<'a>,
) -> Result<(), SkeletonError> {
    let name = section.name();
    // Values of the kernel's configuration stay `const`; programs may set everything else.
    let qualifiers = if name == ".kconfig" {
        Qualifiers::Keep
    } else {
        Qualifiers::Drop
    };
    let mut end: u32 = 0;
    let mut gaps = 0;
    for variable in section.vars() {
        let var = btf.ty(variable.type_id);
        if var.var_linkage() == VarLinkage::Static {
            continue;
        }
        let fault_in = || (name.to_owned(), var.name().to_owned());
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
        // For 32-bit hosts too, where nothing is aligned to more than 4 bytes: at worst there is
        // padding that another host would have made by itself.
        if end.checked_next_multiple_of(align.min(4)) != Some(variable.offset) {
            let _ = writeln!(out, "\t\tchar __pad{gaps}[{}];", variable.offset - end);
            gaps += 1;
        }
        let declaration = declarer
            .declare(var.type_ref(), &identifier(var.name()), qualifiers, 2)
            .map_err(|source| {
                let (section, variable) = fault_in();
                SkeletonError::Declaration {
                    section,
                    variable,
                    source,
                }
            })?;
        let _ = writeln!(out, "\t\t{declaration};");
        end = variable.offset.saturating_add(variable.size);
    }
    Ok(())
}

/// What attaches a program: an expression for the descriptor of its link, and the line's end.
fn attach_expression(program: &str, what: &Program) -> String {
    let fd = format!("skel->progs.{program}.prog_fd");
    let unsupported = "0; /* only the caller knows what to attach it to */".to_owned();
    let Some(def) = what.def else {
        return unsupported;
    };
    match def.prog_type {
        prog::RAW_TRACEPOINT => match what.attach_target() {
            Some(target) => format!("skel_raw_tracepoint_open({}, {fd});", c_string(target)),
            None => unsupported,
        },
        prog::TRACING if def.attach_type.0 == attach::BPF_TRACE_ITER => {
            format!("skel_link_create({fd}, 0, BPF_TRACE_ITER);")
        }
        prog::TRACING | prog::LSM => format!("skel_raw_tracepoint_open(NULL, {fd});"),
        _ => unsupported,
    }
}

fn c_string(text: &str) -> String {
    let mut out = "\"".to_owned();
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'"' && byte != b'\\' && byte != b'?' => {
                out.push(char::from(byte));
            }
            _ => {
                let _ = write!(out, "\\{byte:03o}");
            }
        }
    }
    out.push('"');
    out
}

/// After loading: the data of the skeleton becomes that of the map.
fn finalize(out: &mut fmt::Formatter<'_>, name: &str, section: &DataSection<'_>) -> fmt::Result {
    let DataSection { ident, size, .. } = section;
    if section.percpu {
        // Such a map can not be mapped: what was set stays readable, and changes fault instead of
        // being lost.
        return write!(
            out,
            "#ifdef __KERNEL__\n\
             \tskel_free_map_data(skel->{ident}, skel->maps.{ident}.initial_value, {size});\n\
             \tskel->maps.{ident}.initial_value = ~0ULL;\n\
             \tskel->{ident} = NULL;\n\
             #else\n\
             \tif (mprotect(skel->{ident}, {name}__mmap_sz({size}), PROT_READ))\n\
             \t\treturn -errno;\n\
             #endif\n"
        );
    }
    let protection = if section.read_only {
        "PROT_READ"
    } else {
        "PROT_READ | PROT_WRITE"
    };
    write!(
        out,
        "\tskel->{ident} = (__typeof__(skel->{ident}))skel_finalize_map_data(\n\
         \t\t&skel->maps.{ident}.initial_value, {name}__mmap_sz({size}),\n\
         \t\t{protection}, skel->maps.{ident}.map_fd);\n\
         \tif (!skel->{ident})\n\t\treturn -ENOMEM;\n"
    )
}
