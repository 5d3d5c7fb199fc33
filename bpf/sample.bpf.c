// SPDX-License-Identifier: MIT OR Apache-2.0
/* The sample of the demo: counts system calls by process and reports the first of each. */
#include "bpfseal.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u64);
} calls SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 65536);
} events SEC(".maps");

struct event {
	__u32 pid;
	__s32 parent;
	__u64 at;
};

const volatile __u32 only_pid = 0;
__u64 total;

SEC("raw_tp/sys_enter")
int on_sys_enter(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	__u32 pid = bpf_get_current_pid_tgid() >> 32;
	__u64 one = 1, *count;

	if (only_pid && only_pid != pid)
		return 0;
	__sync_fetch_and_add(&total, 1);
	count = bpf_map_lookup_elem(&calls, &pid);
	if (count) {
		__sync_fetch_and_add(count, 1);
		return 0;
	}
	bpf_map_update_elem(&calls, &pid, &one, 0);

	struct task_struct *parent = NULL;
	struct event event = { .pid = pid, .at = bpf_ktime_get_ns() };

	bpf_probe_read_kernel(&parent, sizeof(parent),
			      __builtin_preserve_access_index(&task->real_parent));
	bpf_probe_read_kernel(&event.parent, sizeof(event.parent),
			      __builtin_preserve_access_index(&parent->tgid));
	bpf_ringbuf_output(&events, &event, sizeof(event), 0);
	return 0;
}
