//! The modules of a crate, and which file uses which.
//!
//! A module's text is read for `mod`, `use` and paths; that is no name resolution of a compiler,
//! but knows what the imports of this project need: re-exports, globs, `super` and inline modules.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::tokens::{At, Token, tokens};

/// A use of one file by another: the file that is used, and a line that uses it.
pub(super) type Uses = BTreeMap<(String, String), usize>;

/// A module: a file, or a part of one.
#[derive(Debug, Default)]
struct Module<'a> {
    /// The file that it stands in.
    file: String,
    parent: Option<usize>,
    children: BTreeMap<&'a str, usize>,
    /// Names of items that are defined here.
    items: HashSet<&'a str>,
    imports: Vec<Import<'a>>,
    /// Paths outside of imports, each with its line.
    paths: Vec<(Vec<&'a str>, usize)>,
    /// Words outside of imports.
    words: HashSet<&'a str>,
}

/// One name that a `use` brings.
#[derive(Debug)]
struct Import<'a> {
    path: Vec<&'a str>,
    /// What it is called here; `None` for `*`.
    name: Option<&'a str>,
    exported: bool,
    line: usize,
}

/// What a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    /// A module, by its index.
    Module(usize),
    /// An item that is defined in a module.
    Item(usize),
}

/// The modules of one crate.
#[derive(Debug, Default)]
pub(super) struct Crate<'a> {
    modules: Vec<Module<'a>>,
}

impl<'a> Crate<'a> {
    /// Reads a crate from its files by their paths, beginning with its root (`src/lib.rs`).
    pub(super) fn new(root: &str, files: &'a BTreeMap<String, String>) -> Self {
        let mut all = Self::default();
        all.file(root.to_owned(), None, files);
        all
    }

    fn file(
        &mut self,
        file: String,
        parent: Option<usize>,
        files: &'a BTreeMap<String, String>,
    ) -> usize {
        let index = self.module(file.clone(), parent);
        let Some(source) = files.get(&file) else {
            return index;
        };
        let tokens = tokens(source);
        let declared = self.read(index, &tokens);
        let folder = folder_of(&file);
        for (module, name) in declared {
            // Files of modules that stand inside of this file's modules are in folders of those.
            let mut folder = folder.clone();
            for part in self.names_below(index, module) {
                folder.push_str(part);
                folder.push('/');
            }
            let candidates = [
                format!("{folder}{name}.rs"),
                format!("{folder}{name}/mod.rs"),
            ];
            if let Some(found) = candidates.into_iter().find(|path| files.contains_key(path)) {
                let child = self.file(found, Some(module), files);
                self.modules[module].children.insert(name, child);
            }
        }
        index
    }

    fn module(&mut self, file: String, parent: Option<usize>) -> usize {
        self.modules.push(Module {
            file,
            parent,
            ..Module::default()
        });
        self.modules.len() - 1
    }

    fn names_below(&self, top: usize, mut module: usize) -> Vec<&'a str> {
        let mut names = Vec::new();
        while module != top {
            let Some(parent) = self.modules[module].parent else {
                break;
            };
            let children = self.modules[parent].children.iter();
            names.extend(children.filter(|(_, at)| **at == module).map(|(n, _)| *n));
            module = parent;
        }
        names.reverse();
        names
    }

    /// Reads the tokens of a file; returns the modules that it declares in other files.
    fn read(&mut self, top: usize, tokens: &[At<'a>]) -> Vec<(usize, &'a str)> {
        let mut declared = Vec::new();
        // Where we are: the module, or `None` for the braces of anything else.
        let mut open: Vec<Option<usize>> = Vec::new();
        let mut exported = false;
        let mut at = 0;
        while let Some(&(token, line)) = tokens.get(at) {
            let module = open.iter().rev().find_map(|o| *o).unwrap_or(top);
            let in_module = open.last().is_none_or(Option::is_some);
            let next = |ahead: usize| tokens.get(at + ahead).map(|t| t.0);
            match token {
                Token::Word("mod") if in_module => {
                    if let Some(Token::Word(name)) = next(1) {
                        if next(2) == Some(Token::Sign('{')) {
                            let file = self.modules[module].file.clone();
                            let child = self.module(file, Some(module));
                            self.modules[module].children.insert(name, child);
                            open.push(Some(child));
                        } else {
                            declared.push((module, name));
                        }
                        at += 3;
                        exported = false;
                        continue;
                    }
                }
                Token::Word("use") => {
                    at = self.import(module, tokens, at + 1, exported && in_module);
                    exported = false;
                    continue;
                }
                Token::Word("pub") => {
                    exported = true;
                    // `pub(crate)`, `pub(in …)`
                    if next(1) == Some(Token::Sign('(')) {
                        while tokens.get(at).is_some_and(|t| t.0 != Token::Sign(')')) {
                            at += 1;
                        }
                    }
                    at += 1;
                    continue;
                }
                Token::Sign('{') => open.push(None),
                Token::Sign('}') => drop(open.pop()),
                Token::Word(
                    "fn" | "struct" | "enum" | "trait" | "type" | "const" | "static" | "union",
                ) if in_module => {
                    if let Some(Token::Word(name)) = next(1) {
                        self.modules[module].items.insert(name);
                    }
                }
                Token::Word("macro_rules") => {
                    if let Some(Token::Word(name)) = next(2) {
                        self.modules[module].items.insert(name);
                    }
                }
                Token::Word(word) => {
                    let mut path = vec![word];
                    // What a path of another crate, or a method of a type, goes on with is none of
                    // ours.
                    let begins = at == 0 || tokens[at - 1].0 != Token::Path;
                    while begins && tokens.get(at + 1).is_some_and(|t| t.0 == Token::Path) {
                        let Some((Token::Word(part), _)) = tokens.get(at + 2) else {
                            break;
                        };
                        path.push(part);
                        at += 2;
                    }
                    self.modules[module].words.extend(&path);
                    if path.len() > 1 {
                        self.modules[module].paths.push((path, line));
                    }
                }
                _ => {}
            }
            if !matches!(token, Token::Word("unsafe" | "async" | "extern")) {
                exported = false;
            }
            at += 1;
        }
        declared
    }

    /// Reads the tree of a `use`, to its `;`.
    fn import(&mut self, module: usize, tokens: &[At<'a>], mut at: usize, exported: bool) -> usize {
        let mut path: Vec<&'a str> = Vec::new();
        // How long the path was before each open brace.
        let mut open: Vec<usize> = Vec::new();
        let mut renamed = None;
        // `::name` is another crate's.
        let mut foreign = tokens.get(at).is_some_and(|t| t.0 == Token::Path);
        let mut complete = |path: &mut Vec<&'a str>, renamed: Option<&'a str>, line| {
            if let (Some(last), false) = (path.last().copied(), foreign) {
                let name = match (renamed, last) {
                    (Some(name), _) => Some(name),
                    (None, "*") => None,
                    (None, "self") => path.iter().rev().nth(1).copied(),
                    (None, name) => Some(name),
                };
                let mut path = path.clone();
                if path.len() > 1 && ["self", "*"].contains(&last) {
                    path.pop();
                }
                self.modules[module].imports.push(Import {
                    path,
                    name,
                    exported,
                    line,
                });
            }
            foreign = false;
        };
        while let Some(&(token, line)) = tokens.get(at) {
            at += 1;
            match token {
                Token::Word("as") => {
                    if let Some(&(Token::Word(name), _)) = tokens.get(at) {
                        renamed = Some(name);
                        at += 1;
                    }
                }
                Token::Word(word) => path.push(word),
                Token::Sign('*') => path.push("*"),
                Token::Sign('{') => open.push(path.len()),
                Token::Sign(sign @ (',' | '}' | ';')) => {
                    let before = open.last().copied().unwrap_or(0);
                    if path.len() > before {
                        complete(&mut path, renamed.take(), line);
                    }
                    path.truncate(before);
                    if sign == '}' {
                        open.pop();
                        // What is behind the braces was part of the tree.
                        let before = open.last().copied().unwrap_or(0);
                        path.truncate(before);
                    }
                    if sign == ';' {
                        break;
                    }
                }
                _ => {}
            }
        }
        at
    }

    /// Which file uses which.
    ///
    /// A name that comes through a re-export is a use of the file that defines it. A re-export is
    /// no use by the file that it stands in, unless the name occurs in that file besides.
    pub(super) fn uses(&self) -> Uses {
        let mut uses = Uses::new();
        for (index, module) in self.modules.iter().enumerate() {
            let mut add = |target: Option<Target>, line: usize| {
                let Some(Target::Module(target) | Target::Item(target)) = target else {
                    return;
                };
                let used = &self.modules[target].file;
                if *used != module.file {
                    let edge = (module.file.clone(), used.clone());
                    uses.entry(edge).or_insert(line);
                }
            };
            for import in &module.imports {
                let named = import.name.is_some_and(|name| module.words.contains(name));
                if import.exported && !named {
                    continue;
                }
                add(
                    self.resolve(index, &import.path, &mut Vec::new()),
                    import.line,
                );
            }
            for (path, line) in &module.paths {
                add(self.resolve(index, path, &mut Vec::new()), *line);
            }
        }
        uses
    }

    /// Where a path leads to; `None` for one out of this crate.
    fn resolve(
        &self,
        module: usize,
        path: &[&'a str],
        seen: &mut Vec<(usize, &'a str)>,
    ) -> Option<Target> {
        let (first, mut rest) = path.split_first()?;
        let mut at = match *first {
            "crate" => 0,
            "self" => module,
            "super" => self.modules[module].parent?,
            name => match self.name(module, name, seen)? {
                Target::Module(found) => found,
                item @ Target::Item(_) => return Some(item),
            },
        };
        while let Some((name, behind)) = rest.split_first() {
            if *name == "super" {
                at = self.modules[at].parent?;
            } else {
                match self.name(at, name, seen) {
                    Some(Target::Module(found)) => at = found,
                    found => return found,
                }
            }
            rest = behind;
        }
        Some(Target::Module(at))
    }

    /// What a name is in a module.
    fn name(&self, at: usize, name: &'a str, seen: &mut Vec<(usize, &'a str)>) -> Option<Target> {
        let module = &self.modules[at];
        if seen.contains(&(at, name)) {
            return None;
        }
        seen.push((at, name));
        if let Some(child) = module.children.get(name) {
            return Some(Target::Module(*child));
        }
        if module.items.contains(name) {
            return Some(Target::Item(at));
        }
        let mut named = module.imports.iter().filter(|i| i.name == Some(name));
        if let Some(import) = named.next() {
            return self.resolve(at, &import.path, seen);
        }
        for glob in module.imports.iter().filter(|i| i.name.is_none()) {
            let target = self.resolve(at, &glob.path, seen);
            if let Some(Target::Module(found)) = target
                && let Some(target) = self.name(found, name, seen)
            {
                return Some(target);
            }
        }
        None
    }

    /// The files that were read.
    pub(super) fn files(&self) -> BTreeSet<&str> {
        self.modules.iter().map(|m| m.file.as_str()).collect()
    }
}

/// Where the files of a file's modules are: beside `lib.rs`, `main.rs` and `mod.rs`, and in a
/// folder called like any other.
fn folder_of(file: &str) -> String {
    let (folder, name) = match file.rsplit_once('/') {
        Some((folder, name)) => (format!("{folder}/"), name),
        None => (String::new(), file),
    };
    match name.strip_suffix(".rs") {
        Some("lib" | "main" | "mod") | None => folder,
        Some(stem) => format!("{folder}{stem}/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(files: &[(&str, &str)], expect: &[(&str, &str)]) {
        let files = files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
            .collect();
        let uses = Crate::new("lib.rs", &files).uses();
        let found: Vec<_> = uses.keys().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        assert_eq!(found, expect);
    }

    #[test]
    fn imports_and_paths_are_uses() {
        check(
            &[
                ("lib.rs", "mod a; mod b; mod c;"),
                ("a.rs", "use crate::b::{B, self}; fn f() { crate::c::g() }"),
                ("b.rs", "pub struct B; fn f(x: super::c::C) {}"),
                ("c.rs", "pub fn g() {} /// crate::a\npub struct C;"),
            ],
            &[("a.rs", "b.rs"), ("a.rs", "c.rs"), ("b.rs", "c.rs")],
        );
    }

    #[test]
    fn a_re_export_leads_to_where_the_name_is_defined() {
        check(
            &[
                ("lib.rs", "mod a; mod b; pub use b::B;"),
                ("a.rs", "use crate::B;"),
                ("b/mod.rs", "mod deep; pub use deep::*;"),
                ("b/deep.rs", "pub struct B;"),
            ],
            &[("a.rs", "b/deep.rs")],
        );
        // One that is used where it stands is a use.
        check(
            &[
                ("lib.rs", "mod b; pub use b::B; fn f() -> B { B }"),
                ("b.rs", "pub struct B;"),
            ],
            &[("lib.rs", "b.rs")],
        );
    }

    #[test]
    fn what_a_parent_defines_is_the_parents() {
        check(
            &[
                ("lib.rs", "mod a; use a::A; pub fn hex() { A }"),
                ("a.rs", "pub struct A; fn f() { super::hex() }"),
            ],
            &[("a.rs", "lib.rs"), ("lib.rs", "a.rs")],
        );
    }

    #[test]
    fn modules_inside_of_files_are_the_files() {
        check(
            &[
                ("lib.rs", "mod a; mod b;"),
                (
                    "a.rs",
                    "mod key { pub(super) use crate::b::K; pub const L: u8 = K; } use self::key::K;",
                ),
                ("b.rs", "pub const K: u8 = 1;"),
            ],
            &[("a.rs", "b.rs")],
        );
    }

    #[test]
    fn modules_by_the_name_that_they_were_imported_by() {
        check(
            &[
                ("lib.rs", "mod a; mod b; mod c;"),
                ("a.rs", "use crate::b; fn f() { b::read::g() }"),
                ("b/mod.rs", "pub mod read;"),
                ("b/read.rs", "pub fn g() {}"),
                ("c.rs", "use other::b; use ::b::x; fn f() { b::read::g() }"),
            ],
            &[("a.rs", "b/mod.rs"), ("a.rs", "b/read.rs")],
        );
    }

    #[test]
    fn tests_do_not_count() {
        check(
            &[
                ("lib.rs", "mod a; mod b;"),
                ("a.rs", "#[cfg(test)] mod tests { use crate::b::B; }"),
                ("b.rs", "pub struct B;"),
            ],
            &[],
        );
    }
}
