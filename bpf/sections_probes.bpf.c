// SPDX-License-Identifier: MIT OR Apache-2.0
/* Every name of a section of its kind: probes. */
#include "bpfseal.h"

char LICENSE[] SEC("license") = "GPL";

PROGRAM(p_kprobe_do_nanosleep_0x4, "kprobe/do_nanosleep+0x4")
PROGRAM(p_uprobe_bin_true_main, "uprobe//bin/true:main")
PROGRAM(p_uprobe_s_bin_true_main, "uprobe.s//bin/true:main")
PROGRAM(p_kretprobe_do_nanosleep, "kretprobe/do_nanosleep")
PROGRAM(p_uretprobe_bin_true_main, "uretprobe//bin/true:main")
PROGRAM(p_uretprobe_s_bin_true_main, "uretprobe.s//bin/true:main")
PROGRAM(p_kprobe_multi_tcp, "kprobe.multi/tcp_*")
PROGRAM(p_kretprobe_multi_udp, "kretprobe.multi/udp_*")
PROGRAM(p_kprobe_session_vfs, "kprobe.session/vfs_*")
PROGRAM(p_uprobe_multi_bin_true_main, "uprobe.multi//bin/true:main")
PROGRAM(p_uretprobe_multi_bin_true_main, "uretprobe.multi//bin/true:main")
PROGRAM(p_uprobe_session_bin_true_main, "uprobe.session//bin/true:main")
PROGRAM(p_uprobe_multi_s_bin_true_main, "uprobe.multi.s//bin/true:main")
PROGRAM(p_uretprobe_multi_s_bin_true_main, "uretprobe.multi.s//bin/true:main")
PROGRAM(p_uprobe_session_s_bin_true_main, "uprobe.session.s//bin/true:main")
PROGRAM(p_ksyscall_nanosleep, "ksyscall/nanosleep")
PROGRAM(p_kretsyscall_nanosleep, "kretsyscall/nanosleep")
PROGRAM(p_usdt_bin_true_provider_name, "usdt//bin/true:provider:name")
PROGRAM(p_usdt_s_bin_true_provider_name, "usdt.s//bin/true:provider:name")
