// SPDX-License-Identifier: MIT OR Apache-2.0
/* Probes: functions of the kernel and of a program, tracepoints, a clock. */
#include "bpfseal.h"

char LICENSE[] SEC("license") = "GPL";

int only_tgid;
__u64 kprobes, kretprobes, multi, uprobes, uprobes_multi, tracepoints, ticks;

static __always_inline bool watched(void)
{
	return (int)(bpf_get_current_pid_tgid() >> 32) == only_tgid;
}

#define COUNTER(name, section, counter) \
	SEC(section) \
	int name(void *ctx) \
	{ \
		if (watched()) \
			counter++; \
		return 0; \
	}

COUNTER(at_entry, "kprobe/__x64_sys_getpgid", kprobes)
COUNTER(at_return, "kretprobe/__x64_sys_getpgid", kretprobes)
COUNTER(at_many, "kprobe.multi/__x64_sys_getpgid", multi)
COUNTER(in_user, "uprobe", uprobes)
COUNTER(in_user_many, "uprobe.multi", uprobes_multi)
COUNTER(at_tracepoint, "tracepoint/syscalls/sys_enter_getpgid", tracepoints)

SEC("perf_event")
int tick(void *ctx)
{
	ticks++;
	return 0;
}
