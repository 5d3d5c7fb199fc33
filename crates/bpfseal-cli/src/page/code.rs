//! A program's instructions, with the source lines that the BTF has for them.

use bpfseal::report::PlannedProgram;
use maud::{Markup, html};

pub(super) fn render(index: usize, planned: &PlannedProgram) -> Markup {
    let id = |insn: usize| format!("p{index}-{insn}");
    let has_sources = planned.code.iter().any(|line| line.source.is_some());
    html! {
        details.code {
            summary {
                "Instructions"
                @if has_sources { " with source lines" }
            }
            // A line is a line of text, so that it can be copied and searched as text.
            pre tabindex="0" role="group" aria-label=(format!("Instructions of {}", planned.program.name)) {
                @for line in &planned.code {
                    @if let Some(name) = &line.function {
                        span.function { (name) ":\n" }
                    }
                    @if let Some(source) = &line.source {
                        span.source title=(format!("{}:{}", source.file, source.line)) {
                            (file_name(&source.file)) ":" (source.line) "  " (source.text) "\n"
                        }
                    }
                    span.insn id=(id(line.instruction)) {
                        a.at href=(format!("#{}", id(line.instruction))) { (format!("{:>5}", line.instruction)) }
                        " " (line.text)
                        @if let Some(to) = line.target {
                            " " a href=(format!("#{}", id(to))) { "→ " (to) }
                        }
                        "\n"
                    }
                }
            }
        }
    }
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
