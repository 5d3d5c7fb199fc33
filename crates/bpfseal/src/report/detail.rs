//! Reports in full: what the model of the kernel knows about plans and loaders.

use std::collections::BTreeMap;

use super::inspect::ArtifactReport;
use super::parts::{FindingReport, HostInfluence};
use super::plan::{
    CodeLine, PlanReport, PlannedMap, PlannedProgram, ProgramReport, SourceLine, Step,
    attach_target, map_name,
};
use crate::artifact::{Artifact, AutoAttach, Interface, ProgramInterface};
use crate::loader::plan::ProgramLoad;
use crate::loader::{LoadPlan, plan};
use crate::model::audit::{self as model, Audit, Finding, Powers, Subject};
use crate::model::disasm::{PlanNames, disassemble, target};
use crate::object::MapIdx;
use crate::object::btf::Btf;

impl ProgramReport {
    pub(super) fn new(plan: &LoadPlan, program: &plan::ProgramLoad, powers: &Powers) -> Self {
        let map = |place: &u32| map_name(plan, MapIdx(*place));
        Self {
            name: program.name.clone(),
            program_type: program.prog_type.to_string(),
            attach_target: attach_target(program),
            instructions: program.insns.len(),
            helpers: powers.helpers.iter().cloned().collect(),
            kernel_symbols: powers.symbols.iter().cloned().collect(),
            maps: powers.maps.iter().map(map).collect(),
            notable: powers.notable.iter().copied().collect(),
        }
    }

    /// The programs of a plan, in order.
    pub(super) fn all_of(plan: &LoadPlan, powers: &[Powers]) -> Vec<Self> {
        plan.programs()
            .zip(powers)
            .map(|(program, powers)| Self::new(plan, program, powers))
            .collect()
    }
}

impl PlanReport {
    /// Of the plan of an object.
    pub(super) fn of_object(plan: &LoadPlan) -> Self {
        Self::new(plan, None, |program| program.section.clone())
    }

    /// Of a plan. `powers` are those of its programs where they are known already; `attach` says
    /// what a program attaches to.
    fn new(
        plan: &LoadPlan,
        powers: Option<&[Powers]>,
        attach: impl Fn(&plan::ProgramLoad) -> String,
    ) -> Self {
        let btf = btf_of(plan);
        let program = |(index, program): (usize, &plan::ProgramLoad)| {
            let known = powers.and_then(|powers| powers.get(index)).cloned();
            let powers = known.unwrap_or_else(|| Powers::of(program));
            PlannedProgram {
                program: ProgramReport::new(plan, program, &powers),
                attach: attach(program),
                map_indexes: powers.maps.iter().copied().collect(),
                core_relocations: program.core_refs.len(),
                code: code(plan, program, btf.as_ref()),
            }
        };
        Self {
            license: plan.license.clone(),
            byte_order: plan.endian.into(),
            maps: plan
                .maps()
                .map(|(map, attr)| PlannedMap {
                    index: map.0,
                    map: attr.into(),
                })
                .collect(),
            programs: plan.programs().enumerate().map(program).collect(),
            steps: Step::all_of(plan),
        }
    }
}

/// The BTF that the plan loads, which has the source lines.
fn btf_of(plan: &LoadPlan) -> Option<Btf> {
    let data = plan.steps.iter().find_map(|step| match step {
        plan::Step::LoadBtf { data } => Some(data),
        _ => None,
    })?;
    Btf::parse(data, plan.endian).ok()
}

/// The source lines of a program, by the instruction that they stand before: records of
/// `struct bpf_line_info` are instruction, file, line, and line number and column in one word.
fn sources(program: &plan::ProgramLoad, btf: &Btf) -> BTreeMap<u32, SourceLine> {
    let record = (program.line_info.record_size / 4) as usize;
    if record < 4 {
        return BTreeMap::new();
    }
    let records = program.line_info.words.chunks_exact(record);
    let mut all: Vec<(u32, SourceLine)> = records
        .filter_map(|words| {
            let source = SourceLine {
                file: btf.str(words[1])?.to_owned(),
                line: words[3] >> 10,
                text: btf.str(words[2])?.trim().to_owned(),
            };
            Some((words[0], source))
        })
        .collect();
    // Another column of the same line is said once.
    all.dedup_by(|next, before| next.1 == before.1);
    all.into_iter().collect()
}

fn code(plan: &LoadPlan, program: &plan::ProgramLoad, btf: Option<&Btf>) -> Vec<CodeLine> {
    let mut sources = btf.map(|btf| sources(program, btf)).unwrap_or_default();
    let starts: BTreeMap<u32, &String> = program
        .subprograms
        .iter()
        .map(|(at, name)| (*at, name))
        .collect();
    let lines = disassemble(&program.insns, &PlanNames { plan, program });
    lines
        .into_iter()
        .map(|line| {
            let at = u32::try_from(line.insn).unwrap_or(u32::MAX);
            let insn = program.insns.get(line.insn);
            CodeLine {
                instruction: line.insn,
                target: insn.and_then(|insn| target(line.insn, *insn, program.insns.len())),
                text: line.text,
                function: starts.get(&at).map(|name| (*name).clone()),
                source: sources.remove(&at),
            }
        })
        .collect()
}

impl FindingReport {
    pub(super) fn all_of(audit: &Audit) -> Vec<Self> {
        let report = |finding: &Finding| Self {
            kind: finding.kind(),
            text: finding.to_string(),
        };
        audit.findings.iter().map(report).collect()
    }
}

impl HostInfluence {
    pub(super) fn all_of(audit: &Audit) -> Vec<Self> {
        let report = |influence: &model::Influence| Self {
            instruction: influence.insn,
            what: influence.what.clone(),
        };
        audit.influences.iter().map(report).collect()
    }
}

impl ArtifactReport {
    /// With what each loader does, and what the first one installs.
    pub(super) fn in_full(mut self, artifact: &Artifact) -> Self {
        for (form, report) in artifact.forms.iter().zip(&mut self.forms) {
            let audit = model::audit(&Subject::of(artifact, form));
            report.findings = Some(FindingReport::all_of(&audit));
            report.host_influences = Some(HostInfluence::all_of(&audit));
            if self.plan.is_none() {
                let attach = |program: &ProgramLoad| attach_point(program, &artifact.interface);
                let plan = PlanReport::new(&audit.plan, Some(&audit.powers), attach);
                self.plan = Some(plan);
            }
        }
        self
    }
}

/// What a program of a loader attaches to. The target of those that are loaded for one is signed;
/// the rest is what the artifact says, which is not.
fn attach_point(program: &ProgramLoad, interface: &Interface) -> String {
    if let Some(target) = &program.attach_target {
        return target.name().unwrap_or("what its loader names").to_owned();
    }
    let is_it = |known: &&ProgramInterface| {
        known
            .name
            .chars()
            .take(15)
            .eq(program.name.chars().take(15))
    };
    match interface.programs.iter().find(is_it).map(|p| &p.attach) {
        Some(AutoAttach::RawTracepoint(name)) => format!("raw_tp/{name} (not signed)"),
        _ => "as its loader likes".to_owned(),
    }
}
