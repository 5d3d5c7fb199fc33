//! The picture: loader, maps, programs, attach points, and lines between them.
//!
//! Four columns, each centred, so that it can be laid out without a search; every box is a link to
//! the text about it, which says all that the picture does.

use bpfseal::report::PlanReport;
use maud::{Markup, html};

const BOX_WIDTH: usize = 200;
const BOX_HEIGHT: usize = 34;
const ROW: usize = 46;
const COLUMN: usize = 280;
const MARGIN: usize = 10;
/// Most characters of a name in a box.
const MAX_NAME: usize = 25;

/// A box.
struct Node {
    class: &'static str,
    name: String,
    link: String,
}

/// One of the columns.
#[derive(Clone, Copy)]
enum Column {
    Loader,
    Maps,
    Programs,
    Attach,
}

struct Layout {
    columns: [Vec<Node>; 4],
    height: usize,
}

impl Layout {
    /// The upper left corner of a box.
    fn corner(&self, column: Column, row: usize) -> (usize, usize) {
        let used = self.columns[column as usize].len() * ROW;
        let top = (self.height - used) / 2;
        (
            MARGIN + column as usize * COLUMN,
            MARGIN + top + row * ROW + (ROW - BOX_HEIGHT) / 2,
        )
    }

    /// A line from the right of one box to the left of another.
    fn line(&self, from: (Column, usize), to: (Column, usize)) -> String {
        let (x1, y1) = self.corner(from.0, from.1);
        let (x2, y2) = self.corner(to.0, to.1);
        let (x1, y1, y2) = (x1 + BOX_WIDTH, y1 + BOX_HEIGHT / 2, y2 + BOX_HEIGHT / 2);
        let middle = x1 + (x2 - x1) / 2;
        format!("M{x1} {y1}C{middle} {y1} {middle} {y2} {x2} {y2}")
    }
}

pub(super) fn render(plan: &PlanReport) -> Markup {
    let maps = &plan.maps;
    let mut attach: Vec<&String> = Vec::new();
    let mut attaches = Vec::new();
    for planned in &plan.programs {
        let point = &planned.attach;
        let known = attach.iter().position(|known| *known == point);
        attaches.push(known.unwrap_or_else(|| {
            attach.push(point);
            attach.len() - 1
        }));
    }
    let programs = plan.programs.iter().enumerate();
    let programs: Vec<Node> = programs
        .map(|(index, planned)| Node {
            class: "program",
            name: planned.program.name.clone(),
            link: format!("#program-{index}"),
        })
        .collect();
    let columns = [
        vec![Node {
            class: "loader",
            name: "loader".to_owned(),
            link: "#steps".to_owned(),
        }],
        maps.iter()
            .map(|planned| Node {
                class: "map",
                name: planned.map.name.clone(),
                link: format!("#map-{}", planned.index),
            })
            .collect(),
        programs,
        // An attach point is described where the first program that has it is.
        attach
            .iter()
            .enumerate()
            .map(|(point, name)| Node {
                class: "attach",
                name: (*name).clone(),
                link: format!(
                    "#program-{}",
                    attaches.iter().position(|p| *p == point).unwrap_or(0)
                ),
            })
            .collect(),
    ];
    let height = columns.iter().map(Vec::len).max().unwrap_or(0) * ROW;
    let layout = Layout { columns, height };
    let mut lines = Vec::new();
    for row in 0..maps.len() {
        lines.push(layout.line((Column::Loader, 0), (Column::Maps, row)));
    }
    for (row, planned) in plan.programs.iter().enumerate() {
        let uses = planned.map_indexes.iter();
        let used = uses.filter_map(|place| maps.iter().position(|map| map.index == *place));
        let used: Vec<usize> = used.collect();
        if used.is_empty() {
            lines.push(layout.line((Column::Loader, 0), (Column::Programs, row)));
        }
        for map in used {
            lines.push(layout.line((Column::Maps, map), (Column::Programs, row)));
        }
        if let Some(point) = attaches.get(row) {
            lines.push(layout.line((Column::Programs, row), (Column::Attach, *point)));
        }
    }
    draw(&layout, &lines)
}

fn draw(layout: &Layout, lines: &[String]) -> Markup {
    let width = 2 * MARGIN + 3 * COLUMN + BOX_WIDTH;
    let height = layout.height + 2 * MARGIN;
    let columns = [
        Column::Loader,
        Column::Maps,
        Column::Programs,
        Column::Attach,
    ];
    html! {
        svg xmlns="http://www.w3.org/2000/svg" viewBox=(format!("0 0 {width} {height}"))
            width=(width) height=(height) role="group" aria-label="Loader, maps, programs, attach points" {
            g.lines aria-hidden="true" {
                @for line in lines { path d=(line) {} }
            }
            @for column in columns {
                @for (row, node) in layout.columns[column as usize].iter().enumerate() {
                    @let (x, y) = layout.corner(column, row);
                    a.(node.class) href=(node.link) {
                        title { (node.class) " " (node.name) }
                        rect x=(x) y=(y) width=(BOX_WIDTH) height=(BOX_HEIGHT) rx="6" {}
                        text x=(x + BOX_WIDTH / 2) y=(y + BOX_HEIGHT / 2) { (short(&node.name)) }
                    }
                }
            }
        }
    }
}

/// A name that fits into a box.
fn short(name: &str) -> String {
    if name.chars().count() <= MAX_NAME {
        return name.to_owned();
    }
    let start: String = name.chars().take(MAX_NAME - 1).collect();
    format!("{start}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_cut() {
        assert_eq!(short("counts"), "counts");
        let cut = short("fentry/__x64_sys_getpgid_and_more");
        assert_eq!(cut.chars().count(), MAX_NAME);
        assert!(cut.ends_with('…'));
    }
}
