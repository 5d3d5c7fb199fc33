//! The second pass over the types: each is followed to what it stands for (`btf_check_all_types`).
//!
//! The kernel walks with a stack of 32 types. Where a walk ends is decided by what it began with:
//! behind a pointer a struct ends it, inside of a struct a pointer does. So a struct can hold a
//! pointer to itself, and no type can hold itself.

use bpfseal_uapi::{Errno, btf_kind, limits};

use super::member::InStruct;
use super::refused::BtfRefused;
use super::types::{Resolved, Type, Types};

/// How far a type is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Visit {
    Not,
    Begun,
    Resolved,
}

/// What ends a walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    ToBeDetermined,
    Pointer,
    Composite,
}

/// A type on the stack.
#[derive(Debug, Clone, Copy)]
struct Vertex {
    id: u32,
    of: Type,
    next_member: u32,
}

/// Why a step does not go on.
enum Stop {
    /// The stack is full, or the type is on it already: said of the type that the walk began with.
    Push(Errno),
    Refused(Box<BtfRefused>),
}

impl From<BtfRefused> for Stop {
    fn from(refused: BtfRefused) -> Self {
        Self::Refused(Box::new(refused))
    }
}

/// Follows every type.
pub(super) fn check(types: &mut Types) -> Result<(), BtfRefused> {
    let count = types.len() as usize;
    types.resolved = vec![Resolved::default(); count];
    let mut walk = Walk {
        visits: vec![Visit::Not; count],
        types,
        stack: Vec::with_capacity(limits::MAX_RESOLVE_DEPTH),
        mode: Mode::ToBeDetermined,
    };
    for id in 1..walk.types.len() {
        let Some(of) = walk.types.get(id) else { break };
        if of.needs_resolving() && !walk.is_resolved(id) {
            walk.resolve(id, of)?;
        }
        if of.kind == btf_kind::FUNC_PROTO {
            walk.prototype(id, of)?;
        }
    }
    Ok(())
}

struct Walk<'t> {
    types: &'t mut Types,
    visits: Vec<Visit>,
    stack: Vec<Vertex>,
    mode: Mode,
}

impl Walk<'_> {
    fn is_resolved(&self, id: u32) -> bool {
        self.visits.get(id as usize) == Some(&Visit::Resolved)
    }

    /// `env_type_is_resolve_sink`.
    fn is_sink(&self, of: Type) -> bool {
        match self.mode {
            Mode::ToBeDetermined => !of.needs_resolving(),
            Mode::Pointer => !of.is_modifier() && of.kind != btf_kind::PTR,
            Mode::Composite => {
                !of.is_modifier() && of.kind != btf_kind::ARRAY && !of.is_composite()
            }
        }
    }

    /// Whether the walk has to go there first.
    fn is_open(&self, id: u32, of: Type) -> bool {
        !self.is_sink(of) && !self.is_resolved(id)
    }

    /// `env_stack_push`.
    fn push(&mut self, id: u32, of: Type) -> Result<(), Stop> {
        if self.stack.len() == limits::MAX_RESOLVE_DEPTH {
            return Err(Stop::Push(Errno::E2BIG));
        }
        match self.visits.get_mut(id as usize) {
            Some(visit @ Visit::Not) => *visit = Visit::Begun,
            _ => return Err(Stop::Push(Errno::EEXIST)),
        }
        self.stack.push(Vertex {
            id,
            of,
            next_member: 0,
        });
        if self.mode == Mode::ToBeDetermined {
            if of.kind == btf_kind::PTR {
                self.mode = Mode::Pointer;
            } else if of.is_composite() || of.kind == btf_kind::ARRAY {
                self.mode = Mode::Composite;
            }
        }
        Ok(())
    }

    fn set_next_member(&mut self, next: u32) {
        if let Some(top) = self.stack.last_mut() {
            top.next_member = next;
        }
    }

    /// `env_stack_pop_resolved`.
    fn pop(&mut self, id: u32, size: u32) {
        if let Some(top) = self.stack.pop() {
            self.types.resolved[top.id as usize] = Resolved { id, size };
            self.visits[top.id as usize] = Visit::Resolved;
        }
    }

    /// `btf_resolve`.
    fn resolve(&mut self, id: u32, of: Type) -> Result<(), BtfRefused> {
        self.mode = Mode::ToBeDetermined;
        self.stack.clear();
        let mut done = self.push(id, of);
        while let (Ok(()), Some(top)) = (&done, self.stack.last().copied()) {
            done = self.step(top);
        }
        match done {
            Ok(()) => {}
            Err(Stop::Refused(refused)) => return Err(*refused),
            Err(Stop::Push(errno)) => {
                let what = match errno {
                    Errno::E2BIG => "Exceeded max resolving depth:32",
                    _ => "Loop detected",
                };
                return Err(self.types.refuse(id, of, errno, what));
            }
        }
        if !self.is_sound(id, of) {
            let what = "Invalid resolve state";
            return Err(self.types.refuse(id, of, Errno::EINVAL, what));
        }
        Ok(())
    }

    /// `btf_resolve_valid`.
    fn is_sound(&self, id: u32, of: Type) -> bool {
        if !self.is_resolved(id) {
            return false;
        }
        let resolved = self.types.resolved(id);
        if of.is_composite() || of.kind == btf_kind::DATASEC {
            return resolved.id == 0 && resolved.size == 0;
        }
        match of.kind {
            btf_kind::DECL_TAG | btf_kind::FUNC => resolved.id != 0 && resolved.size == 0,
            btf_kind::ARRAY => {
                let count = self.types.extra(of, 2);
                let element = self.types.sized(self.types.extra(of, 0));
                element.is_some_and(|(_, of, size)| {
                    !of.is_modifier() && count.wrapping_mul(size) == resolved.size
                })
            }
            _ => self.types.get(resolved.id).is_some_and(|of| {
                !of.is_modifier() && of.kind != btf_kind::VAR && of.kind != btf_kind::DATASEC
            }),
        }
    }

    fn step(&mut self, top: Vertex) -> Result<(), Stop> {
        match top.of.kind {
            btf_kind::PTR => self.reference(top, true),
            btf_kind::ARRAY => self.array(top),
            btf_kind::STRUCT | btf_kind::UNION => self.composite(top),
            btf_kind::VAR => self.variable(top),
            btf_kind::DATASEC => self.section(top),
            btf_kind::DECL_TAG => self.declaration_tag(top),
            btf_kind::FUNC => self.function(top),
            // Only what needs to be resolved gets onto the stack.
            _ => self.reference(top, false),
        }
    }

    fn fail(&self, top: Vertex, what: &str) -> Result<(), Stop> {
        let refused = self.types.refuse(top.id, top.of, Errno::EINVAL, what);
        Err(refused.into())
    }

    /// The type that another refers to.
    fn target(&self, top: Vertex) -> Result<(u32, Type), Stop> {
        let id = top.of.word;
        match self.types.get(id).filter(|of| !of.is_source_only()) {
            Some(of) => Ok((id, of)),
            None => {
                let what = "Invalid type_id";
                let refused = self.types.refuse(top.id, top.of, Errno::EINVAL, what);
                Err(refused.into())
            }
        }
    }

    /// The pointer behind a modifier, if the walk has to go there: the modifier may have been
    /// followed only up to it.
    fn last_pointer(&self, of: Type, id: u32) -> Option<(u32, Type)> {
        if !of.is_modifier() {
            return None;
        }
        let id = self.types.resolved(id).id;
        let of = self.types.get(id)?;
        (of.kind == btf_kind::PTR && self.is_open(id, of)).then_some((id, of))
    }

    /// `btf_modifier_resolve`, `btf_ptr_resolve`.
    fn reference(&mut self, top: Vertex, is_pointer: bool) -> Result<(), Stop> {
        let (id, of) = self.target(top)?;
        if self.is_open(id, of) {
            return self.push(id, of);
        }
        if is_pointer && let Some((id, of)) = self.last_pointer(of, id) {
            return self.push(id, of);
        }
        if let Some((id, _, _)) = self.types.sized(id) {
            self.pop(id, 0);
            return Ok(());
        }
        let (mut id, mut of) = (id, Some(of));
        if self.is_resolved(id) {
            id = self.types.resolved(id).id;
            of = self.types.get(id);
        }
        let is_known =
            |of: Type| of.is_void() || of.kind == btf_kind::FWD || of.kind == btf_kind::FUNC_PROTO;
        if !of.is_some_and(is_known) {
            return self.fail(top, "Invalid type_id");
        }
        self.pop(id, 0);
        Ok(())
    }

    fn variable(&mut self, top: Vertex) -> Result<(), Stop> {
        let (id, of) = self.target(top)?;
        if self.is_open(id, of) {
            return self.push(id, of);
        }
        if let Some((id, of)) = self.last_pointer(of, id) {
            return self.push(id, of);
        }
        match self.types.sized(id) {
            Some((id, _, _)) => self.pop(id, 0),
            None => return self.fail(top, "Invalid type_id"),
        }
        Ok(())
    }

    fn array(&mut self, top: Vertex) -> Result<(), Stop> {
        let [element, index, count] = [0, 1, 2].map(|word| self.types.extra(top.of, word));
        let is_held = |of: &Type| !of.is_sizeless() && !of.is_source_only();
        let Some(of) = self.types.get(index).filter(is_held) else {
            return self.fail(top, "Invalid index");
        };
        if self.is_open(index, of) {
            return self.push(index, of);
        }
        let is_int = |of: Type| of.kind == btf_kind::INT && self.types.is_regular_int(of, None);
        if !self.types.sized(index).is_some_and(|(_, of, _)| is_int(of)) {
            return self.fail(top, "Invalid index");
        }
        let Some(of) = self.types.get(element).filter(is_held) else {
            return self.fail(top, "Invalid elem");
        };
        if self.is_open(element, of) {
            return self.push(element, of);
        }
        let Some((id, of, size)) = self.types.sized(element) else {
            return self.fail(top, "Invalid elem");
        };
        if of.kind == btf_kind::INT && !self.types.is_regular_int(of, None) {
            return self.fail(top, "Invalid array of int");
        }
        if count != 0 && size > u32::MAX / count {
            return self.fail(top, "Array size overflows U32_MAX");
        }
        self.pop(id, size * count);
        Ok(())
    }

    fn composite(&mut self, top: Vertex) -> Result<(), Stop> {
        let check = |walk: &Self, index: u32| {
            InStruct {
                types: walk.types,
                id: top.id,
                of: top.of,
                index,
            }
            .check()
        };
        if let Some(last) = top.next_member.checked_sub(1) {
            check(self, last)?;
        }
        for index in top.next_member..top.of.vlen {
            let id = self.types.member(top.of, index).type_id;
            let is_held = |of: &Type| !of.is_sizeless() && !of.is_source_only();
            let Some(of) = self.types.get(id).filter(is_held) else {
                let what = "Invalid member";
                let refused = self.types.refuse_member(top.id, top.of, index, what);
                return Err(refused.into());
            };
            if self.is_open(id, of) {
                self.set_next_member(index + 1);
                return self.push(id, of);
            }
            check(self, index)?;
        }
        self.pop(0, 0);
        Ok(())
    }

    fn section(&mut self, top: Vertex) -> Result<(), Stop> {
        self.mode = Mode::ToBeDetermined;
        for index in top.next_member..top.of.vlen {
            let fail = |walk: &Self, what: &str| {
                let refused = walk.types.refuse_variable(top.id, top.of, index, what);
                Err(Stop::from(refused))
            };
            let (id, _, size) = self.types.variable(top.of, index);
            let of = self.types.get(id).filter(|of| of.kind == btf_kind::VAR);
            let Some(of) = of else {
                return fail(self, "Not a VAR kind member");
            };
            if self.is_open(id, of) {
                self.set_next_member(index + 1);
                return self.push(id, of);
            }
            match self.types.sized(of.word) {
                None => return fail(self, "Invalid type"),
                Some((_, _, needed)) if size < needed => return fail(self, "Invalid size"),
                Some(_) => {}
            }
        }
        self.pop(0, 0);
        Ok(())
    }

    fn declaration_tag(&mut self, top: Vertex) -> Result<(), Stop> {
        let id = top.of.word;
        let can_be_tagged = |of: &Type| {
            of.is_composite()
                || matches!(of.kind, btf_kind::FUNC | btf_kind::VAR | btf_kind::TYPEDEF)
        };
        let Some(of) = self.types.get(id).filter(can_be_tagged) else {
            return self.fail(top, "Invalid type_id");
        };
        if self.is_open(id, of) {
            return self.push(id, of);
        }
        let component = self.types.extra(top.of, 0);
        if component != u32::MAX {
            let count = match of.kind {
                btf_kind::VAR | btf_kind::TYPEDEF => 0,
                btf_kind::FUNC => self.types.get(of.word).map_or(0, |of| of.vlen),
                _ => of.vlen,
            };
            if component >= count {
                return self.fail(top, "Invalid component_idx");
            }
        }
        self.pop(id, 0);
        Ok(())
    }

    /// `btf_func_resolve`.
    fn function(&mut self, top: Vertex) -> Result<(), Stop> {
        let id = top.of.word;
        let of = self.types.get(id);
        let Some(of) = of.filter(|of| of.kind == btf_kind::FUNC_PROTO) else {
            return self.fail(top, "Invalid type_id");
        };
        for index in 0..of.vlen {
            let (name, type_id) = self.types.parameter(of, index);
            if name == 0 && type_id != 0 {
                return self.fail(top, &format!("Invalid arg#{}", index + 1));
            }
        }
        self.pop(id, 0);
        Ok(())
    }

    /// `btf_func_proto_check`.
    fn prototype(&mut self, id: u32, of: Type) -> Result<(), BtfRefused> {
        let fail = |walk: &Self, what: &str| {
            let types = &walk.types;
            Err(types.refuse(id, of, Errno::EINVAL, what))
        };
        let fail_parameter = |walk: &Self, index: u32| {
            let (name, _) = walk.types.parameter(of, index);
            let what = format!("Invalid arg#{}", index + 1);
            let mut refused = walk.types.refuse(id, of, Errno::EINVAL, &what);
            if let Some(at) = &mut refused.at {
                let name = String::from_utf8_lossy(walk.types.name(name)).into_owned();
                at.member = Some((index, name));
            }
            Err(refused)
        };
        if of.word != 0 {
            let returned = self.types.get(of.word);
            let Some(returned) = returned.filter(|of| !of.is_source_only()) else {
                return fail(self, "Invalid return type");
            };
            if returned.needs_resolving() && !self.is_resolved(of.word) {
                self.resolve(of.word, returned)?;
            }
            if self.types.sized(of.word).is_none() {
                return fail(self, "Invalid return type");
            }
        }
        let mut count = of.vlen;
        if count > 0 {
            let (name, type_id) = self.types.parameter(of, count - 1);
            // Any more arguments.
            if type_id == 0 {
                if name != 0 {
                    return fail_parameter(self, count - 1);
                }
                count -= 1;
            }
        }
        for index in 0..count {
            let (name, type_id) = self.types.parameter(of, index);
            let taken = self.types.get(type_id).filter(|of| !of.is_source_only());
            let Some(taken) = taken else {
                return fail_parameter(self, index);
            };
            let is_name = |name| {
                self.types.has_name(name)
                    && crate::names::check_identifier(self.types.name(name)).is_ok()
            };
            if name != 0 && !is_name(name) {
                return fail_parameter(self, index);
            }
            if taken.needs_resolving() && !self.is_resolved(type_id) {
                self.resolve(type_id, taken)?;
            }
            if self.types.sized(type_id).is_none() {
                return fail_parameter(self, index);
            }
        }
        Ok(())
    }
}
