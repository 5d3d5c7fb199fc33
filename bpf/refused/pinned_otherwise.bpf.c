// SPDX-License-Identifier: MIT OR Apache-2.0
/* Refused: a map that is pinned in a way that libbpf does not know (iproute2's global one). */
#include "../bpfseal.h"

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(pinning, 2);
	__type(key, __u32);
	__type(value, __u32);
} global SEC(".maps");

SEC("tc")
int use(void *ctx)
{
	return bpf_map_lookup_elem(&global, ctx) != NULL;
}
