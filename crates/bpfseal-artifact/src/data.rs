//! Global data that a skeleton gives to its users: which maps, which variables, which values.

use bpfseal_loader::LoadPlan;
use bpfseal_loader::plan::Step;
use bpfseal_object::btf::{Kind, Type};
use bpfseal_object::uapi::{self, map as map_type};
use bpfseal_object::{Contents, Map, MapIdx, Object};

use crate::ident::{map_ident, section_ident};

/// Global data that the skeleton maps into the user's process.
#[derive(Debug)]
pub(crate) struct DataSection<'a> {
    /// Name of the member.
    pub(crate) ident: String,
    pub(crate) map: &'a Map,
    pub(crate) index: MapIdx,
    /// Bytes of the mapping before they are rounded to whole pages.
    pub(crate) size: u64,
    /// What the map starts with.
    pub(crate) value: Contents,
    pub(crate) percpu: bool,
    pub(crate) read_only: bool,
    /// The BTF section that describes the variables.
    pub(crate) variables: Option<Type<'a>>,
}

/// The sections of an object, in the order of its maps.
pub(crate) fn data_sections<'a>(object: &'a Object, plan: &'a LoadPlan) -> Vec<DataSection<'a>> {
    // A skeleton of an object without BTF has no typed data.
    let Some(btf) = &object.btf else {
        return Vec::new();
    };
    let described: Vec<(String, Type<'a>)> = btf
        .types()
        .filter(|t| t.kind() == Kind::Datasec)
        .filter_map(|t| Some((section_ident(t.name())?, t)))
        .collect();
    let section = |(index, map): (usize, &'a Map)| {
        map.data.as_ref()?;
        let percpu = map.def.map_type == map_type::PERCPU_ARRAY;
        let mapped = map.def.map_flags & uapi::BPF_F_MMAPABLE != 0
            || (percpu && !map.def.btf_value.is_void());
        if !mapped {
            return None;
        }
        let ident = map_ident(map);
        let rounded = u64::from(map.def.value_size).next_multiple_of(8);
        let index = MapIdx(u32::try_from(index).ok()?);
        Some(DataSection {
            map,
            index,
            size: rounded * u64::from(map.def.max_entries.max(1)),
            value: seed(plan, index),
            percpu,
            read_only: map.def.map_flags & uapi::BPF_F_RDONLY_PROG != 0,
            variables: described
                .iter()
                .find(|(name, _)| *name == ident)
                .map(|(_, t)| *t),
            ident,
        })
    };
    object.maps.iter().enumerate().filter_map(section).collect()
}

/// The value that the plan gives to a map of global data.
fn seed(plan: &LoadPlan, index: MapIdx) -> Contents {
    plan.steps
        .iter()
        .find_map(|step| match step {
            Step::SeedMap { map, value, .. } if *map == index => Some(value.clone()),
            _ => None,
        })
        .unwrap_or_else(|| Contents::zeroes(0))
}
