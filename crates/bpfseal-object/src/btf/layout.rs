//! Sizes and alignments of types, as C lays them out for BPF.
//!
//! Source: `btf__resolve_size` and `btf__align_of` of libbpf 1.8.

use bpfseal_uapi::limits::MAX_RESOLVE_DEPTH;

use super::{Btf, Kind, TypeId};

/// Most types that are looked at for one alignment.
const MAX_ALIGN_STEPS: u32 = 1 << 18;

impl Btf {
    /// Size of a type in bytes, following references and multiplying arrays.
    ///
    /// `None` when it has no size (`btf__resolve_size` of libbpf fails).
    #[must_use]
    pub fn resolve_size(&self, id: TypeId) -> Option<u32> {
        let mut count: u32 = 1;
        let mut t = self.get(id)?;
        for _ in 0..MAX_RESOLVE_DEPTH {
            let size = match t.kind() {
                Kind::Int
                | Kind::Struct
                | Kind::Union
                | Kind::Enum
                | Kind::Enum64
                | Kind::Datasec
                | Kind::Float => t.size(),
                Kind::Ptr => 8,
                Kind::Typedef
                | Kind::Volatile
                | Kind::Const
                | Kind::Restrict
                | Kind::Var
                | Kind::DeclTag
                | Kind::TypeTag => {
                    t = self.get(t.type_ref())?;
                    continue;
                }
                Kind::Array => {
                    count = count.checked_mul(t.array_len())?;
                    t = self.get(t.array_element())?;
                    continue;
                }
                Kind::Void | Kind::Fwd | Kind::Func | Kind::FuncProto | Kind::Unknown => {
                    return None;
                }
            };
            return size.checked_mul(count);
        }
        None
    }

    /// Alignment of a type in bytes as C lays it out for BPF; `None` when it has none.
    #[must_use]
    pub fn align_of(&self, id: TypeId) -> Option<u32> {
        self.align_within(id, MAX_RESOLVE_DEPTH, &mut { MAX_ALIGN_STEPS })
    }

    /// `steps` bounds the work: structs that hold each other several times over would otherwise
    /// be walked exponentially often.
    fn align_within(&self, id: TypeId, depth: usize, steps: &mut u32) -> Option<u32> {
        let depth = depth.checked_sub(1)?;
        *steps = steps.checked_sub(1)?;
        let t = self.get(id)?;
        match t.kind() {
            Kind::Int | Kind::Enum | Kind::Enum64 | Kind::Float => {
                Some(t.size().min(8)).filter(|&a| a > 0)
            }
            Kind::Ptr => Some(8),
            Kind::Typedef | Kind::Volatile | Kind::Const | Kind::Restrict | Kind::TypeTag => {
                self.align_within(t.type_ref(), depth, steps)
            }
            Kind::Array => self.align_within(t.array_element(), depth, steps),
            Kind::Struct | Kind::Union => {
                let mut max = 1;
                for m in t.members() {
                    let align = self.align_within(m.type_id, depth, steps)?;
                    max = max.max(align);
                    // A member off its alignment says that the struct is packed.
                    if m.bit_size == 0 && m.bit_offset % (8 * align) != 0 {
                        return Some(1);
                    }
                }
                Some(if t.size() % max == 0 { max } else { 1 })
            }
            _ => None,
        }
    }
}
