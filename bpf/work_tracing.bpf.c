// SPDX-License-Identifier: MIT OR Apache-2.0
/* Tracing: functions, raw tracepoints with types, tracepoints; counts what one process does. */
#include "bpfseal.h"

char LICENSE[] SEC("license") = "GPL";

/* The process that is watched: set after loading, in a section of its own. */
int only_tgid SEC(".data.config") = 0;
__u64 entries, exits, calls, raw_calls, last_result;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 512);
	__type(key, __u64);
	__type(value, __u64);
} by_number SEC(".maps");

struct event {
	__u64 number;
	__u32 tgid;
	__u32 size;
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

static __always_inline bool watched(void)
{
	return (int)(bpf_get_current_pid_tgid() >> 32) == only_tgid;
}

SEC("fentry/__x64_sys_getpgid")
int entry(__u64 *ctx)
{
	if (watched())
		entries++;
	return 0;
}

SEC("fexit/__x64_sys_getpgid")
int leave(__u64 *ctx)
{
	if (watched()) {
		exits++;
		last_result = ctx[1];
	}
	return 0;
}

SEC("tp_btf/sys_enter")
int enter(__u64 *ctx)
{
	__u64 number = ctx[1], one = 1, *count;

	if (!watched())
		return 0;
	calls++;
	count = bpf_map_lookup_elem(&by_number, &number);
	if (count)
		__sync_fetch_and_add(count, 1);
	else
		bpf_map_update_elem(&by_number, &number, &one, 0);
	return 0;
}

SEC("raw_tp/sys_enter")
int raw_enter(__u64 *ctx)
{
	struct event event = { .number = ctx[1], .size = sizeof(event) };

	if (!watched())
		return 0;
	raw_calls++;
	event.tgid = only_tgid;
	bpf_ringbuf_output(&events, &event, sizeof(event), 0);
	return 0;
}
