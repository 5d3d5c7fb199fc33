//! A program's instructions, with the source lines that the BTF has for them.

use std::collections::BTreeMap;

use bpfseal::loader::LoadPlan;
use bpfseal::loader::plan::ProgramLoad;
use bpfseal::model::disasm::{PlanNames, disassemble, target};
use bpfseal::object::btf::Btf;
use maud::{Markup, html};

/// A source line.
#[derive(PartialEq)]
struct Source<'a> {
    file: &'a str,
    line: u32,
    text: &'a str,
}

/// The source lines of a program, by the instruction that they stand before: records of
/// `struct bpf_line_info` are instruction, file, line, and line number and column in one word.
fn sources<'a>(program: &ProgramLoad, btf: &'a Btf) -> BTreeMap<u32, Source<'a>> {
    let record = (program.line_info.record_size / 4) as usize;
    if record < 4 {
        return BTreeMap::new();
    }
    let records = program.line_info.words.chunks_exact(record);
    let mut all: Vec<(u32, Source<'_>)> = records
        .filter_map(|words| {
            let source = Source {
                file: btf.str(words[1])?,
                line: words[3] >> 10,
                text: btf.str(words[2])?.trim(),
            };
            Some((words[0], source))
        })
        .collect();
    // Another column of the same line is said once.
    all.dedup_by(|next, before| next.1 == before.1);
    all.into_iter().collect()
}

pub(super) fn render(
    plan: &LoadPlan,
    index: usize,
    program: &ProgramLoad,
    btf: Option<&Btf>,
) -> Markup {
    let sources = btf.map(|btf| sources(program, btf)).unwrap_or_default();
    let starts: BTreeMap<u32, &str> = program
        .subprograms
        .iter()
        .map(|(at, name)| (*at, name.as_str()))
        .collect();
    let lines = disassemble(&program.insns, &PlanNames { plan, program });
    let id = |insn: usize| format!("p{index}-{insn}");
    html! {
        details.code {
            summary {
                "Instructions"
                @if !sources.is_empty() { " with source lines" }
            }
            // A line is a line of text, so that it can be copied and searched as text.
            pre tabindex="0" role="group" aria-label=(format!("Instructions of {}", program.name)) {
                @for line in &lines {
                    @let at = u32::try_from(line.insn).unwrap_or(u32::MAX);
                    @if let Some(name) = starts.get(&at) {
                        span.function { (name) ":\n" }
                    }
                    @if let Some(source) = sources.get(&at) {
                        span.source title=(format!("{}:{}", source.file, source.line)) {
                            (file_name(source.file)) ":" (source.line) "  " (source.text) "\n"
                        }
                    }
                    span.insn id=(id(line.insn)) {
                        a.at href=(format!("#{}", id(line.insn))) { (format!("{:>5}", line.insn)) }
                        " " (line.text)
                        @if let Some(to) = jump(program, line.insn) {
                            " " a href=(format!("#{}", id(to))) { "→ " (to) }
                        }
                        "\n"
                    }
                }
            }
        }
    }
}

fn jump(program: &ProgramLoad, at: usize) -> Option<usize> {
    target(at, *program.insns.get(at)?, program.insns.len())
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
