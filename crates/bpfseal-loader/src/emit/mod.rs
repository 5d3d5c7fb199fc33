//! From a load plan to a loader: the program that carries the plan out in the kernel.
//!
//! By default the bytes are those of libbpf 1.8's generator. Every byte's origin is kept beside
//! them, so that a difference can be named by its place in the plan.

mod attr;
mod code;
mod ctx;
mod kernel_refs;
mod loader;
mod place;
mod refuse;
mod symbols;

use bpfseal_object::{Contents, CoreRelo, Endian, Insn, MapIdx};

use bpfseal_uapi::attr::{btf_load, map_create, map_elem, prog_load};
use bpfseal_uapi::{cmd, core_relo, helper, limits};

use crate::Error;
use crate::plan::{AttachTarget, LoadPlan, MapAttr, ProgramLoad, Step};
use attr::{Attr, field, len};
use code::{Blob, Code, Stack, Width, op};
use refuse::LibbpfStep;
use symbols::KernelSymbols;

pub use loader::{ContextLayout, DataRegion, Dialect, EmitOptions, Form, InsnRegion, Loader, Part};

impl Loader {
    /// Compiles a plan.
    ///
    /// # Errors
    /// When the dialect cannot express the plan, when something in the plan has no value, or when
    /// the loader would be larger than what it can address.
    pub fn new(plan: &LoadPlan, options: EmitOptions) -> Result<Self, Error> {
        let steps = match options.dialect {
            Dialect::Libbpf => refuse::libbpf(plan)?,
        };
        let mut emitter = Emitter {
            code: Code::new(plan.endian, options.log, expected_metadata(plan)),
            license: &plan.license,
            form: options.form,
            symbols: KernelSymbols::default(),
            maps: 0,
            programs: 0,
        };
        emitter.code.add_data(
            &[0; (code::MAP_SLOTS + code::MAX_KFUNC_SLOTS) as usize * 4],
            Part::FdArray,
        )?;
        emitter.code.prologue(plan.function_count, plan.map_count)?;
        match options.form {
            Form::CheckingExclusive => emitter.code.check_metadata(true)?,
            Form::CheckingMetadata => emitter.code.check_metadata(false)?,
            Form::Signed | Form::Unsigned => {}
        }
        for (index, step) in steps.iter().enumerate() {
            emitter.code.begin_step(Some(index));
            emitter.step(step)?;
        }
        emitter.code.begin_step(None);
        emitter.epilogue()?;
        let context = ContextLayout {
            maps: emitter.maps,
            programs: emitter.programs,
        };
        let finished = emitter.code.finish()?;
        Ok(Self {
            endian: plan.endian,
            form: options.form,
            instructions: finished.instructions,
            metadata: finished.metadata,
            context,
            insn_regions: finished.insn_regions,
            data_regions: finished.data_regions,
        })
    }
}

/// About how many bytes of metadata a plan makes, so that the buffer need not grow.
fn expected_metadata(plan: &LoadPlan) -> usize {
    const STEP: usize = 256;
    let payload = |step: &Step| match step {
        Step::LoadBtf { data } => data.len(),
        Step::SeedMap { value, .. } => value.len(),
        Step::LoadProgram(program) => {
            let info = program.func_info.words.len() + program.line_info.words.len();
            let core = program.core_refs.len() * core_relo::LEN;
            program.insns.len() * 8 + info * 4 + core + program.kernel_refs.len() * STEP
        }
        _ => 0,
    };
    let steps = plan
        .steps
        .iter()
        .map(|step| payload(step) + STEP)
        .sum::<usize>();
    steps + (code::MAP_SLOTS + code::MAX_KFUNC_SLOTS) as usize * 4
}

struct Emitter<'a> {
    code: Code,
    license: &'a str,
    form: Form,
    symbols: KernelSymbols,
    maps: u32,
    programs: u32,
}

impl Emitter<'_> {
    fn step(&mut self, step: &LibbpfStep<'_>) -> Result<(), Error> {
        match *step {
            LibbpfStep::LoadBtf(data) => self.load_btf(data),
            LibbpfStep::CreateMap(map, attr) => self.create_map(map, attr),
            LibbpfStep::SeedMap(map, value, flags) => self.seed_map(map, value, flags),
            LibbpfStep::FreezeMap(map) => self.freeze_map(map),
            LibbpfStep::SetInnerMap { outer, slot, inner } => {
                self.set_inner_map(outer, slot, inner)
            }
            LibbpfStep::LoadProgram(program) => self.load_program(program),
        }
    }

    fn new_attr(&self, len: usize) -> Attr {
        Attr::new(self.code.endian, len)
    }

    fn load_btf(&mut self, data: &[u8]) -> Result<(), Error> {
        use btf_load as at;
        self.code.mark("load BTF");
        let btf = self.code.add_data(data, Part::Btf)?;
        let size = data.len() as u32;
        let mut attr = self.new_attr(len::BTF_LOAD);
        attr.put32(at::BTF_SIZE, size);
        let attr = self.code.add_data(&attr.bytes, Part::BtfAttr)?;
        self.log_fields(
            field(attr, at::BTF_LOG_LEVEL),
            field(attr, at::BTF_LOG_SIZE),
            field(attr, at::BTF_LOG_BUF),
        );
        self.code.store_pointer(field(attr, at::BTF), btf);
        self.code.sys_bpf(cmd::BTF_LOAD, attr, len::BTF_LOAD);
        self.code.log_result(&format!("btf_load size {size}"))?;
        self.code.check_error()?;
        self.code.store_stack(Stack::Btf, 7);
        Ok(())
    }

    /// The log that the caller asks for, from the context.
    fn log_fields(&mut self, level: Blob, size: Blob, buf: Blob) {
        let code = &mut self.code;
        code.ctx_to_blob(level, Width::W4, ctx::LOG_LEVEL, false);
        code.ctx_to_blob(size, Width::W4, ctx::LOG_SIZE, false);
        code.ctx_to_blob(buf, Width::W8, ctx::LOG_BUF, false);
    }

    /// `map` is `None` for the template of a map of maps.
    fn create_map(&mut self, map: Option<MapIdx>, desc: &MapAttr) -> Result<(), Error> {
        use map_create as at;
        self.code.mark("create map");
        let mut attr = self.new_attr(len::MAP_CREATE);
        attr.put32(at::MAP_TYPE, desc.map_type.0);
        attr.put32(at::KEY_SIZE, desc.key_size);
        attr.put32(at::VALUE_SIZE, desc.value_size);
        attr.put32(at::MAX_ENTRIES, desc.max_entries);
        attr.put32(at::MAP_FLAGS, desc.map_flags);
        attr.put32(at::NUMA_NODE, desc.numa_node);
        attr.put_name(at::MAP_NAME, &desc.name);
        attr.put32(at::BTF_KEY_TYPE_ID, desc.btf_key_type_id);
        attr.put32(at::BTF_VALUE_TYPE_ID, desc.btf_value_type_id);
        attr.put64(at::MAP_EXTRA, desc.map_extra);
        let attr = self.code.add_data(&attr.bytes, Part::MapAttr)?;
        if desc.btf_value_type_id != 0 {
            self.code.stack_to_blob(field(attr, at::BTF_FD), Stack::Btf);
        }
        let of_maps = desc.map_type.holds_maps();
        if of_maps {
            self.code
                .stack_to_blob(field(attr, at::INNER_MAP_FD), Stack::InnerMap);
        }
        if let Some(map) = map
            && self.form == Form::Unsigned
        {
            let from = ctx::SIZE + ctx::MAP_DESC * map.0 + ctx::MAX_ENTRIES;
            self.code
                .ctx_to_blob(field(attr, at::MAX_ENTRIES), Width::W4, from, true);
        }
        self.code.sys_bpf(cmd::MAP_CREATE, attr, len::MAP_CREATE);
        let index = map.map_or(-1, |m| i64::from(m.0));
        self.code.log_result(&format!(
            "map_create {} idx {index} type {} value_size {} value_btf_id {}",
            desc.name, desc.map_type.0, desc.value_size, desc.btf_value_type_id
        ))?;
        self.code.check_error()?;
        match map {
            None => self.code.store_stack(Stack::InnerMap, 7),
            Some(map) => {
                self.maps += 1;
                let slot = self.code.fd_slot(map.0);
                self.code.blob_addr(1, slot);
                self.code.store(Width::W4, 1, 7, 0);
            }
        }
        if of_maps {
            self.code.close_stack(Stack::InnerMap)?;
        }
        Ok(())
    }

    fn seed_map(&mut self, map: MapIdx, contents: &Contents, flags: u64) -> Result<(), Error> {
        use map_elem as at;
        self.code.mark("set the map's value");
        let value = self.code.add_contents(contents, Part::Value)?;
        let key = self.code.add_data(&[0; 4], Part::Key)?;
        if self.form == Form::Unsigned {
            let code = &mut self.code;
            let from = ctx::SIZE + ctx::MAP_DESC * map.0 + ctx::INITIAL_VALUE;
            code.load(Width::W8, 3, 6, from as i16);
            code.op(op::JEQ_IMM, 3, 0, 8, 0);
            code.blob_addr(1, value);
            code.mov_imm(2, contents.len() as i32);
            code.load(Width::W4, 0, 6, ctx::FLAGS as i16);
            code.op(op::JSET_IMM, 0, 0, 2, ctx::SKEL_KERNEL);
            code.call(helper::COPY_FROM_USER);
            code.op(op::JA, 0, 0, 1, 0);
            code.call(helper::PROBE_READ_KERNEL);
        }
        let mut attr = self.new_attr(len::MAP_UPDATE);
        attr.put64(at::FLAGS, flags);
        let attr = self.code.add_data(&attr.bytes, Part::UpdateAttr)?;
        let slot = self.code.fd_slot(map.0);
        self.code
            .blob_to_blob(field(attr, at::MAP_FD), Width::W4, slot);
        self.code.store_pointer(field(attr, at::KEY), key);
        self.code.store_pointer(field(attr, at::VALUE), value);
        self.code
            .sys_bpf(cmd::MAP_UPDATE_ELEM, attr, len::MAP_UPDATE);
        self.code.log_result(&format!(
            "update_elem idx {} value_size {}",
            map.0,
            contents.len()
        ))?;
        self.code.check_error()
    }

    fn set_inner_map(&mut self, outer: MapIdx, slot: u32, inner: MapIdx) -> Result<(), Error> {
        use map_elem as at;
        self.code.mark("fill a slot of the map");
        let key_bytes = self.code.endian.put_u32(slot);
        let key = self.code.add_data(&key_bytes, Part::Key)?;
        let attr = self.new_attr(len::MAP_UPDATE);
        let attr = self.code.add_data(&attr.bytes, Part::UpdateAttr)?;
        let outer_slot = self.code.fd_slot(outer.0);
        let inner_slot = self.code.fd_slot(inner.0);
        self.code
            .blob_to_blob(field(attr, at::MAP_FD), Width::W4, outer_slot);
        self.code.store_pointer(field(attr, at::KEY), key);
        self.code.store_pointer(field(attr, at::VALUE), inner_slot);
        self.code
            .sys_bpf(cmd::MAP_UPDATE_ELEM, attr, len::MAP_UPDATE);
        self.code.log_result(&format!(
            "populate_outer_map outer {} key {slot} inner {}",
            outer.0, inner.0
        ))?;
        self.code.check_error()
    }

    fn freeze_map(&mut self, map: MapIdx) -> Result<(), Error> {
        use map_elem as at;
        self.code.mark("freeze the map");
        let attr = self.new_attr(len::MAP_FREEZE);
        let attr = self.code.add_data(&attr.bytes, Part::FreezeAttr)?;
        let slot = self.code.fd_slot(map.0);
        self.code
            .blob_to_blob(field(attr, at::MAP_FD), Width::W4, slot);
        self.code.sys_bpf(cmd::MAP_FREEZE, attr, len::MAP_FREEZE);
        self.code.log_result("map_freeze")?;
        self.code.check_error()
    }

    fn load_program(&mut self, program: &ProgramLoad) -> Result<(), Error> {
        use prog_load as at;
        self.code.mark("prepare the program");
        let endian = self.code.endian;
        let (license, _) = self.code.add_text(self.license, Part::License)?;
        let insns = encode_insns(&program.insns, endian);
        let insns = self.code.add_data(&insns, Part::ProgramInsns)?;
        let func_info = endian.put_words(&program.func_info.words);
        let func_info = self.code.add_data(&func_info, Part::FuncInfo)?;
        let line_info = endian.put_words(&program.line_info.words);
        let line_info = self.code.add_data(&line_info, Part::LineInfo)?;
        let core_relos = encode_core_relos(program, endian);
        let core_relos = self.code.add_data(&core_relos, Part::CoreRelos)?;

        let mut attr = self.new_attr(len::PROG_LOAD);
        attr.put32(at::PROG_TYPE, program.prog_type.0);
        attr.put32(at::EXPECTED_ATTACH_TYPE, program.attach_type.0);
        let target = match &program.attach_target {
            Some(AttachTarget::Kernel { name, btf_kind }) => Some((name, *btf_kind)),
            _ => None,
        };
        // A placeholder: the loader puts in what it finds.
        let placeholder = u32::from(target.is_some());
        attr.put32(at::ATTACH_BTF_ID, placeholder);
        attr.put32(at::INSN_CNT, program.insns.len() as u32);
        attr.put32(at::PROG_FLAGS, program.flags);
        attr.put32(at::FUNC_INFO_REC_SIZE, program.func_info.record_size);
        attr.put32(at::FUNC_INFO_CNT, program.func_info.count());
        attr.put32(at::LINE_INFO_REC_SIZE, program.line_info.record_size);
        attr.put32(at::LINE_INFO_CNT, program.line_info.count());
        attr.put32(at::CORE_RELO_REC_SIZE, core_relo::LEN as u32);
        attr.put32(at::CORE_RELO_CNT, program.core_refs.len() as u32);
        attr.put_name(at::PROG_NAME, &program.name);
        let attr = self.code.add_data(&attr.bytes, Part::ProgramAttr)?;

        let code = &mut self.code;
        code.store_pointer(field(attr, at::LICENSE), license);
        code.store_pointer(field(attr, at::INSNS), insns);
        code.store_pointer(field(attr, at::FUNC_INFO), func_info);
        code.store_pointer(field(attr, at::LINE_INFO), line_info);
        code.store_pointer(field(attr, at::CORE_RELOS), core_relos);
        let fd_array = code.fd_slot(0);
        code.store_pointer(field(attr, at::FD_ARRAY), fd_array);
        self.log_fields(
            field(attr, at::LOG_LEVEL),
            field(attr, at::LOG_SIZE),
            field(attr, at::LOG_BUF),
        );
        self.code
            .stack_to_blob(field(attr, at::PROG_BTF_FD), Stack::Btf);
        if let Some((target, btf_kind)) = target {
            self.code.mark("find the attach target");
            let (name, len) = self.code.add_text(target, Part::AttachTarget)?;
            self.find_by_name_kind(name, len, btf_kind.cast_signed());
            self.code
                .log_result(&format!("find_by_name_kind({target},{btf_kind})"))?;
            self.code.check_error()?;
            // BTF id below, descriptor of the BTF object above.
            let code = &mut self.code;
            code.blob_addr(0, attr);
            code.store(Width::W4, 0, 7, at::ATTACH_BTF_ID.offset() as i16);
            code.op(op::RSH64_IMM, 7, 0, 0, 32);
            code.store(Width::W4, 0, 7, at::ATTACH_BTF_OBJ_FD.offset() as i16);
        }
        for reference in &program.kernel_refs {
            self.code.mark("look up a kernel symbol");
            self.kernel_ref(reference, insns, &program.name)?;
        }
        self.code.mark("load the program");
        self.code.sys_bpf(cmd::PROG_LOAD, attr, len::PROG_LOAD);
        self.code.log_result(&format!(
            "prog_load {} insn_cnt {}",
            &program.name[..floor_char(&program.name, limits::OBJ_NAME_LEN - 1)],
            program.insns.len()
        ))?;
        self.close_kernel_symbols()?;
        if target.is_some() {
            self.code.close_blob(field(attr, at::ATTACH_BTF_OBJ_FD))?;
        }
        self.code.check_error()?;
        self.code.store_stack(Stack::Program(self.programs), 7);
        self.programs += 1;
        Ok(())
    }

    /// `r7 = btf_find_by_name_kind(name, len, kind, 0)`.
    fn find_by_name_kind(&mut self, name: Blob, len: i32, kind: i32) {
        let code = &mut self.code;
        code.blob_addr(1, name);
        code.mov_imm(2, len);
        code.mov_imm(3, kind);
        code.mov_imm(4, 0);
        code.call(helper::BTF_FIND_BY_NAME_KIND);
        code.mov_reg(7, 0);
    }

    /// Hands all descriptors to the caller through the context.
    fn epilogue(&mut self) -> Result<(), Error> {
        self.code.mark("hand over the descriptors");
        self.code.close_stack(Stack::Btf)?;
        let layout = ContextLayout {
            maps: self.maps,
            programs: self.programs,
        };
        for program in 0..self.programs {
            self.code
                .stack_to_ctx(layout.program_offset(program), Stack::Program(program));
        }
        for map in 0..self.maps {
            let slot = self.code.fd_slot(map);
            self.code
                .blob_to_ctx(layout.map_offset(MapIdx(map)), Width::W4, slot);
        }
        self.code.mov_imm(0, 0);
        self.code.exit();
        Ok(())
    }
}

fn floor_char(text: &str, max: usize) -> usize {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    end
}

fn encode_insns(insns: &[Insn], endian: Endian) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(insns.len() * bpfseal_object::BPF_INSN_SZ);
    for insn in insns {
        bytes.extend_from_slice(&insn.encode(endian));
    }
    bytes
}

fn encode_core_relos(program: &ProgramLoad, endian: Endian) -> Vec<u8> {
    let words: Vec<u32> = program
        .core_refs
        .iter()
        .flat_map(|r| {
            let CoreRelo {
                type_id,
                access_str_off,
                kind,
            } = r.relo;
            [r.insn.wrapping_mul(8), type_id, access_str_off, kind]
        })
        .collect();
    endian.put_words(&words)
}
