// SPDX-License-Identifier: MIT OR Apache-2.0
/* What a host can set for an unsigned loader: the size of a map, and initial values. */
#include "bpfseal.h"

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} sized SEC(".maps");

__u64 initial = 0x1122334455667788ULL;

SEC("socket")
int use(struct __sk_buff *skb)
{
	__u32 key = 0;

	initial++;
	return bpf_map_lookup_elem(&sized, &key) != NULL;
}
