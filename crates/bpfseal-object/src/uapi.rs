//! Numbers of the kernel's interface, with their names: program, attach and map types, flags.
//!
//! Source: `include/uapi/linux/bpf.h` of Linux 7.3. Types are open-ended: a number that has no
//! name here is kept and printed as a number.

/// `enum bpf_prog_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProgType(pub u32);

/// `enum bpf_attach_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttachType(pub u32);

/// `enum bpf_map_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MapType(pub u32);

macro_rules! named {
    ($type:ty, $table:expr) => {
        impl $type {
            /// The name in lower case without prefix, if the number has one.
            #[must_use]
            pub fn name(self) -> Option<&'static str> {
                $table
                    .iter()
                    .find(|(_, n)| *n == self.0)
                    .map(|(name, _)| *name)
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self.name() {
                    Some(name) => f.write_str(name),
                    None => write!(f, "{}", self.0),
                }
            }
        }
    };
}

named!(ProgType, PROG_TYPES);
named!(AttachType, ATTACH_TYPES);
named!(MapType, MAP_TYPES);

/// Program types by name.
const PROG_TYPES: &[(&str, u32)] = &[
    ("unspec", 0),
    ("socket_filter", 1),
    ("kprobe", 2),
    ("sched_cls", 3),
    ("sched_act", 4),
    ("tracepoint", 5),
    ("xdp", 6),
    ("perf_event", 7),
    ("cgroup_skb", 8),
    ("cgroup_sock", 9),
    ("lwt_in", 10),
    ("lwt_out", 11),
    ("lwt_xmit", 12),
    ("sock_ops", 13),
    ("sk_skb", 14),
    ("cgroup_device", 15),
    ("sk_msg", 16),
    ("raw_tracepoint", 17),
    ("cgroup_sock_addr", 18),
    ("lwt_seg6local", 19),
    ("lirc_mode2", 20),
    ("sk_reuseport", 21),
    ("flow_dissector", 22),
    ("cgroup_sysctl", 23),
    ("raw_tracepoint_writable", 24),
    ("cgroup_sockopt", 25),
    ("tracing", 26),
    ("struct_ops", 27),
    ("ext", 28),
    ("lsm", 29),
    ("sk_lookup", 30),
    ("syscall", 31),
    ("netfilter", 32),
];

/// Attach types by name.
const ATTACH_TYPES: &[(&str, u32)] = &[
    ("cgroup_inet_ingress", 0),
    ("cgroup_inet_egress", 1),
    ("cgroup_inet_sock_create", 2),
    ("cgroup_sock_ops", 3),
    ("sk_skb_stream_parser", 4),
    ("sk_skb_stream_verdict", 5),
    ("cgroup_device", 6),
    ("sk_msg_verdict", 7),
    ("cgroup_inet4_bind", 8),
    ("cgroup_inet6_bind", 9),
    ("cgroup_inet4_connect", 10),
    ("cgroup_inet6_connect", 11),
    ("cgroup_inet4_post_bind", 12),
    ("cgroup_inet6_post_bind", 13),
    ("cgroup_udp4_sendmsg", 14),
    ("cgroup_udp6_sendmsg", 15),
    ("lirc_mode2", 16),
    ("flow_dissector", 17),
    ("cgroup_sysctl", 18),
    ("cgroup_udp4_recvmsg", 19),
    ("cgroup_udp6_recvmsg", 20),
    ("cgroup_getsockopt", 21),
    ("cgroup_setsockopt", 22),
    ("trace_raw_tp", 23),
    ("trace_fentry", 24),
    ("trace_fexit", 25),
    ("modify_return", 26),
    ("lsm_mac", 27),
    ("trace_iter", 28),
    ("cgroup_inet4_getpeername", 29),
    ("cgroup_inet6_getpeername", 30),
    ("cgroup_inet4_getsockname", 31),
    ("cgroup_inet6_getsockname", 32),
    ("xdp_devmap", 33),
    ("cgroup_inet_sock_release", 34),
    ("xdp_cpumap", 35),
    ("sk_lookup", 36),
    ("xdp", 37),
    ("sk_skb_verdict", 38),
    ("sk_reuseport_select", 39),
    ("sk_reuseport_select_or_migrate", 40),
    ("perf_event", 41),
    ("trace_kprobe_multi", 42),
    ("lsm_cgroup", 43),
    ("struct_ops", 44),
    ("netfilter", 45),
    ("tcx_ingress", 46),
    ("tcx_egress", 47),
    ("trace_uprobe_multi", 48),
    ("cgroup_unix_connect", 49),
    ("cgroup_unix_sendmsg", 50),
    ("cgroup_unix_recvmsg", 51),
    ("cgroup_unix_getpeername", 52),
    ("cgroup_unix_getsockname", 53),
    ("netkit_primary", 54),
    ("netkit_peer", 55),
    ("trace_kprobe_session", 56),
    ("trace_uprobe_session", 57),
    ("trace_fsession", 58),
    ("trace_fentry_multi", 59),
    ("trace_fexit_multi", 60),
    ("trace_fsession_multi", 61),
];

/// Map types by name.
const MAP_TYPES: &[(&str, u32)] = &[
    ("unspec", 0),
    ("hash", 1),
    ("array", 2),
    ("prog_array", 3),
    ("perf_event_array", 4),
    ("percpu_hash", 5),
    ("percpu_array", 6),
    ("stack_trace", 7),
    ("cgroup_array", 8),
    ("lru_hash", 9),
    ("lru_percpu_hash", 10),
    ("lpm_trie", 11),
    ("array_of_maps", 12),
    ("hash_of_maps", 13),
    ("devmap", 14),
    ("sockmap", 15),
    ("cpumap", 16),
    ("xskmap", 17),
    ("sockhash", 18),
    ("cgroup_storage", 19),
    ("reuseport_sockarray", 20),
    ("percpu_cgroup_storage", 21),
    ("queue", 22),
    ("stack", 23),
    ("sk_storage", 24),
    ("devmap_hash", 25),
    ("struct_ops", 26),
    ("ringbuf", 27),
    ("inode_storage", 28),
    ("task_storage", 29),
    ("bloom_filter", 30),
    ("user_ringbuf", 31),
    ("cgrp_storage", 32),
    ("arena", 33),
    ("insn_array", 34),
    ("rhash", 35),
];

/// Program types by their kernel names.
pub mod prog {
    #![allow(missing_docs, reason = "the names are the kernel's")]
    use super::ProgType;
    pub const UNSPEC: ProgType = ProgType(0);
    pub const SOCKET_FILTER: ProgType = ProgType(1);
    pub const KPROBE: ProgType = ProgType(2);
    pub const SCHED_CLS: ProgType = ProgType(3);
    pub const SCHED_ACT: ProgType = ProgType(4);
    pub const TRACEPOINT: ProgType = ProgType(5);
    pub const XDP: ProgType = ProgType(6);
    pub const PERF_EVENT: ProgType = ProgType(7);
    pub const CGROUP_SKB: ProgType = ProgType(8);
    pub const CGROUP_SOCK: ProgType = ProgType(9);
    pub const LWT_IN: ProgType = ProgType(10);
    pub const LWT_OUT: ProgType = ProgType(11);
    pub const LWT_XMIT: ProgType = ProgType(12);
    pub const SOCK_OPS: ProgType = ProgType(13);
    pub const SK_SKB: ProgType = ProgType(14);
    pub const CGROUP_DEVICE: ProgType = ProgType(15);
    pub const SK_MSG: ProgType = ProgType(16);
    pub const RAW_TRACEPOINT: ProgType = ProgType(17);
    pub const CGROUP_SOCK_ADDR: ProgType = ProgType(18);
    pub const LWT_SEG6LOCAL: ProgType = ProgType(19);
    pub const LIRC_MODE2: ProgType = ProgType(20);
    pub const SK_REUSEPORT: ProgType = ProgType(21);
    pub const FLOW_DISSECTOR: ProgType = ProgType(22);
    pub const CGROUP_SYSCTL: ProgType = ProgType(23);
    pub const RAW_TRACEPOINT_WRITABLE: ProgType = ProgType(24);
    pub const CGROUP_SOCKOPT: ProgType = ProgType(25);
    pub const TRACING: ProgType = ProgType(26);
    pub const STRUCT_OPS: ProgType = ProgType(27);
    pub const EXT: ProgType = ProgType(28);
    pub const LSM: ProgType = ProgType(29);
    pub const SK_LOOKUP: ProgType = ProgType(30);
    pub const SYSCALL: ProgType = ProgType(31);
    pub const NETFILTER: ProgType = ProgType(32);
}

/// Attach types by their kernel names.
pub mod attach {
    #![allow(missing_docs, reason = "the names are the kernel's")]
    pub const BPF_CGROUP_INET_INGRESS: u32 = 0;
    pub const BPF_CGROUP_INET_EGRESS: u32 = 1;
    pub const BPF_CGROUP_INET_SOCK_CREATE: u32 = 2;
    pub const BPF_CGROUP_SOCK_OPS: u32 = 3;
    pub const BPF_SK_SKB_STREAM_PARSER: u32 = 4;
    pub const BPF_SK_SKB_STREAM_VERDICT: u32 = 5;
    pub const BPF_CGROUP_DEVICE: u32 = 6;
    pub const BPF_SK_MSG_VERDICT: u32 = 7;
    pub const BPF_CGROUP_INET4_BIND: u32 = 8;
    pub const BPF_CGROUP_INET6_BIND: u32 = 9;
    pub const BPF_CGROUP_INET4_CONNECT: u32 = 10;
    pub const BPF_CGROUP_INET6_CONNECT: u32 = 11;
    pub const BPF_CGROUP_INET4_POST_BIND: u32 = 12;
    pub const BPF_CGROUP_INET6_POST_BIND: u32 = 13;
    pub const BPF_CGROUP_UDP4_SENDMSG: u32 = 14;
    pub const BPF_CGROUP_UDP6_SENDMSG: u32 = 15;
    pub const BPF_LIRC_MODE2: u32 = 16;
    pub const BPF_FLOW_DISSECTOR: u32 = 17;
    pub const BPF_CGROUP_SYSCTL: u32 = 18;
    pub const BPF_CGROUP_UDP4_RECVMSG: u32 = 19;
    pub const BPF_CGROUP_UDP6_RECVMSG: u32 = 20;
    pub const BPF_CGROUP_GETSOCKOPT: u32 = 21;
    pub const BPF_CGROUP_SETSOCKOPT: u32 = 22;
    pub const BPF_TRACE_RAW_TP: u32 = 23;
    pub const BPF_TRACE_FENTRY: u32 = 24;
    pub const BPF_TRACE_FEXIT: u32 = 25;
    pub const BPF_MODIFY_RETURN: u32 = 26;
    pub const BPF_LSM_MAC: u32 = 27;
    pub const BPF_TRACE_ITER: u32 = 28;
    pub const BPF_CGROUP_INET4_GETPEERNAME: u32 = 29;
    pub const BPF_CGROUP_INET6_GETPEERNAME: u32 = 30;
    pub const BPF_CGROUP_INET4_GETSOCKNAME: u32 = 31;
    pub const BPF_CGROUP_INET6_GETSOCKNAME: u32 = 32;
    pub const BPF_XDP_DEVMAP: u32 = 33;
    pub const BPF_CGROUP_INET_SOCK_RELEASE: u32 = 34;
    pub const BPF_XDP_CPUMAP: u32 = 35;
    pub const BPF_SK_LOOKUP: u32 = 36;
    pub const BPF_XDP: u32 = 37;
    pub const BPF_SK_SKB_VERDICT: u32 = 38;
    pub const BPF_SK_REUSEPORT_SELECT: u32 = 39;
    pub const BPF_SK_REUSEPORT_SELECT_OR_MIGRATE: u32 = 40;
    pub const BPF_PERF_EVENT: u32 = 41;
    pub const BPF_TRACE_KPROBE_MULTI: u32 = 42;
    pub const BPF_LSM_CGROUP: u32 = 43;
    pub const BPF_STRUCT_OPS: u32 = 44;
    pub const BPF_NETFILTER: u32 = 45;
    pub const BPF_TCX_INGRESS: u32 = 46;
    pub const BPF_TCX_EGRESS: u32 = 47;
    pub const BPF_TRACE_UPROBE_MULTI: u32 = 48;
    pub const BPF_CGROUP_UNIX_CONNECT: u32 = 49;
    pub const BPF_CGROUP_UNIX_SENDMSG: u32 = 50;
    pub const BPF_CGROUP_UNIX_RECVMSG: u32 = 51;
    pub const BPF_CGROUP_UNIX_GETPEERNAME: u32 = 52;
    pub const BPF_CGROUP_UNIX_GETSOCKNAME: u32 = 53;
    pub const BPF_NETKIT_PRIMARY: u32 = 54;
    pub const BPF_NETKIT_PEER: u32 = 55;
    pub const BPF_TRACE_KPROBE_SESSION: u32 = 56;
    pub const BPF_TRACE_UPROBE_SESSION: u32 = 57;
    pub const BPF_TRACE_FSESSION: u32 = 58;
    pub const BPF_TRACE_FENTRY_MULTI: u32 = 59;
    pub const BPF_TRACE_FEXIT_MULTI: u32 = 60;
    pub const BPF_TRACE_FSESSION_MULTI: u32 = 61;
}

/// Map types by their kernel names.
pub mod map {
    #![allow(missing_docs, reason = "the names are the kernel's")]
    use super::MapType;
    pub const UNSPEC: MapType = MapType(0);
    pub const HASH: MapType = MapType(1);
    pub const ARRAY: MapType = MapType(2);
    pub const PROG_ARRAY: MapType = MapType(3);
    pub const PERF_EVENT_ARRAY: MapType = MapType(4);
    pub const PERCPU_HASH: MapType = MapType(5);
    pub const PERCPU_ARRAY: MapType = MapType(6);
    pub const STACK_TRACE: MapType = MapType(7);
    pub const CGROUP_ARRAY: MapType = MapType(8);
    pub const LRU_HASH: MapType = MapType(9);
    pub const LRU_PERCPU_HASH: MapType = MapType(10);
    pub const LPM_TRIE: MapType = MapType(11);
    pub const ARRAY_OF_MAPS: MapType = MapType(12);
    pub const HASH_OF_MAPS: MapType = MapType(13);
    pub const DEVMAP: MapType = MapType(14);
    pub const SOCKMAP: MapType = MapType(15);
    pub const CPUMAP: MapType = MapType(16);
    pub const XSKMAP: MapType = MapType(17);
    pub const SOCKHASH: MapType = MapType(18);
    pub const CGROUP_STORAGE: MapType = MapType(19);
    pub const REUSEPORT_SOCKARRAY: MapType = MapType(20);
    pub const PERCPU_CGROUP_STORAGE: MapType = MapType(21);
    pub const QUEUE: MapType = MapType(22);
    pub const STACK: MapType = MapType(23);
    pub const SK_STORAGE: MapType = MapType(24);
    pub const DEVMAP_HASH: MapType = MapType(25);
    pub const STRUCT_OPS: MapType = MapType(26);
    pub const RINGBUF: MapType = MapType(27);
    pub const INODE_STORAGE: MapType = MapType(28);
    pub const TASK_STORAGE: MapType = MapType(29);
    pub const BLOOM_FILTER: MapType = MapType(30);
    pub const USER_RINGBUF: MapType = MapType(31);
    pub const CGRP_STORAGE: MapType = MapType(32);
    pub const ARENA: MapType = MapType(33);
    pub const INSN_ARRAY: MapType = MapType(34);
    pub const RHASH: MapType = MapType(35);
}

/// `BPF_F_RDONLY_PROG`: programs may not write to the map.
pub const BPF_F_RDONLY_PROG: u32 = 1 << 7;
/// `BPF_F_MMAPABLE`: user space may map the array into memory.
pub const BPF_F_MMAPABLE: u32 = 1 << 10;
/// `BPF_F_SLEEPABLE`: the program may sleep.
pub const BPF_F_SLEEPABLE: u32 = 1 << 4;
/// `BPF_F_XDP_HAS_FRAGS`: the program handles packets in several buffers.
pub const BPF_F_XDP_HAS_FRAGS: u32 = 1 << 5;
/// `BPF_F_ALL_CPUS`: an update of a per-CPU map sets the value on every CPU.
pub const BPF_F_ALL_CPUS: u64 = 16;
