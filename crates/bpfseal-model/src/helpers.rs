//! Which helpers reach beyond a program's own maps.

use bpfseal_uapi::{Helper, helper};

/// What a helper can do to the rest of the system, if it is more than to look at it.
#[must_use]
pub fn helper_power(of: Helper) -> Option<&'static str> {
    Some(match of {
        helper::PROBE_WRITE_USER => "writes the memory of user processes",
        helper::OVERRIDE_RETURN => "makes kernel functions return what it wants",
        helper::SEND_SIGNAL | helper::SEND_SIGNAL_THREAD => "sends signals to processes",
        helper::SYS_BPF => "makes calls of bpf(2)",
        helper::COPY_FROM_USER | helper::COPY_FROM_USER_TASK => {
            "reads the memory of user processes"
        }
        helper::PROBE_READ
        | helper::PROBE_READ_STR
        | helper::PROBE_READ_KERNEL
        | helper::PROBE_READ_KERNEL_STR => "reads any kernel memory",
        helper::PROBE_READ_USER | helper::PROBE_READ_USER_STR => {
            "reads the memory of the current process"
        }
        helper::KALLSYMS_LOOKUP_NAME => "finds addresses of kernel symbols",
        helper::SKB_STORE_BYTES
        | helper::XDP_STORE_BYTES
        | helper::XDP_ADJUST_HEAD
        | helper::XDP_ADJUST_TAIL
        | helper::SKB_CHANGE_HEAD
        | helper::SKB_CHANGE_TAIL
        | helper::SKB_CHANGE_PROTO
        | helper::SKB_ADJUST_ROOM
        | helper::L3_CSUM_REPLACE
        | helper::L4_CSUM_REPLACE => "changes packets",
        helper::REDIRECT
        | helper::REDIRECT_MAP
        | helper::CLONE_REDIRECT
        | helper::REDIRECT_NEIGH
        | helper::REDIRECT_PEER
        | helper::SK_REDIRECT_MAP
        | helper::SK_REDIRECT_HASH
        | helper::MSG_REDIRECT_MAP
        | helper::MSG_REDIRECT_HASH => "sends packets elsewhere",
        helper::SETSOCKOPT => "sets options of sockets",
        helper::SYSCTL_SET_NEW_VALUE => "changes what is written to sysctl",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reaches_beyond_is_said() {
        assert!(helper_power(helper::PROBE_WRITE_USER).is_some());
        assert_eq!(helper_power(helper::SYS_BPF), Some("makes calls of bpf(2)"));
        assert_eq!(helper_power(helper::MAP_LOOKUP_ELEM), None);
        assert_eq!(helper_power(Helper(9999)), None);
    }
}
