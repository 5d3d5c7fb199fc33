//! struct_ops in a plan: what programs are for, and what members of maps hold.
//!
//! Source: `bpf_map__init_kern_struct_ops` of libbpf 1.8.

use std::collections::HashMap;

use bpfseal_object::btf::Member;
use bpfseal_object::uapi;
use bpfseal_object::{Endian, MapIdx, Object, ProgramIdx, StructOps};

use super::{AttachTarget, MapAttr, MemberValue, ProgramRef, Step, StructOpsMember, StructOpsType};

/// The member that each program is for: of the first map that uses it.
pub(super) fn targets(object: &Object) -> HashMap<ProgramIdx, AttachTarget> {
    let mut all = HashMap::new();
    for map in object.maps.iter().filter_map(|map| map.struct_ops.as_ref()) {
        let members: Vec<Member> = members_of(object, map).collect();
        for (place, program) in &map.programs {
            let Some(member) = members.get(*place as usize) else {
                continue;
            };
            all.entry(*program)
                .or_insert_with(|| AttachTarget::StructOps {
                    type_name: map.type_name.clone(),
                    member: name_of(object, member),
                });
        }
    }
    all
}

pub(super) fn create(map: MapIdx, mut attr: MapAttr, struct_ops: &StructOps) -> Step {
    if struct_ops.link {
        attr.map_flags |= uapi::BPF_F_LINK;
    }
    Step::CreateStructOps {
        map,
        attr,
        value: Box::new(StructOpsType {
            section: struct_ops.section_name.clone(),
            name: struct_ops.type_name.clone(),
            btf_type_id: struct_ops.type_id.0,
        }),
    }
}

/// The members that have a value.
pub(super) fn members(
    object: &Object,
    struct_ops: &StructOps,
    program: &dyn Fn(ProgramIdx) -> ProgramRef,
) -> Vec<StructOpsMember> {
    let value = |place: usize, member: &Member| {
        let programs = &struct_ops.programs;
        if let Ok(at) = programs.binary_search_by_key(&place, |(known, _)| *known as usize) {
            return Some(MemberValue::Program(program(programs[at].1)));
        }
        if member.bit_size != 0 {
            let value = bits(struct_ops, member, object.endian)?;
            return (value != 0).then_some(MemberValue::Bits {
                width: member.bit_size,
                value,
            });
        }
        let size = object.btf.as_ref()?.resolve_size(member.type_id)?;
        let bytes = struct_ops
            .contents
            .range(member.bit_offset as usize / 8, size as usize);
        let has_value = bytes.iter().any(|byte| *byte != 0);
        has_value.then(|| MemberValue::Bytes(bytes.into_owned()))
    };
    members_of(object, struct_ops)
        .enumerate()
        .filter_map(|(place, member)| {
            Some(StructOpsMember {
                name: name_of(object, &member),
                bit_offset: member.bit_offset,
                value: value(place, &member)?,
            })
        })
        .collect()
}

/// The value of a bit-field.
fn bits(struct_ops: &StructOps, member: &Member, endian: Endian) -> Option<u64> {
    // C has no wider ones; so it lies in at most nine bytes.
    let width = Some(member.bit_size).filter(|width| *width <= u64::BITS)?;
    let offset = member.bit_offset as usize;
    let last = offset.checked_add(width as usize)?.checked_sub(1)?;
    let (first_byte, bytes) = (offset / 8, last / 8 - offset / 8 + 1);
    let bytes = struct_ops.contents.range(first_byte, bytes);
    let first_bit = (offset % 8) as u32;
    let mut wide: u128 = 0;
    match endian {
        Endian::Little => {
            for byte in bytes.iter().rev() {
                wide = wide << 8 | u128::from(*byte);
            }
            wide >>= first_bit;
        }
        Endian::Big => {
            for byte in bytes.iter() {
                wide = wide << 8 | u128::from(*byte);
            }
            // The first bit is the highest one.
            let used = u32::try_from(bytes.len()).ok()? * 8;
            wide >>= used.checked_sub(first_bit + width)?;
        }
    }
    let mask = (1_u128 << width) - 1;
    u64::try_from(wide & mask).ok()
}

fn members_of<'a>(
    object: &'a Object,
    struct_ops: &StructOps,
) -> impl Iterator<Item = Member> + use<'a> {
    let t = object.btf.as_ref().map(|btf| btf.ty(struct_ops.type_id));
    t.into_iter().flat_map(|t| t.members())
}

fn name_of(object: &Object, member: &Member) -> String {
    let name = object.btf.as_ref().and_then(|btf| btf.str(member.name_off));
    name.unwrap_or_default().to_owned()
}
