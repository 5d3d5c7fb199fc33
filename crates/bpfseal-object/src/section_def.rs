//! What the name of a program's section says about the program: one table.
//!
//! The names, types and attach types are those of libbpf 1.8 (`section_defs` of
//! `tools/lib/bpf/libbpf.c`, Linux 7.3), the numbers those of
//! [`crate::uapi`]. The order matters: the first row that matches wins.

use crate::uapi::{AttachType, ProgType};

/// What a section name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SectionDef {
    /// The name, or with [`Self::takes_target`] the part before `/`.
    pub name: &'static str,
    /// Whether `name/anything` matches too.
    pub takes_target: bool,
    /// Type of the program.
    pub prog_type: ProgType,
    /// `expected_attach_type`.
    pub attach_type: AttachType,
    /// The target after `/` is a BTF name that is looked up when the program is loaded.
    pub attach_btf: bool,
    /// The program may sleep (`BPF_F_SLEEPABLE`).
    pub sleepable: bool,
    /// The program handles multi-buffer packets (`BPF_F_XDP_HAS_FRAGS`).
    pub xdp_frags: bool,
    /// A USDT probe: attached through uprobe_multi on kernels that have it.
    pub usdt: bool,
}

/// The flags of a row, as letters in the table below.
const fn row(
    name: &'static str,
    prog_type: ProgType,
    attach_type: AttachType,
    flags: &str,
) -> SectionDef {
    let bytes = flags.as_bytes();
    let mut def = SectionDef {
        name,
        takes_target: false,
        prog_type,
        attach_type,
        attach_btf: false,
        sleepable: false,
        xdp_frags: false,
        usdt: false,
    };
    let mut i = 0;
    while i < bytes.len() {
        match bytes[i] {
            b'+' => def.takes_target = true,
            b'b' => def.attach_btf = true,
            b's' => def.sleepable = true,
            b'x' => def.xdp_frags = true,
            b'u' => def.usdt = true,
            _ => panic!("unknown flag in the table"),
        }
        i += 1;
    }
    def
}

use crate::uapi::attach as at;
use crate::uapi::prog as p;

const NONE: AttachType = AttachType::NONE;

/// `+` takes a target, `b` attaches by BTF name, `s` sleepable, `x` XDP fragments, `u` USDT.
pub const SECTION_DEFS: &[SectionDef] = &[
    row("socket", p::SOCKET_FILTER, NONE, ""),
    row(
        "sk_reuseport/migrate",
        p::SK_REUSEPORT,
        at::BPF_SK_REUSEPORT_SELECT_OR_MIGRATE,
        "",
    ),
    row(
        "sk_reuseport",
        p::SK_REUSEPORT,
        at::BPF_SK_REUSEPORT_SELECT,
        "",
    ),
    row("kprobe", p::KPROBE, NONE, "+"),
    row("uprobe", p::KPROBE, NONE, "+"),
    row("uprobe.s", p::KPROBE, NONE, "+s"),
    row("kretprobe", p::KPROBE, NONE, "+"),
    row("uretprobe", p::KPROBE, NONE, "+"),
    row("uretprobe.s", p::KPROBE, NONE, "+s"),
    row("kprobe.multi", p::KPROBE, at::BPF_TRACE_KPROBE_MULTI, "+"),
    row(
        "kretprobe.multi",
        p::KPROBE,
        at::BPF_TRACE_KPROBE_MULTI,
        "+",
    ),
    row(
        "kprobe.session",
        p::KPROBE,
        at::BPF_TRACE_KPROBE_SESSION,
        "+",
    ),
    row("uprobe.multi", p::KPROBE, at::BPF_TRACE_UPROBE_MULTI, "+"),
    row(
        "uretprobe.multi",
        p::KPROBE,
        at::BPF_TRACE_UPROBE_MULTI,
        "+",
    ),
    row(
        "uprobe.session",
        p::KPROBE,
        at::BPF_TRACE_UPROBE_SESSION,
        "+",
    ),
    row(
        "uprobe.multi.s",
        p::KPROBE,
        at::BPF_TRACE_UPROBE_MULTI,
        "+s",
    ),
    row(
        "uretprobe.multi.s",
        p::KPROBE,
        at::BPF_TRACE_UPROBE_MULTI,
        "+s",
    ),
    row(
        "uprobe.session.s",
        p::KPROBE,
        at::BPF_TRACE_UPROBE_SESSION,
        "+s",
    ),
    row("ksyscall", p::KPROBE, NONE, "+"),
    row("kretsyscall", p::KPROBE, NONE, "+"),
    row("usdt", p::KPROBE, NONE, "+u"),
    row("usdt.s", p::KPROBE, NONE, "+su"),
    row("tc/ingress", p::SCHED_CLS, at::BPF_TCX_INGRESS, ""),
    row("tc/egress", p::SCHED_CLS, at::BPF_TCX_EGRESS, ""),
    row("tcx/ingress", p::SCHED_CLS, at::BPF_TCX_INGRESS, ""),
    row("tcx/egress", p::SCHED_CLS, at::BPF_TCX_EGRESS, ""),
    row("tc", p::SCHED_CLS, NONE, ""),
    row("classifier", p::SCHED_CLS, NONE, ""),
    row("action", p::SCHED_ACT, NONE, ""),
    row("netkit/primary", p::SCHED_CLS, at::BPF_NETKIT_PRIMARY, ""),
    row("netkit/peer", p::SCHED_CLS, at::BPF_NETKIT_PEER, ""),
    row("tracepoint", p::TRACEPOINT, NONE, "+"),
    row("tp", p::TRACEPOINT, NONE, "+"),
    row("tracepoint.s", p::TRACEPOINT, NONE, "+s"),
    row("tp.s", p::TRACEPOINT, NONE, "+s"),
    row("raw_tracepoint", p::RAW_TRACEPOINT, NONE, "+"),
    row("raw_tp", p::RAW_TRACEPOINT, NONE, "+"),
    row("raw_tracepoint.s", p::RAW_TRACEPOINT, NONE, "+s"),
    row("raw_tp.s", p::RAW_TRACEPOINT, NONE, "+s"),
    row("raw_tracepoint.w", p::RAW_TRACEPOINT_WRITABLE, NONE, "+"),
    row("raw_tp.w", p::RAW_TRACEPOINT_WRITABLE, NONE, "+"),
    row("tp_btf", p::TRACING, at::BPF_TRACE_RAW_TP, "+b"),
    row("tp_btf.s", p::TRACING, at::BPF_TRACE_RAW_TP, "+bs"),
    row("fentry", p::TRACING, at::BPF_TRACE_FENTRY, "+b"),
    row("fmod_ret", p::TRACING, at::BPF_MODIFY_RETURN, "+b"),
    row("fexit", p::TRACING, at::BPF_TRACE_FEXIT, "+b"),
    row("fentry.s", p::TRACING, at::BPF_TRACE_FENTRY, "+bs"),
    row("fmod_ret.s", p::TRACING, at::BPF_MODIFY_RETURN, "+bs"),
    row("fexit.s", p::TRACING, at::BPF_TRACE_FEXIT, "+bs"),
    row("fsession", p::TRACING, at::BPF_TRACE_FSESSION, "+b"),
    row("fsession.s", p::TRACING, at::BPF_TRACE_FSESSION, "+bs"),
    row(
        "fsession.multi",
        p::TRACING,
        at::BPF_TRACE_FSESSION_MULTI,
        "+",
    ),
    row(
        "fsession.multi.s",
        p::TRACING,
        at::BPF_TRACE_FSESSION_MULTI,
        "+s",
    ),
    row("fentry.multi", p::TRACING, at::BPF_TRACE_FENTRY_MULTI, "+"),
    row("fexit.multi", p::TRACING, at::BPF_TRACE_FEXIT_MULTI, "+"),
    row(
        "fentry.multi.s",
        p::TRACING,
        at::BPF_TRACE_FENTRY_MULTI,
        "+s",
    ),
    row("fexit.multi.s", p::TRACING, at::BPF_TRACE_FEXIT_MULTI, "+s"),
    row("freplace", p::EXT, NONE, "+b"),
    row("lsm", p::LSM, at::BPF_LSM_MAC, "+b"),
    row("lsm.s", p::LSM, at::BPF_LSM_MAC, "+bs"),
    row("lsm_cgroup", p::LSM, at::BPF_LSM_CGROUP, "+b"),
    row("iter", p::TRACING, at::BPF_TRACE_ITER, "+b"),
    row("iter.s", p::TRACING, at::BPF_TRACE_ITER, "+bs"),
    row("syscall", p::SYSCALL, NONE, "s"),
    row("xdp.frags/devmap", p::XDP, at::BPF_XDP_DEVMAP, "x"),
    row("xdp/devmap", p::XDP, at::BPF_XDP_DEVMAP, ""),
    row("xdp.frags/cpumap", p::XDP, at::BPF_XDP_CPUMAP, "x"),
    row("xdp/cpumap", p::XDP, at::BPF_XDP_CPUMAP, ""),
    row("xdp.frags", p::XDP, at::BPF_XDP, "x"),
    row("xdp", p::XDP, at::BPF_XDP, ""),
    row("perf_event", p::PERF_EVENT, NONE, ""),
    row("lwt_in", p::LWT_IN, NONE, ""),
    row("lwt_out", p::LWT_OUT, NONE, ""),
    row("lwt_xmit", p::LWT_XMIT, NONE, ""),
    row("lwt_seg6local", p::LWT_SEG6LOCAL, NONE, ""),
    row("sockops", p::SOCK_OPS, at::BPF_CGROUP_SOCK_OPS, ""),
    row(
        "sk_skb/stream_parser",
        p::SK_SKB,
        at::BPF_SK_SKB_STREAM_PARSER,
        "",
    ),
    row(
        "sk_skb/stream_verdict",
        p::SK_SKB,
        at::BPF_SK_SKB_STREAM_VERDICT,
        "",
    ),
    row("sk_skb/verdict", p::SK_SKB, at::BPF_SK_SKB_VERDICT, ""),
    row("sk_skb", p::SK_SKB, NONE, ""),
    row("sk_msg", p::SK_MSG, at::BPF_SK_MSG_VERDICT, ""),
    row("lirc_mode2", p::LIRC_MODE2, at::BPF_LIRC_MODE2, ""),
    row(
        "flow_dissector",
        p::FLOW_DISSECTOR,
        at::BPF_FLOW_DISSECTOR,
        "",
    ),
    row(
        "cgroup_skb/ingress",
        p::CGROUP_SKB,
        at::BPF_CGROUP_INET_INGRESS,
        "",
    ),
    row(
        "cgroup_skb/egress",
        p::CGROUP_SKB,
        at::BPF_CGROUP_INET_EGRESS,
        "",
    ),
    row("cgroup/skb", p::CGROUP_SKB, NONE, ""),
    row(
        "cgroup/sock_create",
        p::CGROUP_SOCK,
        at::BPF_CGROUP_INET_SOCK_CREATE,
        "",
    ),
    row(
        "cgroup/sock_release",
        p::CGROUP_SOCK,
        at::BPF_CGROUP_INET_SOCK_RELEASE,
        "",
    ),
    row(
        "cgroup/sock",
        p::CGROUP_SOCK,
        at::BPF_CGROUP_INET_SOCK_CREATE,
        "",
    ),
    row(
        "cgroup/post_bind4",
        p::CGROUP_SOCK,
        at::BPF_CGROUP_INET4_POST_BIND,
        "",
    ),
    row(
        "cgroup/post_bind6",
        p::CGROUP_SOCK,
        at::BPF_CGROUP_INET6_POST_BIND,
        "",
    ),
    row(
        "cgroup/bind4",
        p::CGROUP_SOCK_ADDR,
        at::BPF_CGROUP_INET4_BIND,
        "",
    ),
    row(
        "cgroup/bind6",
        p::CGROUP_SOCK_ADDR,
        at::BPF_CGROUP_INET6_BIND,
        "",
    ),
    row(
        "cgroup/connect4",
        p::CGROUP_SOCK_ADDR,
        at::BPF_CGROUP_INET4_CONNECT,
        "",
    ),
    row(
        "cgroup/connect6",
        p::CGROUP_SOCK_ADDR,
        at::BPF_CGROUP_INET6_CONNECT,
        "",
    ),
    row(
        "cgroup/connect_unix",
        p::CGROUP_SOCK_ADDR,
        at::BPF_CGROUP_UNIX_CONNECT,
        "",
    ),
    row(
        "cgroup/sendmsg4",
        p::CGROUP_SOCK_ADDR,
        at::BPF_CGROUP_UDP4_SENDMSG,
        "",
    ),
    row(
        "cgroup/sendmsg6",
        p::CGROUP_SOCK_ADDR,
        at::BPF_CGROUP_UDP6_SENDMSG,
        "",
    ),
    row(
        "cgroup/sendmsg_unix",
        p::CGROUP_SOCK_ADDR,
        at::BPF_CGROUP_UNIX_SENDMSG,
        "",
    ),
    row(
        "cgroup/recvmsg4",
        p::CGROUP_SOCK_ADDR,
        at::BPF_CGROUP_UDP4_RECVMSG,
        "",
    ),
    row(
        "cgroup/recvmsg6",
        p::CGROUP_SOCK_ADDR,
        at::BPF_CGROUP_UDP6_RECVMSG,
        "",
    ),
    row(
        "cgroup/recvmsg_unix",
        p::CGROUP_SOCK_ADDR,
        at::BPF_CGROUP_UNIX_RECVMSG,
        "",
    ),
    row(
        "cgroup/getpeername4",
        p::CGROUP_SOCK_ADDR,
        at::BPF_CGROUP_INET4_GETPEERNAME,
        "",
    ),
    row(
        "cgroup/getpeername6",
        p::CGROUP_SOCK_ADDR,
        at::BPF_CGROUP_INET6_GETPEERNAME,
        "",
    ),
    row(
        "cgroup/getpeername_unix",
        p::CGROUP_SOCK_ADDR,
        at::BPF_CGROUP_UNIX_GETPEERNAME,
        "",
    ),
    row(
        "cgroup/getsockname4",
        p::CGROUP_SOCK_ADDR,
        at::BPF_CGROUP_INET4_GETSOCKNAME,
        "",
    ),
    row(
        "cgroup/getsockname6",
        p::CGROUP_SOCK_ADDR,
        at::BPF_CGROUP_INET6_GETSOCKNAME,
        "",
    ),
    row(
        "cgroup/getsockname_unix",
        p::CGROUP_SOCK_ADDR,
        at::BPF_CGROUP_UNIX_GETSOCKNAME,
        "",
    ),
    row("cgroup/sysctl", p::CGROUP_SYSCTL, at::BPF_CGROUP_SYSCTL, ""),
    row(
        "cgroup/getsockopt",
        p::CGROUP_SOCKOPT,
        at::BPF_CGROUP_GETSOCKOPT,
        "",
    ),
    row(
        "cgroup/setsockopt",
        p::CGROUP_SOCKOPT,
        at::BPF_CGROUP_SETSOCKOPT,
        "",
    ),
    row("cgroup/dev", p::CGROUP_DEVICE, at::BPF_CGROUP_DEVICE, ""),
    row("struct_ops", p::STRUCT_OPS, NONE, "+"),
    row("struct_ops.s", p::STRUCT_OPS, NONE, "+s"),
    row("sk_lookup", p::SK_LOOKUP, at::BPF_SK_LOOKUP, ""),
    row("netfilter", p::NETFILTER, at::BPF_NETFILTER, ""),
];

impl SectionDef {
    /// The first row that matches a section name (without a leading `?`).
    #[must_use]
    pub fn find(section: &str) -> Option<&'static Self> {
        SECTION_DEFS.iter().find(|def| def.matches(section))
    }

    fn matches(&self, section: &str) -> bool {
        match section.strip_prefix(self.name) {
            Some("") => true,
            Some(rest) => self.takes_target && rest.starts_with('/'),
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        for (i, a) in SECTION_DEFS.iter().enumerate() {
            for b in &SECTION_DEFS[i + 1..] {
                assert!(a.name != b.name, "{} stands twice", a.name);
            }
        }
    }

    #[test]
    fn every_row_finds_itself() {
        for def in SECTION_DEFS {
            assert_eq!(SectionDef::find(def.name), Some(def), "{}", def.name);
            let with_target = format!("{}/x", def.name);
            if def.takes_target {
                assert_eq!(SectionDef::find(&with_target), Some(def), "{}", def.name);
            } else {
                assert_ne!(SectionDef::find(&with_target), Some(def), "{}", def.name);
            }
        }
        assert_eq!(SectionDef::find("nonsense"), None);
        assert_eq!(SectionDef::find("kprobes/x"), None);
    }
}
