// SPDX-License-Identifier: MIT OR Apache-2.0
/* Refused: a map that is pinned by its name. */
#include "../bpfseal.h"

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(pinning, 1);
	__type(key, __u32);
	__type(value, __u32);
} by_name SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(pinning, 0);
	__type(key, __u32);
	__type(value, __u32);
} not_at_all SEC(".maps");

SEC("tc")
int use(void *ctx)
{
	return bpf_map_lookup_elem(&by_name, ctx) != bpf_map_lookup_elem(&not_at_all, ctx);
}
