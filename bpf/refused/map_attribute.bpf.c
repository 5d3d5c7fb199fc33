// SPDX-License-Identifier: MIT OR Apache-2.0
/* Refused: a map attribute that is not known. */
#include "../bpfseal.h"

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(no_such_attribute, 1);
	__type(key, __u32);
	__type(value, __u32);
} odd SEC(".maps");

SEC("tc")
int use(void *ctx)
{
	return bpf_map_lookup_elem(&odd, ctx) != NULL;
}
